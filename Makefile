# make demo: from a fresh clone to four workers training through a programmable switch.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo install test check format fuzz clean

demo: install
	$(BIN)/midflight demo allreduce --picture build/midflight-allreduce.png

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

test: install
	$(BIN)/pytest -n 2 --dist loadgroup

# An hour for each target, or as `make fuzz FUZZ="checker kernel --seconds 600"` says.
fuzz: install
	$(BIN)/python -m tests.fuzz $(FUZZ)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
