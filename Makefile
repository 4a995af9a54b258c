# Every target sets up its own environment (.venv) when it is missing or out of date.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# `make chaos`: kills at random moments, and minutes of them at most
KILLS ?= 100
MINUTES ?= 600

.PHONY: setup demo test check slow bench simulate chaos
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/tuneproof demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

slow: $(READY)
	$(BIN)/python -m pytest -m slow

simulate: $(READY)
	$(BIN)/python -m benchmarks statistics

chaos: $(READY)
	$(BIN)/python -m benchmarks chaos --kills $(KILLS) --minutes $(MINUTES)

bench: $(READY)
	$(BIN)/python -m benchmarks
