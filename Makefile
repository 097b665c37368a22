# ownlm: `make quickstart` builds an assistant from the Python standard library and serves it; `make test` proves the house.
PYTHON  ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3 || echo python3)
VENV    := .venv
BIN     := $(VENV)/bin
TORCH   := torch==2.13.0
OUT     ?= out/quickstart
PORT    ?= 8000
TEST_WORKERS ?= 2
SOURCES := pyproject.toml CMakeLists.txt $(wildcard native/*)
ORACLE  := .cache/transformers-4.57

.PHONY: help setup quickstart test test-slow lint format bench browser clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(VENV)/.run ## install, build an assistant from Python's own documentation, serve it on PORT
	$(BIN)/ownlm quickstart --out $(OUT) --port $(PORT)

test: $(VENV)/.dev $(ORACLE) browser ## install and run the tests (about 10 minutes on 2 cores; TEST_WORKERS=1 for one process)
	OWNLM_TRANSFORMERS_457=$(abspath $(ORACLE)) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

test-slow: $(VENV)/.dev $(ORACLE) browser ## the slow tier: long kill-and-resume and quality runs
	OWNLM_EXPLORE=1 OWNLM_TRANSFORMERS_457=$(abspath $(ORACLE)) $(BIN)/python -m pytest -m "slow or nightly"

lint: $(VENV)/.dev ## ruff, import contracts, mypy on the foundation
	$(BIN)/ruff check src tests bench recipes
	$(BIN)/ruff format --check src tests bench recipes
	$(BIN)/lint-imports
	$(BIN)/mypy src/ownlm/records.py src/ownlm/errors.py src/ownlm/config.py src/ownlm/runtime

format: $(VENV)/.dev ## let ruff format the code
	$(BIN)/ruff format src tests bench recipes
	$(BIN)/ruff check --fix src tests bench recipes

bench: $(VENV)/.dev ## run the benchmarks; results go to bench/results
	$(BIN)/python bench/encoding.py
	$(BIN)/python bench/training.py

setup: $(VENV)/.dev ## only install

$(VENV)/.created:
	@scripts/check-python $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch is pinned in the same resolver run: unpinned, pip may pull gigabytes of CUDA packages
$(VENV)/.run: $(VENV)/.created $(SOURCES)
	$(BIN)/python -m pip install --progress-bar on "$(TORCH)" -e ".[all]"
	@touch $@

$(VENV)/.dev: $(VENV)/.created $(SOURCES)
	$(BIN)/python -m pip install --progress-bar on "$(TORCH)" -e ".[dev]"
	@touch $@ $(VENV)/.run

# the older transformers, as a second oracle beside the one in the environment
$(ORACLE): | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --target $@.partial --no-deps \
		"transformers==4.57.6" "huggingface-hub>=0.34,<1" "tokenizers>=0.22,<0.23" \
		requests urllib3 charset-normalizer idna certifi
	mv $@.partial $@

browser:
	@scripts/find-browser

clean: ## remove the environment, caches and builds (not OUT)
	rm -rf $(VENV) .cache build dist .pytest_cache .mypy_cache .ruff_cache
