# `make demo` and `make test` are all that a newcomer needs; both make their own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint index bench clean

demo: $(VENV)/installed
	$(BIN)/clario extract examples/dry_mouth.txt --format table

test: $(VENV)/dev
	$(BIN)/pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The compiled HPO release inside the package; the tests check that it is reproducible from these sources.
index: $(VENV)/installed
	$(BIN)/clario ontology build data/hpo/hp-2026-02-16.obo.gz --lay data/lexicon/lay_phrases.jsonl \
		--output src/clario/ontology/data

# The peers are installed into environments of their own, which go with the run.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/gsc_plus.py
	$(BIN)/python benchmarks/speed.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
