# Every target installs what it needs; `make demo` needs nothing else first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
PROSE := flows tasks tests deployments docs README.md Makefile
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DO_NOT_TRACK = 1
export NO_MKDOCS_2_WARNING = 1
# Without bytecode on disk, each of the many processes of the tests compiles the modules that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint docs faults e2e cluster year up

setup: $(DEV)

$(RUN): pyproject.toml constraints.txt
	$(call install,.)
	touch $@

$(DEV): pyproject.toml constraints.txt
	$(call install,.[dev])
	touch $(RUN) $@

define install
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ramreel needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '$(1)'
endef

demo: $(RUN)
	$(BIN)/ramreel pipeline ALE/Boxing-v5 --approaches ppo-tuned,random --seeds 1 --steps 200000 \
		--checkpoint-every 100000 --episodes 5 --name demo

test: $(DEV) lint
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --durations=20 --durations-min=5

lint: $(DEV) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell $(PROSE)
	$(BIN)/hadolint deployments/Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deployments/compose.yaml
	$(BIN)/kubernetes-validate --strict --quiet deployments/kubernetes/*.yaml
	$(BIN)/pytest tests/deployments/test_cluster_files.py

docs: $(DEV)
	$(BIN)/mkdocs build --strict --quiet

faults: $(DEV)
	RAMREEL_FAULTS=long $(BIN)/pytest -n auto --dist loadfile tests/faults

e2e: $(DEV)
	$(BIN)/pytest --exitfirst --durations=0 --durations-min=1 tests/e2e

cluster: $(DEV)
	$(BIN)/python tests/cluster/run.py --exitfirst --capture=no --durations=0 --durations-min=1 tests/cluster

year: $(DEV)
	$(BIN)/python tests/year/run.py

up: $(RUN)
	$(BIN)/ramreel up
