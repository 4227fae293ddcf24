# Every target does the set-up it needs, and does nothing twice. `make` or `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# tests start hundreds of Pythons: what is compiled once is not compiled again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test long soak conformance fidelity catalogue check tools lab-up lab-down clean

# LAB=istiod: the same commands with the real control plane, API server and Jaeger, once `make tools` built them
LAB ?= embedded
LAB_PARTS := $(if $(filter istiod,$(LAB)),--control-plane istiod --traces jaeger)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything in it, and get Prometheus if the machine has none

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Setting up $(VENV) (a minute or so, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m chaosmesh_ext.lab.metrics || true
	@touch $@

demo: setup ## The main job: find that productpage gives up on details after 3 seconds, with proof
	@chaos mesh lab run $(LAB_PARTS) -- sh -c 'chaos mesh run experiments/productpage-details-timeout.yaml; test $$? -le 1'
	@$(BIN)/python -c 'import json; found = json.load(open("reports/runs/latest/findings.json"))["findings"]; \
	raise SystemExit(not any(f["rule"] == "timeout" and f["source"] == "productpage" and f["destination"] == "details" for f in found))'

test: setup ## The test suite, but what takes long
	@pytest -n 4 --dist worksteal -q

long: setup ## What takes long: every way in which an observer fails, a strike at each request
	@pytest -n 2 --dist worksteal -q --long -m long

soak: setup ## Runners struck at 1,000 points, API errors at 1,000, and longer interleavings: an hour
	@CHAOSMESH_EXAMPLES=10 pytest -n 0 -q -s --timeout 14400 --safety 1000 --safety-seed $${SEED:-$$(date +%s)} tests/safety tests/mesh/test_undo_properties.py

conformance: tools ## The same tests on the lab's own parts and on istiod, kube-apiserver and Jaeger
	@pytest -n 3 --dist loadgroup -q --real tests/conformance

fidelity: tools ## Write docs/fidelity.md from what both sides are seen to do
	@pytest -n 3 --dist loadgroup -q --real --write-fidelity tests/conformance

catalogue: tools ## Run every experiment on istiod too, and write docs/catalogue.md
	@pytest -n 4 --dist worksteal -q --real --write-catalogue tests/e2e/test_every_experiment.py
	@$(BIN)/python tests/support/catalogue.py

check: setup ## Lint, types, and the layers between the packages
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports

tools: setup ## Build istiod, kube-apiserver, Jaeger and their clients: 10 minutes, 10 GB
	@chaos mesh lab tools

lab-up: setup ## Start the lab in the background
	@chaos mesh lab up $(LAB_PARTS)

lab-down: ## Stop it
	@if [ -x $(BIN)/chaos ]; then chaos mesh lab down; fi

clean: lab-down ## Remove .venv and what tools left
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
