# `make demo`: set up, train on the synthetic sample, show the results.   `make compare`: all networks, side by side.   `make bundles`: write the configs.   `make test`: set up, lint, types, tests.   `make docs`: the documentation as a site.   `make dist`: wheel and source archive.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)/python
# One process per core, each with one thread; each takes about 1 GB.
PYTEST := $(PY) -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal
TRAIN := -m monai.bundle run training --config_file bundles/dilation10/configs/train.json

.PHONY: demo compare bundles bundles-check test test-slow test-gpu test-faults docs dist services lint types clean help
test test-slow test-gpu: export OMP_NUM_THREADS = 1
help:
	@sed -n '1p' Makefile | cut -c3-

$(VENV)/.installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(PY) $(TRAIN)

compare: $(VENV)/.installed
	for bundle in $$($(PY) -m scripts.bundles names); do \
	  $(PY) -m monai.bundle run training --config_file bundles/$$bundle/configs/train.json || exit 1; \
	done
	$(PY) -m scripts.compare --dataset sample

bundles: $(VENV)/.installed
	$(PY) -m scripts.bundles

bundles-check: $(VENV)/.installed
	$(PY) -m scripts.bundles --check

lint: $(VENV)/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.installed
	$(PY) -m mypy

test: lint types bundles-check
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed docs
	$(PYTEST) -m slow

# The other tests do not use a GPU, since its sums differ in the last digits from run to run.
test-gpu: $(VENV)/.installed
	MAMMOSEG_TEST_GPU=1 $(PYTEST) tests/gpu

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PY) -m pip install --constraint constraints.txt --editable ".[docs]"
	touch $@

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

dist: $(VENV)/.installed
	rm -f dist/mammoseg-*
	$(PY) -m build

# PostgreSQL and an MLflow server with passwords, on localhost (mlflow/README.md).
services: $(VENV)/.installed
	$(PY) -m pip install --constraint constraints.txt psycopg2-binary "mlflow[auth]"
	$(PY) mlflow/services.py outputs/services

# Half an hour to an hour on one core; the same command resumes. Options: make test-faults FAULTS="--seed 1 --only kills"
test-faults: export OMP_NUM_THREADS = 1
test-faults: $(VENV)/.installed
	$(PY) tests/faults $(FAULTS)

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
