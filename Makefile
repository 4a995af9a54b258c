# Every target sets up its own environment (.venv) when it is missing or out of date.
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
SHARED ?= ../shared
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# `make gpu`: parts of at most ten minutes each, and the folder for models and results
PART ?= A B C D
GPU_FOLDER ?= gpu-checks
# `make chaos`: kills at random moments, and minutes of them at most
KILLS ?= 100
chaos: MINUTES ?= 600
fuzz: MINUTES ?= 15

.PHONY: setup demo test check slow bench gpu simulate fuzz chaos
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/tuneproof demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Gemma-3-270M, a real model, is fetched where SHARED has the script; without it its tests are skipped
slow: $(READY)
	@if test -x $(SHARED)/models/get-gemma3-270m; then \
		$(SHARED)/models/get-gemma3-270m $(BIN)/python || echo "Gemma-3-270M could not be fetched: its tests are skipped."; \
	else echo "$(SHARED)/models/get-gemma3-270m does not exist: the tests on Gemma-3-270M need another copy, or are skipped."; fi
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# coverage-guided, for MINUTES in all; findings become tests in tests/strangers/test_findings.py
fuzz: $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check atheris
	$(BIN)/python -m tests.fuzz $(MINUTES)

simulate: $(READY)
	$(BIN)/python -m benchmarks statistics

chaos: $(READY)
	$(BIN)/python -m benchmarks chaos --kills $(KILLS) --minutes $(MINUTES)

# Beside the peers, in an environment of their own; SHARED holds data/ and models/.
$(BENCH_VENV)/.ready: pyproject.toml constraints.txt benchmarks/constraints.txt
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BENCH_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt \
		-c benchmarks/constraints.txt -e '.[qlora]' trl lm-eval sentence-transformers
	touch $@

bench: $(BENCH_VENV)/.ready
	$(BENCH_VENV)/bin/python -W ignore -m benchmarks all --shared $(SHARED)

# What one CUDA card shows, on models of true shape with random weights; nothing is fetched once the environment
# is set up. Without a card the same code runs on small shapes.
gpu: $(BENCH_VENV)/.ready
	@failed=0; for part in $(PART); do \
		$(BENCH_VENV)/bin/python -W ignore -m benchmarks gpu --part $$part --folder $(GPU_FOLDER) || failed=1; \
	done; exit $$failed
