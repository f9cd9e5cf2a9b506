# The daily commands. Each installs what it needs first; once installed, all of them work offline.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python || echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate pyproject.toml
ARGS ?=

.PHONY: help demo up test check format schemas rules dashboards bench containers reliability lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'
	@echo "make demo, up and test take ARGS: make demo ARGS=--once, make test ARGS='-k cdai -x'"

demo: $(VENV)/.run ## stream the study cohort through an embedded broker and show the live table
	$(BIN)/week12 demo $(ARGS)

up: $(VENV)/.run ## all services against KAFKA_BOOTSTRAP_SERVERS, else a local Apache Kafka
	$(BIN)/week12 up $(ARGS)

test: check ## every check and every test (what CI runs)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: $(VENV)/.dev ## lint, format and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: $(VENV)/.run ## write the JSON Schema files from the models
	$(BIN)/python -m schemas.generate

dashboards: $(VENV)/.run ## write Grafana's dashboards from their definitions
	$(BIN)/python deploy/grafana/generate.py

rules: $(VENV)/.dev ## write docs/rules/ from the tables that the tests run
	cd tests && ../$(BIN)/python -m rule_tables

bench: $(VENV)/.run ## measure speed and latency, and write docs/performance.md (needs Java 17)
	$(BIN)/python -m benchmarks $(ARGS)

containers: $(VENV)/.run ## build the images, run the composition, kill each part of it (Debian; root where Docker is missing)
	$(BIN)/python -m deploy.containers $(ARGS)

reliability: $(VENV)/.dev ## break everything under load, and write docs/reliability.md (needs Java 17; Debian and root where Docker is missing; a quarter of an hour)
	$(BIN)/python -m pytest tests/reliability --reliability --timeout=1800 $(ARGS)

lock: $(VENV)/.dev ## resolve the dependencies anew (needs the package index)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --output-file requirements-dev.lock

clean: ## remove the virtual environment and caches (stores and brokers' data stay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Stamps say that a step was finished: a venv or an installation cut short is done again, a whole one is not.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "week12 needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there):" \
	    "install it, or name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Hash-checked installs; the project itself goes in without touching the index.
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/.made
	@echo "installing week12 into $(VENV): a minute or two, the first time only"
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing the development tools"
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
