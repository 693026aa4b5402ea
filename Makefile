# `make demo`: set up, train on the synthetic sample, show the results.   `make compare`: all networks, side by side.   `make bundles`: write the configs.   `make test`: set up, lint, types, tests.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
TRAIN := -m monai.bundle run training --config_file bundles/dilation10/configs/train.json

.PHONY: demo compare bundles bundles-check test test-slow lint types clean help
help:
	@sed -n '1p' Makefile | cut -c3-

$(VENV)/.installed: pyproject.toml constraints.txt
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
	$(PY) -m pytest -m "not slow"

test-slow: $(VENV)/.installed
	$(PY) -m pytest -m slow

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
