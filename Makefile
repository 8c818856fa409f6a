# One recipe per verb. Everything runs in .venv, made on first use from Python >= 3.11 (PYTHON=...
# names one) with uv where it is there and with venv + pip otherwise.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?=
JOBS ?= 2
SECONDS ?= 60
ARGS ?=
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
MADE_FROM := pyproject.toml setup.py constraints.txt constraints-peers.txt tools/environment.sh $(wildcard src/crossfeed/native/*.pyx src/crossfeed/native/*.pxd src/crossfeed/native/*.h)

export VENV PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check bench docs faults fuzz sanitize soak trust peers format constraints clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.stamp-core ## live view of the built-in simulator's venues, no exchange needed
	@$(BIN)/crossfeed demo $(ARGS)

test: $(VENV)/.stamp-test ## every test but load runs and other people's clients
	$(PYTEST) -n $(JOBS) -m "not load and not peers" $(ARGS)

check: $(VENV)/.stamp-dev ## format, lint, types, layers, spelling, dependencies, docstrings, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/deptry src
	$(BIN)/interrogate src tools
	$(BIN)/zensical build --strict

bench: $(VENV)/.stamp-test ## measure the whole path against the floors (ARGS=... of crossfeed bench)
	$(BIN)/crossfeed bench $(ARGS)

docs: $(VENV)/.stamp-dev ## build the documentation into site/, generated pages first
	$(BIN)/python tools/pages.py
	$(BIN)/zensical build --strict

faults: $(VENV)/.stamp-test ## run the fault tests in full and print the coverage of the catalogue
	$(BIN)/python tools/faults_report.py $(ARGS)

fuzz: $(VENV)/.stamp-test ## a million mutated inputs through every decoder (ARGS="--inputs 10000000")
	$(BIN)/python tools/fuzz.py --jobs $(JOBS) $(ARGS)

sanitize: $(VENV)/.stamp-test ## compiled code under the address and undefined sanitizers (MUTANTS=...)
	@tools/sanitize.sh $(ARGS)

soak: $(VENV)/.stamp-test ## four venues with faults over sockets for SECONDS=..., accounts compared
	$(BIN)/python tools/soak.py --seconds $(SECONDS) $(ARGS)

trust: $(VENV)/.stamp-test ## rebuild recorded sessions and compare with their known facts
	$(PYTEST) -m trust -p no:randomly -s $(ARGS)

peers: $(VENV)/.stamp-peers ## other people's clients against our simulator (installs them)
	$(PYTEST) -m peers -p no:randomly $(ARGS)

format: $(VENV)/.stamp-dev ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero .

constraints: $(VENV)/.stamp-dev ## resolve the pinned versions anew (PYTHONS="python3.11 python3.12 ...")
	$(BIN)/python tools/constraints.py $(PYTHONS)

clean: ## remove caches and builds, keep .venv
	rm -rf build dist site .cache .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache htmlcov *.egg-info src/*.egg-info
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-core: $(MADE_FROM)
	@tools/environment.sh core

$(VENV)/.stamp-test: $(MADE_FROM)
	@tools/environment.sh test

$(VENV)/.stamp-peers: $(MADE_FROM)
	@tools/environment.sh peers

$(VENV)/.stamp-dev: $(MADE_FROM)
	@tools/environment.sh dev
