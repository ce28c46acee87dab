# All that anybody needs: `make demo`, `make test`, `make e2e`, `make check`, `make faults`, `make bench`, `make docs`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first that is new enough, has venv and pip, and runs at all: version managers leave names in PATH that only print
# an error. python3 comes first, as the machine's own choice. Only looked for when .venv has to be made.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; \
	done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LUA := build/lua
EXTRAS := cli dashboard memory server fast zstd crypto s3 otel prometheus

# What is installed is remembered in files beside it, so that only a change of pyproject.toml installs again.
DEMO_STAMP := .venv/.installed-demo
ALL_STAMP := .venv/.installed-all

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv and pip found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --quiet --upgrade 'pip>=25.1'

$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing redisflow with its embedded server into .venv"
	@$(PIP) install --quiet --editable '.[cli,dashboard,server]'
	@touch $@

# Just these files, by their hashes. What builds the project itself (hatchling) is one of them.
$(ALL_STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing redisflow and its tools into .venv"
	@$(PIP) install --quiet --upgrade 'pip>=25.1'
	@$(PIP) install --quiet --require-hashes --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(DEMO_STAMP) $@

# For every system and every Python that the project supports, in one file.
.PHONY: lock
lock: | $(BIN)/python ## Write requirements.lock anew: the newest versions that pyproject.toml allows, with their hashes
	@$(PIP) install --quiet --upgrade uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header $(EXTRAS:%=--extra %) --group check pyproject.toml --output-file requirements.lock

.PHONY: venv
venv: $(ALL_STAMP) ## Create .venv with the project and all of its tools

.PHONY: demo
demo: $(DEMO_STAMP) ## Watch an order survive a killed worker, here and in the dashboard (KEEP=1 leaves it open)
	@KEEP=$(KEEP) $(BIN)/python examples/demo.py

# Many tests wait for networks and leases: one process more than there are cores. In the order of their names, so that
# those that wait longest do not come last.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN | awk '{ print $$1 + 1 }')
.PHONY: test
test: $(ALL_STAMP) ## Run all tests (ARGS="-k retry -x" goes to pytest)
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# What users have whose other packages hold ours back: a folder with the oldest versions that pyproject.toml allows. The
# test client of Starlette 1.0 speaks through httpx, and takes names that anyio warns of.
LOWEST := build/lowest
.PHONY: lowest
lowest: $(ALL_STAMP) ## Run tests with the oldest libraries that are allowed (ARGS="tests/dashboard" goes to pytest)
	@$(PIP) install --quiet --upgrade uv
	@$(BIN)/python -m venv --clear $(LOWEST)
	@$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --group test \
		--editable '.[$(shell echo $(EXTRAS) fastapi django | tr ' ' ,)]' 'httpx>=0.28'
	@$(LOWEST)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder \
		-W 'ignore:The anyio.abc:DeprecationWarning' $(ARGS)

.PHONY: e2e
e2e: $(ALL_STAMP) ## Use the dashboard in a real browser (needs chromium in PATH; ARGS go to pytest)
	@$(BIN)/python -m pytest tests/e2e $(ARGS)

MINUTES ?= 10
.PHONY: chaos
chaos: $(ALL_STAMP) ## Kill, stop and cut off real workers and a real server for MINUTES=10, and see what is lost
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

.PHONY: mutants
mutants: $(ALL_STAMP) ## Take out one safeguard at a time: each time the checkers must notice (about half an hour)
	@$(BIN)/python -m tests.mutants --untouched $(ARGS)

.PHONY: cluster
cluster: $(ALL_STAMP) ## Run the suites, and load through faults, on clusters of 3 primaries and 3 replicas (40 minutes)
	@$(BIN)/python -m tests.cluster

# Each line ends within its time, and says what it left out if that was up.
.PHONY: faults
faults: $(ALL_STAMP) ## Every fault at every call site, and as many simulated schedules of faults as fit (43 minutes)
	@$(BIN)/python -m tests.faults.call_sites
	@$(BIN)/python -m tests.faults.simulation --kept --seed 100000 --schedules 50000 --processes 2 --minutes 25

.PHONY: check
check: $(ALL_STAMP) ## Lint, types, layers, scripts, dead code, spelling, documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory check-lua
	@# Tests are read for what they use; their own models have fields to be filled. vulture's exit code counts those, too.
	@echo vulture; unused=$$({ $(BIN)/vulture || true; } | grep -v '^tests/\|^examples/' || true); echo -n "$$unused"; test -z "$$unused"
	$(BIN)/codespell
	@$(MAKE) --no-print-directory docs

# Each script is linted as Redis sees it, with its includes in place. It need not use each function of an include.
INCLUDED = $(shell sed -n 's/^local function \([a-z_]*\).*/211\/\1/p' lua/lib/*.lua)
.PHONY: check-lua
check-lua: $(ALL_STAMP)
	@rm -rf $(LUA)
	@$(BIN)/python -c "import sys; from redisflow.backend.scripts import main; main(sys.argv[1:])" $(LUA)
	@if command -v luacheck >/dev/null; then \
		echo luacheck $(LUA); luacheck --quiet --codes --ignore $(INCLUDED) -- $(LUA); \
	elif [ "$${CI:-}" = true ] || [ "$${REDISFLOW_CI:-}" = 1 ]; then \
		echo "luacheck is missing (Debian: apt-get install lua-check)" >&2; exit 1; \
	else \
		echo "luacheck is not installed: the scripts were not linted (Debian: apt-get install lua-check)"; \
	fi

.PHONY: docs
docs: $(ALL_STAMP) ## Build the documentation site into build/site; a warning or a link that leads nowhere fails it
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m docsite

.PHONY: bench
bench: $(ALL_STAMP) ## Measure, print a table, write benchmarks/results.json
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: clean
clean: ## Remove .venv, caches, build results and the data of the demo
	rm -rf .venv .redisflow build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find redisflow tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
