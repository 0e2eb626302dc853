# make run    development mode: an embedded Postgres, the daemon, a receiver, and a few events
# make test   everything that continuous integration checks
# make chaos  the daemon through kills, outages and worse (10 minutes; chaos-quick, a selection, is a part of `make test`)
# make bench  the benchmark, beside two Node peers (30 minutes; bench-quick: one; profile: where the time goes)
# make fuzz   new inputs for whatever reads what comes from outside, FUZZ_SECONDS=60 for each target
#
# All make .venv first, which takes a minute the first time. PYTHON=… chooses the interpreter, ARGS=… goes to pytest,
# to the benchmark or to the chaos suite.

PYTHON ?=
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= canonical plain payload url retry_after response bounds connection
VENV := .venv
BIN := $(VENV)/bin
METADATA := pyproject.toml setup.py setup.cfg
ONCE := build/once
SOURCES := slayq_tw twisted bench tests setup.py
PEERS := bench/peer/node_modules/.package-lock.json

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.PHONY: run test lint types once unit oldest image-test chaos chaos-quick bench bench-quick bench-smoke bench-tools profile fuzz clean

run: $(VENV)/.dev
	@$(BIN)/slayq dev

test: lint types once unit oldest bench-smoke chaos-quick

unit: $(VENV)/.test
	@$(BIN)/python -m pytest $(ARGS)

# What depends on Postgres, on the oldest one that the README promises.
oldest: $(VENV)/.test
	@$(BIN)/python -m tests.oldest

lint: $(VENV)/.test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.test
	$(BIN)/mypy

# What a user gets: the wheel, in a venv that has nothing else, in a folder that is not the checkout.
once: $(VENV)/.test
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir $(ONCE) .
	$(BIN)/python -m venv $(ONCE)/venv
	$(ONCE)/venv/bin/pip install --quiet "$$(echo $(ONCE)/*.whl)[dev]"
	cd $(ONCE) && venv/bin/slayq dev --once

# All of them, also when one finds something: its input is then in tests/fuzz/corpus.
fuzz: $(VENV)/.fuzz
	@status=0; for target in $(FUZZ_TARGETS); do \
	  $(BIN)/python -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) || status=1; \
	done; exit $$status

image-test: $(VENV)/.test
	$(BIN)/python docker/test-image

chaos: $(VENV)/.test
	@$(BIN)/python -m tests.chaos $(ARGS)

chaos-quick: $(VENV)/.test
	@$(BIN)/python -m tests.chaos --quick $(ARGS)

bench: bench-tools $(VENV)/.bench $(PEERS)
	@$(BIN)/python -m bench $(ARGS)

bench-quick: bench-tools $(VENV)/.bench $(PEERS)
	@$(BIN)/python -m bench --quick $(ARGS)

# That the benchmark runs: a few hundred jobs, without nginx and the peers.
bench-smoke: $(VENV)/.test
	@$(BIN)/python -m bench --smoke $(ARGS)

profile: $(VENV)/.bench
	@$(BIN)/python -m bench.profiling $(ARGS)

bench-tools:
	@bench/install-tools

$(PEERS): bench/peer/package.json
	cd bench/peer && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.dev: $(VENV)/.python $(METADATA)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.python $(METADATA)
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	@touch $@

$(VENV)/.test: $(VENV)/.python $(METADATA)
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.dev

$(VENV)/.bench: $(VENV)/.python $(METADATA)
	$(BIN)/pip install --quiet --editable '.[test,bench]'
	@touch $@ $(VENV)/.test $(VENV)/.dev

$(VENV)/.python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; \
	    "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "SlayQ needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: python3-venv);" \
	  "found: $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1). Name another one with PYTHON=…" >&2; exit 1

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/interop/node_modules \
	  bench/peer/node_modules bench/report bench/report.md
