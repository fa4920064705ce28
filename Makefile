# `make demo` and `make test` do all the set-up on a fresh Debian or Ubuntu machine with Python 3.11 or newer.
# A second run reuses what is there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Processes that the tests are divided among; 0 is this one alone, where `-s` and a debugger work.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 20

.PHONY: demo test test-fast test-browser test-slow test-long serve bench replay lint format clean starter-model packages docs wheel

# Without OHIF (no npm, no internet) the demo plays all the same, and /ohif/ says how to get it.
demo: $(VENV)/.installed
	-@SEGLOOP_VIEWER_DIR=demo/viewer $(BIN)/segloop viewer install
	$(BIN)/segloop demo $(DEMO)

serve: $(VENV)/.installed
	$(BIN)/segloop serve $(SERVE)

# Fast tests first, so that a mistake shows early; then those in a browser; then those with kills, load and many processes.
test: test-fast test-browser test-slow

test-fast: $(VENV)/.installed packages
	$(PYTEST) -m "not slow and not browser and not long" $(TEST)

# Screenshots are in test-results/.
test-browser: $(VENV)/.installed packages
	$(PYTEST) -m "browser and not slow" $(or $(TEST),tests/browser)

test-slow: $(VENV)/.installed packages
	$(PYTEST) -m "slow and not long" $(TEST)

# Too long for every change: a thousand kills, thousands of random inputs. Writes docs/test-long.md.
test-long: $(VENV)/.installed packages
	scripts/test-long $(PYTEST) $(TEST)

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed packages
	$(BIN)/python -m bench $(BENCH)

# The reference pages that are made from the code.
docs: $(VENV)/.installed
	$(BIN)/python -m scripts.reference

# Records what every protocol answered at an earlier commit, and replays it against this tree.
AGAINST ?= 75f18de
replay: $(VENV)/.installed packages
	$(BIN)/python -m tests.recording --against $(AGAINST) $(REPLAY)

# What the server needs at run time, in one file in dist/; docs/install.md says how to install it.
wheel:
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# Grows a bank of made-up scenes and trains on it until stopped; started again, both go on. See docs/starter-model.md.
starter-model: $(VENV)/.installed
	$(BIN)/python -m bench.starter_model.bank --out starter/bank --count $(or $(SCENES),500)
	$(BIN)/python -m bench.starter_model.train --bank starter/bank --checkpoint starter/run.pt $(TRAIN)

# What the tests need from the system: Orthanc with its DICOMweb plugin, dciodvfy, Chromium. Says so if it can't.
packages:
	@scripts/system-packages

$(VENV)/.installed: pyproject.toml constraints.txt scripts/install
	scripts/install $(PYTHON) $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo test-results .mypy_cache .ruff_cache .pytest_cache
