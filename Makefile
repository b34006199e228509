PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
# pyright looks at the packages of the first Python it finds, and asks an index for a newer one of itself.
WITH_BIN := PYRIGHT_PYTHON_IGNORE_WARNINGS=1 PATH="$(abspath $(BIN)):$$PATH"

# Processes that run tests side by side: one for each core, and another for while a test waits.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTHONS ?= 3.12 3.13 3.14
# What .ci/run has time for: the lowest versions on one Python, the pinned ones on the others, two parameter sets of a test.
ENVIRONMENTS ?= lowest-3.12 3.13 3.14
PARAMETER_SETS ?= 2

.PHONY: demo test test-lowest test-pythons test-environments mutations bench soak check dist changes format clean docs

demo: $(READY)  ## Back up a small tree to an emulator on this machine and compare every byte.
	$(BIN)/koodrive demo $(if $(DEMO_PATH),"$(DEMO_PATH)")

test: check  ## Formatter check, linter, types, tests.
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-lowest: $(READY)  ## The suites of the core and of the command with the lowest declared versions; LOWEST=lowest-3.12 for another Python.
	$(BIN)/python -m tests.environments --workers $(WORKERS) $(or $(LOWEST),lowest)

test-pythons: $(READY)  ## The suites of the core and of the command with each other Python that is installed.
	$(BIN)/python -m tests.environments --workers $(WORKERS) $(PYTHONS)

test-environments: $(READY)  ## Both, with a sample of each test's parameters; fails where pyenv has a Python that is not used.
	$(BIN)/python -m tests.environments --workers $(WORKERS) --parameter-sets $(PARAMETER_SETS) --every-python $(ENVIRONMENTS)

mutations: $(READY)  ## Change lines that decide about remote state: each change has to turn a test red.
	$(BIN)/python -m tests.mutations

bench: $(BENCH_READY)  ## Speed and memory side by side with others; ROUNDS=1 QUICK=1 for a short look.
	$(BIN)/python -m benchmarks --rounds $(or $(ROUNDS),5) $(if $(QUICK),--quick --results build/bench)

soak: $(READY)  ## Ten minutes of random faults and kills, then the pairs of dialects (two hours); MINUTES=1 SEED=7 PAIRS=100 for others.
	$(BIN)/python -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES),--seconds $(or $(SECONDS),600)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.dialects.pairs $(if $(PAIRS),--count $(PAIRS)) $(if $(SEED),--seed $(SEED))

docs: $(READY)  ## The documentation, into build/docs.
	rm -rf build/docs
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(WITH_BIN) pyright
	$(WITH_BIN) pyright --verifytypes koodrive_async --ignoreexternal

dist: $(READY)  ## Wheel and source archive, into dist/.
	rm -rf dist
	$(BIN)/python -m build --no-isolation

changes: $(READY)  ## What the next release would add to CHANGELOG.md.
	$(BIN)/towncrier build --draft --version NEXT

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist

# One environment for everything, rebuilt when what it is made from changes.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "koodrive-async needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable ".[cli,keyring,notebook,otel,testing,truststore,docs,web,dev]"
	touch $(READY)

# The other clients are wanted for this alone.
$(BENCH_READY): $(READY)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $(BENCH_READY)
