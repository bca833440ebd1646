# `make` lists what can be made.
#
# Everything runs in .venv, which `make setup` makes with BASE_PYTHON. To use an environment of
# your own as it is, with its own torch and Detectron2: make test PYTHON=/path/to/python

BASE_PYTHON ?= python3
ARGS ?=
# LOCKED=1: install only packages whose sha256 is in requirements.lock.
LOCKED ?=
# Tests of one file stay together: they share what was made for them.
PROCESSES ?= -n auto --maxprocesses 4 --dist loadfile
DEMO_CONFIG := configs/double_digits/mask_unet_demo.yaml
DEMO_DATA := datasets/double_digits
DEMO_OUTPUT := output/demo

# A PYTHON that some environment happens to export is not meant for us.
ifeq ($(origin PYTHON),command line)
SETUP := "$(PYTHON)" tools/setup --check
else
PYTHON := .venv/bin/python
SETUP := "$(BASE_PYTHON)" tools/setup $(if $(LOCKED),--locked)
endif

.PHONY: help setup lock audit demo test proof stress lint typecheck check clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-18s%s\n", $$1, $$2}'
	@echo 'More words for a tool or for pytest: make test ARGS="-k labels"'

setup: ## .venv with everything that is needed; a second call costs a second
	@command -v $(firstword $(SETUP)) >/dev/null || { \
		echo 'set-up failed: there is no $(firstword $(SETUP)) on this machine. Install Python 3.10' \
		'or newer, or name one: make setup BASE_PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(SETUP)

lock: setup ## requirements.lock anew, for this Python and system
	@"$(PYTHON)" tools/setup --lock

audit: setup ## known advisories on what is installed; needs a network
	@"$(PYTHON)" tools/setup/audit.py $(ARGS)

demo: setup ## train and score on the built-in data set, into output/demo
	@test -f $(DEMO_DATA)/val.json || "$(PYTHON)" datasets/prepare_double_digits.py
	"$(PYTHON)" tools/train_net.py --config-file $(DEMO_CONFIG) --overwrite OUTPUT_DIR $(DEMO_OUTPUT) $(ARGS)

test: setup ## the tests
	"$(PYTHON)" -m pytest $(PROCESSES) $(ARGS)

proof: setup ## the README's scores, by whole trainings; 20 minutes or more
	"$(PYTHON)" -m pytest -m slow -s tests/goals $(ARGS)

stress: setup ## what must hold under kills, hangs, hostile files and large data; hours
	"$(PYTHON)" -m pytest -m slow -s tests/security tests/stress $(ARGS)

lint: setup ## ruff: rules and layout
	"$(PYTHON)" -m ruff check .
	"$(PYTHON)" -m ruff format --check .

typecheck: setup ## mypy over project and tools
	"$(PYTHON)" -m mypy

check: lint typecheck test ## all three; what .ci/run does

clean: ## remove caches and the demo's data and output; .venv and other output stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info $(DEMO_DATA) $(DEMO_OUTPUT)
	find project tools datasets tests -name __pycache__ -prune -exec rm -rf {} +
