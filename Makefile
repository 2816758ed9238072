# Two commands matter: `make demo` and `make test`. Each sets up what it needs; nothing but make and Python >= 3.11 is asked for.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo up test lint types bench garbage chaos chaos-kubernetes scale-kubernetes docs lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "alula needs Python >= 3.11; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing from requirements.lock ..."
	@grep -A99 '^uv==' requirements.lock | awk 'NR==1 || /^    --hash/ {print; next} {exit}' > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## start a server, run examples/01-hello with the flyte SDK, show what it printed
	@$(BIN)/python tools/demo.py

up: $(READY) ## start alula for yourself: http://localhost:30080
	@$(BIN)/alula up

lint: $(READY) ## ruff and the import floors
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

test: lint types ## lint, types, import floors and every test
	@$(BIN)/python -m compileall -q -j 2 src tests # once: hundreds of processes load it
	@$(BIN)/pytest -n 3 --dist loadfile

garbage: $(READY) ## throw garbage at every rpc for longer, different each time
	@ALULA_GARBAGE=$${ALULA_GARBAGE:-100} $(BIN)/pytest tests/api/test_garbage.py -q --timeout 900

chaos: $(READY) ## kill a thousand processes of a server under load; takes hours
	@ALULA_CHAOS=$${ALULA_CHAOS:-1000} $(BIN)/pytest tests/crash/test_chaos.py -q -s

chaos-kubernetes: $(READY) ## the same for Managers, networks, events and a control plane that is down a minute
	@ALULA_CHAOS_RUNS=$${ALULA_CHAOS_RUNS:-600} ALULA_CHAOS_DOWN=$${ALULA_CHAOS_DOWN:-60} $(BIN)/pytest tests/manager/test_manager_chaos.py -k everything -q -s

scale-kubernetes: $(READY) ## thousands of pods of simulated nodes, with every kind of fate
	@ALULA_SCALE=$${ALULA_SCALE:-3700} $(BIN)/pytest tests/manager/test_scale.py -q -s

bench: $(READY) ## how fast, as medians and as ratios to a baseline of the same run
	@$(BIN)/python tools/bench

docs: $(READY) ## regenerate what is generated in docs/
	@$(BIN)/python tools/docs.py

lock: $(READY) ## resolve requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --group dev pyproject.toml --output-file requirements.lock

clean: ## remove what make made
	rm -rf $(VENV)
