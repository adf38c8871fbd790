# Each target does its own set-up in .venv; only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test kernels pytest lint docs clean

demo: $(STAMP)
	$(BIN)/silicost demo

# Lint fills the core that is free while kernels are compiled, and while tests wait for browsers and processes.
test: $(STAMP)
	$(MAKE) -j 2 lint pytest

# The largest kernels, those of serving on GPUs, are compiled once and not by each worker of the tests; so is the
# bytecode of the packages, and not by each process.
kernels: $(STAMP)
	$(BIN)/python -m compileall -q silicost reports simulator workloads hardware_specs
	$(BIN)/silicost serve --model llama-3.1-8b --device l40s --rate 4 --isl 64 --osl 4 --requests 10 >/dev/null

pytest: kernels
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo build/site/index.html

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "silicost needs Python 3.11 or newer")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist runs
