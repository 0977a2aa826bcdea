# make run: set up and start the proxy.  make test: set up and test.  Both create .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ORIGIN ?=
PORT ?= 8000
TTL ?= 60
INTERPRETER := tests/cli tests/frontends tests/scenarios tests/server tests/stores/test_disk*.py tests/transport tests/upstream

.PHONY: run test interpreter fleet laws torture check lint docs bench conformance clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Springhouse needs Python 3.11 or newer; set PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	touch $@

run: $(VENV)/.installed
ifeq ($(strip $(ORIGIN)),)
	$(BIN)/springhouse demo --port $(PORT) --ttl $(TTL)
else
	$(BIN)/springhouse serve --origin $(ORIGIN) --port $(PORT) --ttl $(TTL)
endif

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore=tests/fleet

interpreter: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(INTERPRETER)

fleet: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/fleet

laws: $(VENV)/.installed
	EXAMPLES=all CRASH_ROUNDS=400 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
		tests/exchange tests/wire tests/engine tests/stores/crash tests/stores/test_contract_model.py tests/stores/test_redis_model.py

torture: $(VENV)/.installed
	$(BIN)/python -m pytest -m torture tests/torture

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed
	$(BIN)/python bench/bench.py

conformance: $(VENV)/.installed
	$(BIN)/python tests/conformance/run.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
