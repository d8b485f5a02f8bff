# Everything here works on a fresh machine that has Python 3.11 or later and a way to reach a package index.
#   make demo    three nodes on this machine, shown at work        make test   linters, types and the whole suite
#   make bench   throughput and latency                            make sim SEEDS=2000   more seeds for the simulation
#   make nightly             17 to 32 nodes, and whether enough seeds see all that can happen
#   make chaos MINUTES=20    faults on real nodes in network namespaces (root)
#   make fuzz MINUTES=20     coverage-guided fuzzing of all decoders (where there is atheris)
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 2000
NIGHTLY_SEEDS ?= 60
COMPLETE_SEEDS ?= 1000
MINUTES ?= 5
NODES ?= 5
SEED ?= 1
LOSS ?= 5
PYTEST_WORKERS ?= 2
JOBS ?= 2

# The newest of these that is recent enough and can make virtual environments (Debian splits ensurepip off).
ifndef PYTHON
PYTHON := $(shell for each in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	$$each -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
endif

SOURCES := pyproject.toml py.typed README.md LICENSE $(wildcard *.py) \
	$(shell find executive ipc sam services testing -name '*.py' 2>/dev/null)
# Changes when a module appears or goes, which no time stamp shows.
SOURCES_LIST := $(shell echo $(sort $(SOURCES)) | cksum | tr ' ' '-')

TEST_FILES := (^|/)(test_[^/]*|conftest)\.py$$

.PHONY: demo test lint types docs fuzz sim nightly chaos bench install clean
.DELETE_ON_ERROR:

$(BIN)/.made:
	@test -n "$(PYTHON)" || { echo "totemd needs Python 3.11 or later with the venv module (Debian: python3-venv)" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77'
	@touch $@

# The package is installed, not linked: that is what users get, and what mypy -p totemd can see.  build/ would keep
# modules that are gone, so it never survives.
$(BIN)/.installed-$(SOURCES_LIST): $(BIN)/.made $(SOURCES)
	rm -rf build totemd.egg-info
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --force-reinstall --no-deps .
	rm -rf build totemd.egg-info
	@rm -f $(BIN)/.installed-*
	@touch $@

$(BIN)/.needs: $(BIN)/.made pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > $(BIN)/.requirements
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(BIN)/.requirements
	@touch $@

$(BIN)/.test-needs: $(BIN)/.made pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["test"], sep="\n")' > $(BIN)/.test-requirements
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(BIN)/.test-requirements
	@touch $@

install: $(BIN)/.needs $(BIN)/.installed-$(SOURCES_LIST)

demo: install
	$(BIN)/python examples/demo.py

lint: $(BIN)/.test-needs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install $(BIN)/.test-needs
	$(BIN)/mypy --strict -p totemd
	@# What the suites and the measurements are made of: a checker that checks nothing would go unnoticed.
	for each in tests/sim tests/chaos tests/fuzz tests/integration bench; do \
		(cd $$each && MYPYPATH=.:$(CURDIR)/tests/sim:$(CURDIR)/tests/integration $(CURDIR)/$(BIN)/mypy --exclude '$(TEST_FILES)' .) || exit 1; done

test: lint types
	$(BIN)/pytest -q -n $(PYTEST_WORKERS) --dist loadgroup

# What is no number would make an empty range.
last_seed = $(or $(shell test '$($(1))' -gt 0 2>/dev/null && echo $$(($($(1)) - 1))),$(error $(1)=$($(1)): a number of seeds is expected, 1 or more))

# In pieces: what was run with the sources as they are is not run again, so it may be ended and begun at any time.
sim: install
	$(BIN)/python tests/sim/run.py --seeds 0..$(call last_seed,SEEDS) --jobs $(JOBS) --progress .sim/progress.jsonl \
		$(if $(SIM_MINUTES),--minutes $(SIM_MINUTES))

# What is too long for each commit.  Both parts are run, whatever becomes of the first.
nightly: install
	@failed=0; set -x; \
	$(BIN)/python tests/sim/run.py --profile nightly --seeds 0..$(call last_seed,NIGHTLY_SEEDS) --jobs $(JOBS) || failed=1; \
	$(BIN)/python tests/sim/run.py --complete --seeds 0..$(call last_seed,COMPLETE_SEEDS) --jobs $(JOBS) || failed=1; \
	exit $$failed

chaos: install
	$(BIN)/python tests/chaos/run.py --minutes $(MINUTES) --nodes $(NODES) --seed $(SEED) --loss $(LOSS)

# atheris is not there for every machine and every Python: without it the fuzzer says so, and is done.
$(BIN)/.fuzz-needs: $(BIN)/.made pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["fuzz"], sep="\n")' > $(BIN)/.fuzz-requirements
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r $(BIN)/.fuzz-requirements
	@touch $@

fuzz: install $(BIN)/.fuzz-needs
	$(BIN)/python tests/fuzz/run.py fuzz --minutes $(MINUTES)

bench: install
	$(BIN)/python bench/canonical.py --quick

docs: install
	$(BIN)/python -m totemd.executive.config.reference > docs/configuration.md
	$(BIN)/python -m totemd.sam.reference > docs/sam-tables.md
	$(BIN)/python -m totemd.ipc.reference > docs/protocol-messages.md
	$(BIN)/python -m totemd.executive.totem.core.diagram > docs/state-machine.md

clean:
	rm -rf $(VENV) build dist totemd.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
