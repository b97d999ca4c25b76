# The one way in, for people, CI and pre-commit alike. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # each of the parts is parallel in itself

# The demo's pair, and any option for pytest and for the bench, e.g. make test-python PYTEST_ARGS='-k switchover -x'
OLD ?= redis-7.0
NEW ?= redis-8.0
PYTEST_ARGS ?=
CHAOS_ARGS ?=
BENCH_ARGS ?=
# How many tests run at once: most of them wait for servers most of the time.
TEST_JOBS ?= 3
# The Python for .venv; by default the newest there is. Ansible needs 3.11 or newer, all else 3.9.
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
COLLECTION := ansible/ansible_collections/baton/redis
DEV_READY := $(VENV)/.dev-ready
WHEEL_READY := $(VENV)/.wheel-ready
DOCS_READY := $(VENV)/.docs-ready
DIST_READY := $(VENV)/.dist-ready
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md $(shell find src python -type f -not -name '*.pyc')
LOAD := $(TARGET)/release/baton-load
LOAD_SOURCES := Cargo.lock $(shell find tests/support/load -type f)

# Debian has the servers of all versions: there a missing one is a failure, elsewhere it is a skipped test.
export REDIS_BATON_REQUIRE_SERVERS ?= $(shell grep -qsx ID=debian /etc/os-release && echo 1)
# One interpreter for every build, or cargo would build pyo3 again for each.
export PYO3_PYTHON := $(abspath $(BIN)/python)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(DEV_READY) $(WHEEL_READY) $(LOAD) servers ## all that demo and test need: .venv, wheel, load client, servers

.PHONY: demo
demo: setup ## upgrade a live server under load, with Ansible: make demo OLD=valkey-8.1 NEW=valkey-9.1
	$(BIN)/python -m demo --old $(OLD) --new $(NEW)

.PHONY: demo-restart
demo-restart: setup ## restart a live server in place under load, for another value of databases
	$(BIN)/python -m demo.restart --server $(OLD)

.PHONY: bench
bench: bench-setup ## measure against today's ways: make bench BENCH_ARGS='switchover --runs 3 --keys 50000'
	$(BIN)/python -m bench $(BENCH_ARGS)

.PHONY: bench-setup
bench-setup: setup ## what the bench needs beyond that: community.general, into the cache
	$(BIN)/python -m bench.fetch

.PHONY: chaos
chaos: setup ## every fault at every command, on real servers (hours): make chaos CHAOS_ARGS='--cut --every 3'
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

.PHONY: test
test: lint test-rust setup ## everything: the checks, the Rust tests, then Python and Ansible on real servers
	$(BIN)/pytest --numprocesses $(TEST_JOBS) --dist worksteal $(PYTEST_ARGS)

.PHONY: test-rust
test-rust: ## the core by itself
	cargo test --workspace --locked

.PHONY: model
model: ## the model checker with larger bounds: minutes
	MODEL=deep cargo test --locked --test model -- --nocapture

.PHONY: test-python
test-python: setup ## all on real servers but Ansible
	$(BIN)/pytest --ignore tests/ansible $(PYTEST_ARGS)

.PHONY: test-ansible
test-ansible: setup ## the collection on real servers
	$(BIN)/pytest tests/ansible $(PYTEST_ARGS)

.PHONY: test-long
test-long: setup dist-wheel ## the tests that `make test` leaves out, since they take minutes
	$(BIN)/pytest -m long $(PYTEST_ARGS)

.PHONY: test-systemd
test-systemd: setup ## restarts and reboots of a host with systemd, in namespaces: needs root, and Debian's systemd and dbus
	$(BIN)/pytest tests/systemd -m "" $(PYTEST_ARGS)

.PHONY: lint
lint: lint-rust lint-python lint-ansible ## all checks that need no servers

.PHONY: lint-rust
lint-rust: $(DEV_READY)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

.PHONY: lint-python
lint-python: $(DEV_READY) $(WHEEL_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest redis_baton._core
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

.PHONY: lint-ansible
lint-ansible: $(DEV_READY)
ifneq ($(wildcard $(BIN)/ansible-lint),)
	cd $(COLLECTION) && export PATH=$(abspath $(BIN)):$$PATH ANSIBLE_COLLECTIONS_PATH=$(abspath ansible) \
	  && ansible-lint --offline --profile production \
	  && antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck . \
	  && antsibull-changelog lint
else
	@echo "no ansible-lint here: it needs Python 3.11 or newer" >&2
endif

# The whole of it takes minutes for each release of ansible-core; `lint` has those that find most.
SANITY_ARGS ?=
.PHONY: collection-sanity
collection-sanity: $(DEV_READY) ## every ansible-test sanity: make collection-sanity CORE=2.18 SANITY_ARGS='--test validate-modules'
	tests/support/ansible-test $(if $(CORE),--core $(CORE)) sanity $(SANITY_ARGS)

# Each module in check mode, for real, again and with what it refuses, as ansible-test runs it.
INTEGRATION_ARGS ?=
.PHONY: collection-integration
collection-integration: setup ## the modules under ansible-test: make collection-integration INTEGRATION_ARGS=switchover
	tests/support/ansible-test $(if $(CORE),--core $(CORE)) integration $(INTEGRATION_ARGS)

.PHONY: format
format: $(DEV_READY) ## lay out the code as the checks want it
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(DOCS_READY) $(WHEEL_READY) ## the site, into site/: open site/index.html
	$(BIN)/mkdocs build --clean

docs docs-serve: export NO_MKDOCS_2_WARNING := 1 # the theme's advertisement of its successor

.PHONY: docs-serve
docs-serve: $(DOCS_READY) $(WHEEL_READY) ## the site at http://127.0.0.1:8000, as it is written
	$(BIN)/mkdocs serve

.PHONY: wheel
wheel: $(WHEEL_READY) ## the Python package, into target/wheels and .venv

# What is handed out is linked with zig, which has the symbols of every glibc: a wheel of `maturin build` alone asks for
# the glibc of the machine it was built on.
.PHONY: dist
dist: dist-wheel dist-source dist-collection ## all that a release hands out, into dist/

.PHONY: dist-wheel
dist-wheel: $(DIST_READY) ## the wheel for every Python from 3.9 and every glibc from 2.17
	rm -f dist/*.whl
	PATH=$(abspath $(BIN)):$$PATH maturin build --release --locked --zig --compatibility manylinux2014 --out dist
	$(BIN)/python -m tests.support.crate_licences dist/*.whl

.PHONY: dist-source
dist-source: $(DIST_READY) ## the source, which pip builds where no wheel fits
	rm -f dist/redis_baton-*.tar.gz
	$(BIN)/maturin sdist --out dist

.PHONY: dist-collection
dist-collection: $(DEV_READY) ## the tarball of the collection
	rm -f dist/baton-redis-*.tar.gz
	$(BIN)/ansible-galaxy collection build $(COLLECTION) --output-path dist

.PHONY: dist-check
dist-check: $(WHEEL_READY) dist-wheel ## the wheel in a new venv of every Python here, and the source built into one
	$(BIN)/pytest tests/test_packaging.py -m "" $(PYTEST_ARGS)

.PHONY: ee
ee: dist-wheel ## what an execution environment is built from, into target/ee; it takes a container engine to build it
	rm -rf $(TARGET)/ee
	$(BIN)/ansible-builder create --file execution-environment.yml --context $(TARGET)/ee
	@echo "now: podman build --tag redis-baton-ee $(TARGET)/ee"

CRATES ?= advisories bans licenses sources
.PHONY: crates
crates: ## what deny.toml asks of the crates; the advisories are fetched: make crates CRATES='bans licenses sources'
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny --locked check $(CRATES)

.PHONY: load
load: $(LOAD) ## the load client of tests, demo and bench

.PHONY: servers
servers: ## the real servers, into the cache
	tests/support/fetch-servers

.PHONY: browser
browser: ## headless Chromium, which a test opens the report in: Debian's package, as root
	@if command -v chromium >/dev/null; then exit; \
	elif [[ $$(id -u) = 0 ]] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null; \
	else echo "install Chromium yourself, or the test that opens the report is skipped" >&2; fi

.PHONY: clean
clean: ## remove what was built here; the cache of servers stays
	rm -rf $(VENV) $(TARGET) dist site .mypy_cache .pytest_cache .ruff_cache .ansible

# Version managers put shims on PATH that may not run: an interpreter counts when it does and can make a venv.
define CHOOSE_PYTHON
import sys, venv, ensurepip
if sys.version_info >= (3, 9): print(getattr(sys, "_base_executable", sys.executable))
endef
export CHOOSE_PYTHON

$(BIN)/python:
	@for candidate in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python3.10 python3.9); do \
	  python=$$("$$candidate" -c "$$CHOOSE_PYTHON" 2>/dev/null || true); \
	  if [[ -n $$python ]]; then break; fi; \
	done; \
	if [[ -z $$python ]]; then \
	  echo "No Python from 3.9 with venv was found ($(or $(PYTHON),looked on PATH))." >&2; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv. Another one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "$$python -m venv $(VENV)"; \
	"$$python" -m venv $(VENV)

$(DEV_READY): requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade -r requirements-dev.txt
	touch $@

$(DOCS_READY): requirements-docs.txt $(DEV_READY)
	$(BIN)/python -m pip install --quiet --upgrade -r requirements-docs.txt
	touch $@

$(DIST_READY): requirements-dist.txt $(DEV_READY)
	$(BIN)/python -m pip install --quiet --upgrade -r requirements-dist.txt
	touch $@

$(WHEEL_READY): $(SOURCES) $(DEV_READY)
	rm -rf $(TARGET)/wheels
	$(BIN)/maturin build --release --locked --out $(TARGET)/wheels
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps $(TARGET)/wheels/*.whl
	touch $@

$(LOAD): $(LOAD_SOURCES)
	cargo build --release --locked --package baton-load
	touch $@
