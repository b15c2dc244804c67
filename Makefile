# make setup   the environment in .venv: once, then only when pyproject.toml or constraints.txt change
# make demo    the whole job on the demo's world; a second time only what changed
# make test    the tests that need neither a GPU nor minutes each
# make docs    the documentation as a site: open build/docs/index.html, which asks nothing of the network
# make test-torture SEED=7    kills, mutations, bombs, mistakes and faults, whole; make test runs a sample of each
# make test-deploy    deploy/ on two hosts of network namespaces, on a real Slurm, in its image (docs/clusters.md; root, an hour)
# make test-slow, test-gpu, test-agreement    those that do, and those that compare with clip-benchmark and CleanVision and run mteb's
#              tasks (the extras `agreement` and `mieb`)
# make test-versions    lowest and newest allowed versions of the libraries, and every Python that is declared
# make lint    ruff, import-linter, mypy and shellcheck, as make test does first
# make viz     the graph of the pipelines, in a browser
# make clean   takes the environment and what was built away; data/ stays
PYTHON ?= python3
BIN := .venv/bin
# `kedro` and `dvc` of the environment, also where a stage calls them.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Every pipeline is a process of its own: without cached bytecode each would compile its imports again. `setup` compiles
# those of the packages, for commands that run outside make where this is set, as it is in many containers.
unexport PYTHONDONTWRITEBYTECODE
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-torture test-slow test-gpu test-agreement test-versions test-deploy lint docs viz clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	dvc repro
	@echo "open data/08_reporting/demo/report.html; the enhanced encoder is data/06_models/demo/encoder"

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations=30

SEED ?= 0

test-torture: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/torture --torture --torture-seed $(SEED)

test-slow: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,cluster,agreement,mieb,trackers]'
	$(BIN)/python -m pytest -m slow --ignore tests/deploy
	$(BIN)/python -m pytest tests/training/monitoring

test-deploy: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,cluster,deploy]'
	OMP_NUM_THREADS=1 DCR_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest -m slow tests/deploy

test-agreement: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,agreement,mieb]'
	$(BIN)/python -m pytest tests/evaluation/test_agreement.py tests/evaluation/test_mieb.py tests/validation/test_cleanvision_agreement.py

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

test-versions: setup
	$(BIN)/python tests/try_versions.py build/versions

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/shellcheck deploy/slurm/*.sh

docs: setup
	$(BIN)/python docs/site/build_site.py build/docs
	@echo "open build/docs/index.html"

viz: setup
	$(BIN)/kedro viz run

clean:
	rm -rf .venv build
