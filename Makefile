# What a person types. Every target sets up what it needs; written for GNU make 3.81, which macOS ships.
#
#   PYTHON=python3.12 make setup    another Python         make test ARGS="-m 'not integration'"    a part of the tests

SHELL := /bin/bash
BIN := .venv/bin
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test test-long test-kills test-full-disk soak lint format docs lock jars-lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /|/' | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup:  ## Make .venv and fetch the Java libraries; does nothing when nothing changed
	@infra/local/setup.sh

demo: setup  ## Run the whole platform on synthetic data
	@$(BIN)/retail demo $(ARGS)

up: setup  ## Start the local stack
	@$(BIN)/python -m retail_local up $(ARGS)

down:  ## Stop the local stack
	@if [ -x $(BIN)/retail ]; then $(BIN)/python -m retail_local down; else echo "nothing to stop: there is no .venv"; fi

status: setup  ## Show how the local stack is
	@$(BIN)/python -m retail_local status $(ARGS)

test: setup  ## Run the tests
	@$(BIN)/python -m pytest $(ARGS)

test-long: setup  ## Run the tests that `make test` leaves out because they take long (an hour)
	@$(BIN)/python -m pytest -m long $(ARGS)

test-kills: setup  ## Kill the run of each layer at ten random moments (half an hour)
	@KILL_TEST_MOMENTS=$${KILL_TEST_MOMENTS:-10} $(BIN)/python -m pytest -m '' \
	  retail_assets_tests/integration/test_killed_runs.py $(ARGS)

soak: setup  ## Send a million dirty events and kill service, broker and warehouse twenty times (half an hour)
	@SOAK_EVENTS=$${SOAK_EVENTS:-1000000} SOAK_KILLS=$${SOAK_KILLS:-20} $(BIN)/python -m pytest \
	  retail_assets_tests/integration/streaming/test_exactly_once.py $(ARGS)

test-full-disk: setup  ## Fill up small disks while the demo and the streaming service run (root on Linux)
	@FULL_DISK_TEST=1 $(BIN)/python -m pytest retail_assets_tests/e2e/test_full_disk.py \
		retail_assets_tests/integration/streaming/test_full_disk.py $(ARGS)

lint: setup  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup  ## Mend what the style check can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup  ## Write the pages that follow from the code
	@$(BIN)/python -m retail_assets.reference_pages

lock:  ## Resolve pyproject.toml into requirements.lock (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make lock needs uv: install it from your package manager" >&2; exit 1; }
	@uv pip compile pyproject.toml --universal --python-version 3.11 --extra platform --extra local --extra dev \
	  --extra s3 --extra rivals --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock

jars-lock: setup  ## Resolve jars.toml into jars.lock
	@$(BIN)/python -m retail_local jars lock

clean: down  ## Stop the stack and remove .venv and caches; data in var/ stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
