# The developer's entry points; `make` alone lists them.
#
# Tools come from .venv, caches go to .cache, and nothing is written into your home directory. The servers that the demo and the
# tests need are containers: see rig/server.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
RELEASE ?= debian12
PYWEB_RELEASES ?= debian12 debian13
SCENARIO ?= default
PYTEST_ARGS ?=
PART ?=
LOCK_ARGS ?=
BENCH_ARGS ?=
SERVED_ARGS ?=

export PYTHON RELEASE PYWEB_RELEASES
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export MOLECULE_GLOB := molecule/*/molecule.yml
# SSH's sockets: not in ~/.ansible/cp, and below .cache many a checkout's path would be too long for a Unix socket.
export ANSIBLE_SSH_CONTROL_PATH_DIR := /tmp/pyweb-rig-$(shell printf '%s %s' "$$(id -u)" '$(CURDIR)' | cksum | cut -d' ' -f1)
# Where Ansible may not keep its bytecode, it compiles itself at each start.
unexport VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

announce = @printf '\n==> %s\n' '$(1)'

##@ Try it

.PHONY: demo
demo: ## Deploy the example application to a throw-away server (RELEASE=debian12)
	@rig/demo

.PHONY: demo-clean
demo-clean: ## Remove the demo's server
	@rig/server down demo

##@ Work on it

.PHONY: setup
setup: ## Install the tools into .venv, if they changed (PYTHON=python3)
	@version=$$($(PYTHON) --version 2>&1) || true; \
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "setup: Python 3.11 or later is needed, and PYTHON=$(PYTHON) is: $$version"; \
		echo "setup: what to do: name a later one, for example: make setup PYTHON=python3.12"; \
		exit 1; \
	fi >&2; \
	stamp="$$version, $(CURDIR), $$(cksum <requirements-dev.txt)"; \
	if [ "$$stamp" = "$$(cat .venv/stamp 2>/dev/null)" ] && .venv/bin/python -c ''; then exit 0; fi; \
	echo "setup: installing requirements-dev.txt into .venv, for $$version (about half a minute)"; \
	if ! $(PYTHON) -m venv --clear .venv; then \
		echo "setup: what to do: on Debian and Ubuntu, apt install python3-venv" >&2; \
		exit 1; \
	fi; \
	if ! .venv/bin/pip install -qq --no-input --no-compile --disable-pip-version-check \
		--require-hashes -r requirements-dev.txt; then \
		echo "setup: what to do: see pip's message above; pip needs PyPI or a mirror of it (PIP_INDEX_URL)" >&2; \
		exit 1; \
	fi; \
	echo "$$stamp" >.venv/stamp

.PHONY: lock
lock: setup ## Write requirements-dev.txt from requirements-dev.in (LOCK_ARGS=--upgrade)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		$(LOCK_ARGS) --custom-compile-command 'make lock' requirements-dev.in --output-file requirements-dev.txt

.PHONY: images
images: ## Make the servers' images (PYWEB_RELEASES="debian12 debian13")
	@rig/image $(PYWEB_RELEASES) $(PYWEB_RELEASES:%=%-ready)

.PHONY: format
format: setup ## Let ruff format and fix the Python code
	@ruff check --fix-only
	@ruff format

.PHONY: clean
clean: ## Remove .venv, .cache and the rig's servers
	@if docker version >/dev/null 2>&1; then rig/server down --all; fi
	rm -rf .venv .cache $(ANSIBLE_SSH_CONTROL_PATH_DIR)

##@ Test it

.PHONY: lint
lint: setup ## Check style and types
	$(call announce,lint)
	ansible-lint
	yamllint --strict .
	ruff check
	ruff format --check
	mypy
	shellcheck rig/* .ci/run

.PHONY: unit
unit: setup ## Test the plugins, without servers (PYTEST_ARGS=...)
	$(call announce,unit tests)
	pytest -o cache_dir=.cache/pytest tests/unit -n 2 --dist loadfile $(PYTEST_ARGS)

.PHONY: molecule
molecule: setup images ## Test the role in containers with Molecule (SCENARIO=default)
	$(call announce,Molecule on $(PYWEB_RELEASES))
	PYWEB_RELEASE_1=$(firstword $(PYWEB_RELEASES)) PYWEB_RELEASE_2=$(lastword $(PYWEB_RELEASES)) \
		molecule test --scenario-name $(SCENARIO)

.PHONY: integration
integration: setup images ## Test deployments over SSH on the rig's servers (PYTEST_ARGS=...)
	$(call announce,integration tests on $(PYWEB_RELEASES))
	pytest -o cache_dir=.cache/pytest tests/integration -n 2 --dist loadfile --no-loadscope-reorder -m 'not full' $(PYTEST_ARGS)

.PHONY: downtime
downtime: setup images ## Count what deploys cost the users of a site (PYTEST_ARGS=...)
	$(call announce,downtime on $(firstword $(PYWEB_RELEASES)))
	pytest -o cache_dir=.cache/pytest --capture=no tests/downtime -m 'not full' $(PYTEST_ARGS)

.PHONY: audit
audit: setup ## Ask PyPI whether a package that is used here or put on hosts has a known weakness
	$(call announce,advisories)
	pip-audit --strict --disable-pip --require-hashes -r requirements-dev.txt -r roles/gunicorn/files/uv.txt

BENCH := .cache/bench/venv/bin
$(BENCH)/stamp: bench/requirements.txt
	$(PYTHON) -m venv --clear .cache/bench/venv
	$(BENCH)/pip install -qq --no-input --disable-pip-version-check -r bench/requirements.txt
	touch $@

.PHONY: bench
bench: setup images $(BENCH)/stamp ## Measure deploys beside what people use instead: takes 40 minutes, and writes docs/performance.md
	PYTHONPATH=.collections python -m ansible_collections.pyweb.deploy.bench.run $(BENCH_ARGS)
	$(if $(BENCH_ARGS),,PYTHONPATH=.collections python -m ansible_collections.pyweb.deploy.bench.served)
	PYTHONPATH=.collections $(BENCH)/python -m ansible_collections.pyweb.deploy.bench.report

.PHONY: bench-served
bench-served: setup images $(BENCH)/stamp ## Only the served application (SERVED_ARGS=...)
	PYTHONPATH=.collections python -m ansible_collections.pyweb.deploy.bench.served $(SERVED_ARGS)
	PYTHONPATH=.collections $(BENCH)/python -m ansible_collections.pyweb.deploy.bench.report

.PHONY: test
test: setup ## Lint, unit, Molecule, integration and downtime, as CI runs them: about 15 minutes
	@python tests/run.py test

.PHONY: test-full
test-full: setup images ## Everything, in hours: each release, worker class, cut and mutant (PART=...)
	@python tests/run.py $(or $(PART),full)

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
