# Every target sets up what it needs: .venv from requirements.lock on the first call, nothing afterwards.
# Needs Python 3.11 with its venv module, and make. PYTHON=... picks another interpreter, VENV=... another place.
PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
STEPS := $(wildcard functions/*/function)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "make lock"

# Many small processes share the machine; threads inside NumPy's BLAS would only fight each other.
export OPENBLAS_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo test lint style types layers unit format test-services bench bench-kafka lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## .venv with varloop and everything its tests need

$(LOCKED): requirements.lock
	@echo "Installing the locked dependencies into $(VENV) (once; some minutes on a slow line)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "varloop needs Python 3.11 or later: make PYTHON=...")'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --no-deps --require-hashes --requirement requirements.lock
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml setup.py
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) ## the ground state of hydrogen, step by step, in this process
	$(BIN)/varloop run h2

test: lint unit ## everything that needs no service: lint, then the tests with their coverage

lint: style types layers ## style, types and layers, without running anything

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Each step is a package named `function` in its own project, so each gets its own call.
types: $(INSTALLED)
	$(BIN)/mypy sdk/varloop tests/typing
	@set -e; for step in $(STEPS); do echo "mypy $$step"; \
	  MYPYPATH=$$(dirname $$step) $(BIN)/mypy --cache-dir .mypy_cache/$$step --follow-imports silent --package function; done

layers: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

unit: $(INSTALLED)
	$(BIN)/pytest -n auto --cov

format: $(INSTALLED) ## mend what can be mended by machine
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-services: $(INSTALLED) ## the suites against real Kafka and S3, which it starts and kills itself
	scripts/test-services

bench: $(INSTALLED) ## varloop beside its peers, as a table
	@set -e; for bench in $(filter-out benchmarks/kafka.py benchmarks/knative.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$bench; done

# SERVICES=DIR: a folder whose programs up and down start and stop Kafka and S3. Or KAFKA_BOOTSTRAP and S3_ENDPOINT
# say where both are.
bench-kafka: $(INSTALLED) .venv-bench/.installed ## the loop on Kafka and S3 beside Ray, Prefect and FastStream
	$(BIN)/python benchmarks/kafka.py --peers .venv-bench/bin/python --services "$(SERVICES)" --output benchmarks/results/kafka.md

.venv-bench/.installed: benchmarks/requirements.lock
	@echo "Installing the peers into .venv-bench (once; about a minute on a fast line)"
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --requirement $<
	@touch $@

lock: $(INSTALLED) ## choose the versions of requirements.lock anew, and those of the functions' images within them
	$(COMPILE) --upgrade --all-extras --group dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --upgrade --group bench --output-file benchmarks/requirements.lock
	echo hatchling | $(COMPILE) --no-header --constraint requirements.lock --output-file sdk/varloop/deploy/backend.lock -
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/base-image --lock

clean: ## remove everything that was built or installed
	rm -rf .venv .venv-* build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
