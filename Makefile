# make demo and make test do all the set-up they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DO_NOT_TRACK = 1

.PHONY: setup demo test faults e2e hour quick lint up

setup: $(DONE)

$(DONE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ramreel needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/ramreel pipeline ALE/Pong-v5 --approaches ppo-tuned,random --seeds 1 --steps 250000 \
		--checkpoint-every 125000 --episodes 5 --name demo

test: setup lint
	$(BIN)/pytest -n auto --dist loadfile --durations=20 --durations-min=5

faults: setup
	RAMREEL_FAULTS=long $(BIN)/pytest -n auto --dist loadfile tests/faults

hour: setup
	RAMREEL_HOUR=1 $(BIN)/pytest tests/arcade/videos/test_long_video.py

e2e: setup
	$(BIN)/pytest --exitfirst --durations=0 --durations-min=1 tests/e2e

quick: setup
	$(BIN)/pytest -n auto --dist loadfile tests/arcade tests/docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: setup
	$(BIN)/ramreel up
