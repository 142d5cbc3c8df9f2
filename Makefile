# Everything runs in .venv of this checkout. Needed: Python 3.11 or 3.12 with venv, pip and make.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,13))' && echo $$p && break; done)
BIN := .venv/bin
RUN := .venv/.installed-run
TEST := .venv/.installed-test
OUT ?= demo-output

.PHONY: help demo test lint bench install clean

help:
	@echo "make demo    install, then put masks on portraits, restore them and measure, on a local Ray; results in $(OUT)"
	@echo "make test    install what tests need, then run the whole suite"
	@echo "make lint    ruff and pyright"
	@echo "make bench   all benchmarks"
	@echo "make clean   remove .venv and $(OUT)"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: install one, or say where it is: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

# An editable install follows the source; only a change of what is needed installs again.
$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST): $(RUN) pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

install: $(RUN)

demo: $(RUN)
	$(BIN)/python -m jobs.demo --output $(OUT)

test: $(TEST)
	$(BIN)/python -m pytest

lint: $(TEST)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pyright

bench: $(TEST)
	$(BIN)/python -m jobs.bench all

clean:
	rm -rf .venv $(OUT)
