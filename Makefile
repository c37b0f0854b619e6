# Two commands do all the set-up on a fresh Debian machine: `make demo` and `make test`.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
WEBUI := .venv-webui
IMAGE ?= ollama-autoscaler:dev
BASE_IMAGE ?= python:3.13-slim-trixie
BUILDER ?= $(shell command -v podman || command -v docker || command -v buildah)

.PHONY: help setup system tools demo test test-newest manifests rules test-webui pictures check bench shrinking test-cluster image clean lock

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## make the virtual environment .venv with the autoscaler command

$(VENV)/.ready: requirements.lock requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup.sh "$(VENV)"
	touch $@

system: # what the sandbox and tests in network namespaces run, where it is not there yet
	@scripts/system.sh haproxy prometheus ip:iproute2

tools: setup $(TOOLS)/.ready # kustomize, kube-score and published types, pinned in scripts/tools

$(TOOLS)/.ready: scripts/tools.sh $(addprefix scripts/tools/,go.mod go.sum go.lock package.json package-lock.json node.lock) | $(VENV)/.ready
	@scripts/tools.sh "$(VENV)" "$(TOOLS)"
	touch $@

# The pinned image's sibling: the gateway's tests run with the system's HAProxy and with this one.
NEWEST := $(TOOLS)/haproxy/haproxy

$(NEWEST): scripts/newest-haproxy.sh
	@scripts/newest-haproxy.sh "$(dir $@)"

demo: setup system ## run the whole stack on this machine (TRACE=file FAULT=name RIVAL=hpa SPEED=n OUT=folder)
	@exec $(BIN)/autoscaler sandbox $(if $(TRACE),--trace "$(TRACE)") $(if $(FAULT),--fault "$(FAULT)") \
	  $(if $(RIVAL),--rival "$(RIVAL)") $(if $(SPEED),--speed "$(SPEED)") $(if $(OUT),--out "$(OUT)") $(ARGS)

test: setup system tools ## run all tests
	@$(BIN)/pytest -n 3 $(ARGS)
	$(MAKE) --no-print-directory test-newest

test-newest: setup system tools $(NEWEST) # the gateway once more, with the pinned image's sibling
	@HAPROXY=$(NEWEST) $(BIN)/pytest -n 3 -q tests/sandbox/test_gateway.py tests/sandbox/test_zero.py \
	  tests/adapters/test_haproxy.py::test_the_real_gateway_tells_of_its_streams \
	  tests/stack/test_agreements.py::test_haproxy_takes_the_built_configuration

manifests: setup system tools ## build everything under deploy/ and judge it: schemas, references, rights
	@$(BIN)/pytest -n 2 tests/stack $(ARGS)
	$(MAKE) --no-print-directory test-newest

rules: ## write the rules as the Prometheus operator's object, after a change in deploy/prometheus/rules
	@$(PYTHON) scripts/prometheusrule.py

$(WEBUI)/.ready: tests/webui/requirements.lock scripts/webui.sh
	@PYTHON="$(PYTHON)" scripts/webui.sh "$(WEBUI)"
	touch $@

test-webui: $(WEBUI)/.ready ## chat on the real Open WebUI in a real browser (needs 1 GB, minutes)
	@$(WEBUI)/bin/python -m pytest --confcutdir=tests/webui -v tests/webui $(ARGS)

pictures: setup system ## take the pictures of the documents anew (ARGS=live: all but the chat page)
	@$(BIN)/python scripts/decision_picture.py
	$(BIN)/python scripts/live_picture.py
	$(if $(filter live,$(ARGS)),,$(MAKE) --no-print-directory test-webui ARGS="-k newcomer --pictures=docs/pictures")

check: setup system tools ## format, lint, types, import contracts, tests, coverage: what CI would refuse
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/decision --cov --cov-report=term
	$(BIN)/pytest -n 3 -q --ignore=tests/decision
	$(MAKE) --no-print-directory test-newest

bench: setup system ## decisions a second, 1 to 1,000 targets, time to the patch, simulated requests (ROUNDS= CYCLES= ARRIVALS= TRACE=)
	@$(BIN)/python bench/decide.py
	echo
	$(BIN)/python bench/many.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CYCLES),--cycles $(CYCLES))
	echo
	$(BIN)/python bench/react.py $(if $(ARRIVALS),--arrivals $(ARRIVALS))
	echo
	$(BIN)/python bench/backtest.py $(TRACE)

shrinking: setup system ## shrink thirty times while streams run, and print who had to go (six minutes)
	@$(BIN)/python bench/shrinking.py $(ARGS)

test-cluster: setup ## everything on a real Kubernetes, built here (root, Go; CLUSTER=existing: the one of KUBECONFIG)
	@$(if $(filter existing,$(CLUSTER)),,scripts/system.sh runc nft:nftables ip:iproute2 nsenter:util-linux openssl curl sysctl:procps)
	exec $(BIN)/python -m tests.cluster.run $(if $(filter existing,$(CLUSTER)),--existing) $(if $(ONLY),--only "$(ONLY)")

image: ## build the container image (IMAGE=name BASE_IMAGE=name BUILDER=podman, docker or buildah)
	@if [ -z "$(BUILDER)" ]; then echo "make image: needs podman, docker or buildah: apt-get install podman" >&2; exit 2; fi
	exec "$(BUILDER)" build --build-arg BASE_IMAGE="$(BASE_IMAGE)" -t "$(IMAGE)" .

clean: ## remove what the other commands made
	@rm -rf $(VENV) $(TOOLS) $(WEBUI) demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: setup # pin all dependencies anew, with hashes
	@scripts/lock.sh
