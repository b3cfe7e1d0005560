# The whole project from a machine with only Python and make: `make help` lists what there is.
#
# VENV=folder on the command line uses an environment of your own as it is, and installs nothing.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Pip shows its bars to a person and says nothing to a log file.
PIP_QUIET := $(shell [ -t 2 ] || echo --quiet)
# A command that is found may still not run (a version manager's stand-in), so each one is tried.
IS_SUPPORTED := -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in python3.12 python3.13 python3.11 python3; do \
	$$python $(IS_SUPPORTED) 2>/dev/null && echo $$python && break; done)

ifeq ($(origin VENV),command line)
PRUNE :=
DEV :=
else
PRUNE := $(VENV)/.installed-prune
DEV := $(VENV)/.installed-dev
endif

.PHONY: help demo test test-all testarm check format clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

demo: $(PRUNE) ## Install, then make the built-in detector faster, start to end (no network).
	$(BIN)/xprune-edge prune-export

test: $(DEV) ## Install, then run the tests.
	$(BIN)/python -m pytest

test-all: $(DEV) ## The same, and those that take gigabytes or minutes each.
	$(BIN)/python -m pytest -m ""

# Emulated: needs Linux 6.7, Debian's mmdebstrap and qemu-user-static, and about ten minutes.
ARM_TREE := build/arm
testarm: $(DEV) ## Run the device's commands on an emulated ARM machine.
	test -d $(ARM_TREE)/usr || tests/arm/make_tree $(ARM_TREE)
	XPRUNE_ARM_ROOTFS=$(abspath $(ARM_TREE)) $(BIN)/python -m pytest tests/end_to_end/test_arm.py

# The second run of mypy: a device may have nothing newer than Python 3.10.
check: $(DEV) ## Install, then run the linters, the type checker and the import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --package runtime_bench
	$(BIN)/lint-imports

format: $(DEV) ## Lay out the code, and mend what ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches; runs/ stays.
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) $(IS_SUPPORTED) 2>/dev/null || { \
		echo "Error: no Python 3.11 to 3.13 with its venv module was found;" \
			"install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The environment is filled again only when a list of requirements has changed. The code itself
# is linked, not copied, so a change of it needs no new installation.
EXTRAS_prune := prune
EXTRAS_dev := prune,dev,peers

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV): about 2 minutes and 6 GB the first time ..."
	@$(BIN)/python -m pip install $(PIP_QUIET) --disable-pip-version-check \
		-c constraints.txt -e '.[$(EXTRAS_$*)]'
	@touch $@ $(VENV)/.installed-prune
