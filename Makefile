# make run   set up what is missing and open the terminal interface on a sample
# make test  set up what is missing and run every check
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Compiled modules are kept, also where the environment wants none beside the sources: compiling is two thirds of a start.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/pycache

.PHONY: run test lint types arrows unit coverage mutants fuzz monkey pairs rules options man docs screenshots bench clean

run: $(READY)
	$(BIN)/inspector open sample:amx/process.core

test: lint types arrows unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The program, and what tests share. Tests are not looked at: some give what a type would refuse.
SHARED_BY_TESTS = $(shell find tests -name '*.py' ! -name 'test_*')

types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy $(SHARED_BY_TESTS)

arrows: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest -n auto --dist worksteal

# Branch coverage of what has rules and formats, by the tests that need no screen: of each package at least 95 % of its
# lines and branches, and of its branches alone.
coverage: $(READY)
	$(BIN)/pytest -n auto --dist worksteal --ignore=tests/tui --cov --cov-report=term
	$(BIN)/coverage json -q -o - | $(BIN)/python -m tests.branches

# Every rule changed a little, one change after the other: docs/mutants.md. Hours for all; MUTANTS names some, TESTS
# those that are asked: make mutants MUTANTS=arm64/caches.py TESTS=tests/machine/test_arm64_tables.py
MUTANTS ?=
TESTS ?=

mutants: $(READY)
	$(BIN)/python -m pip install --quiet --group mutants
	$(BIN)/python -P tests/mutants.py $(MUTANTS) $(if $(TESTS),--tests $(TESTS))

# Mutated inputs for every reader, or for one: make fuzz SECONDS=600 READER=elf
SECONDS ?= 60
SEED ?= $(shell date +%s)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED) $(if $(READER),--reader $(READER)) $(if $(ATHERIS),--atheris)

# Random keys over all screens: make monkey KEYS=100000 SEED=7
KEYS ?= 100000

monkey: $(READY)
	$(BIN)/python -m tests.monkey --keys $(KEYS) --seed $(SEED)

# Guests of one QEMU that go on in another, by every pair of -cpu lines: what breaks was named before. Ten minutes.
# What libvirt misses of any model, we name.
pairs: $(READY)
	ALL_PAIRS=1 $(BIN)/python -m pytest -q -p no:xdist tests/machine/test_migrate_libvirt.py
	$(BIN)/python -m tests.machine.test_migrate_uses

# The page of every rule, from the machine's code.
rules: $(READY)
	$(BIN)/python -m docs.make_rules

# What completion knows of commands and options, from their parsers.
options: $(READY)
	$(BIN)/python -m docs.make_options

# The manual page, from the parsers and the guide; the wheel installs it.
man: $(READY)
	$(BIN)/python -m docs.make_man

# The docs site in build/site/html, without a warning: pages, guides, and the reference from the tables. A minute.
docs: $(READY)
	$(BIN)/python -m docs.make_site

# The pictures of README and docs, made by the program itself.
screenshots: $(READY)
	$(BIN)/python docs/make_screenshots.py

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("inspector needs Python 3.11 or newer (PYTHON=... names one)" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable '.[serve,dask,parquet]' --group dev
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info
