# `make demo`: set up, train on the synthetic sample, show the results.   `make compare`: all networks, side by side.   `make test`: set up, lint, types, tests.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
TRAIN := -m monai.bundle run training --config_file bundles/dilation10/configs/train.json

.PHONY: demo compare test test-slow lint types clean help
help:
	@sed -n '1p' Makefile | cut -c3-

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(PY) $(TRAIN)

compare: $(VENV)/.installed
	for bundle in fcn unet dilation10 deeplabv3; do \
	  $(PY) -m monai.bundle run training --config_file bundles/$$bundle/configs/train.json || exit 1; \
	done
	$(PY) -m scripts.compare --dataset sample

lint: $(VENV)/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.installed
	$(PY) -m mypy

test: lint types
	$(PY) -m pytest -m "not slow"

test-slow: $(VENV)/.installed
	$(PY) -m pytest -m slow

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
