# `make demo` and `make test` are all that a newcomer needs; both make their own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PyTorch is large, and what ships must work without it: training has an environment of its own.
TRAIN := $(VENV)/train
SMOKE := build/smoke

.PHONY: demo test page lint smoke index bench clean

demo: $(VENV)/installed
	$(BIN)/clario extract examples/dry_mouth.txt --format table

test: $(VENV)/dev
	$(BIN)/pytest

# The review page in a real browser (Chromium); skipped where there is none.
page: $(VENV)/dev
	$(BIN)/pytest -m browser

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two steps of training on a processor, to see that everything runs, and the tests that need PyTorch; both bounded.
smoke: $(TRAIN)/installed
	rm -rf $(SMOKE)
	PATH="$(abspath $(TRAIN)/bin):$$PATH" timeout 600 runs/mini.sh $(SMOKE) --smoke
	rm -rf $(SMOKE)
	timeout 300 $(TRAIN)/bin/pytest tests/test_mini.py

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

# The version of PyTorch is fixed, so that a new one does not break what nobody changed.
$(TRAIN)/installed: pyproject.toml $(VENV)/installed
	$(PYTHON) -m venv $(TRAIN)
	timeout 600 $(TRAIN)/bin/pip install --quiet torch==2.13.0
	timeout 300 $(TRAIN)/bin/pip install --quiet --editable '.[chat,train]' pytest hypothesis
	touch $@

clean:
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
