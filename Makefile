# dpe-operator: what a developer or a new user types. `make` or `make help` lists it all.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV = $(shell hack/venv)
PYTHON = $(VENV)/bin/python
REGISTRY ?= registry.example.com/dpe
export PYTHONPATH := operator:hack/simulator:.

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nSettings: YES=1 (ask nothing), DPE_CACHE=folder (default ~/.cache/dpe-operator), REGISTRY=registry.example.com/dpe\n'

##@ Try it
.PHONY: demo demo-failover demo-takeover demo-down
demo: ## From nothing to a redundant DPE site on a kind cluster on this machine
	@hack/demo up

demo-failover: ## Kill the active DPE Server under load and print what a client saw (RUNS=n)
	@hack/demo failover --runs $(or $(RUNS),1)

demo-takeover: ## Take the acting one of a Standby component away and print how long nobody acted (RUNS=n)
	@hack/demo takeover --runs $(or $(RUNS),1)

demo-down: ## Remove the demo and its cluster
	@hack/demo down

##@ Test it
.PHONY: test check test-all
test: ## Level 1, every promise once: lint to e2e on kind (goal: 35 minutes, fails beyond 75)
	@hack/test level1

check: ## Without a cluster: lint, types, contracts, generated files, unit tests (below 2 minutes)
	@hack/test check

test-all: ## Level 2: level 1 and the long tests (below 150 minutes)
	@hack/test level2

##@ Measure it
.PHONY: bench-failover bench-plan bench-report
bench-failover: ## Measure fail-overs; goes on where it was (SCENARIO=a,b SUBJECT=a,b RUNS=n, else the plan)
	@hack/bench run --scenario "$(SCENARIO)" --subject "$(SUBJECT)" $(if $(RUNS),--runs $(RUNS)) $(BENCH)

bench-plan: ## Which runs there are, which are missing, and how long they take
	@hack/bench plan --scenario "$(SCENARIO)" --subject "$(SUBJECT)" $(if $(RUNS),--runs $(RUNS)) $(BENCH)

bench-report: ## Make docs/measurements/failover.* anew from the raw runs, without a cluster
	@hack/bench report

.PHONY: bench-watchers
bench-watchers: ## How often two Concurrent watchers start a workflow twice, by how long it takes (PAIRS=6 JSON=file)
	@$(PYTHON) -m tests.support.two_watchers --pairs $(or $(PAIRS),6) $(if $(JSON),--json $(JSON))

.PHONY: chaos model
chaos: ## Faults at random against a busy site, judged by a checker (RIG=processes or kind, SEED=n MINUTES=2 CHAOS="more flags")
	@hack/chaos --rig $(or $(RIG),processes) $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),2) $(CHAOS)

model: ## The election's model for long: STEPS=1000000 and TAKEOVERS=10000 at least (SEED=n JSON=file ONLY=example)
	@$(PYTHON) -m tests.unit.elector.elector_long_run --seed $(or $(SEED),1) --steps $(or $(STEPS),1000000) --take-overs $(or $(TAKEOVERS),10000) $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

##@ Work on it
.PHONY: generate format cluster images push lock
generate: ## Make all generated files anew (CRDs, chart copies, install.yaml, reference)
	@$(PYTHON) hack/generate

format: ## Format the Python code
	@$(VENV)/bin/ruff format operator tests hack/simulator hack/demo hack/demo.d hack/bench hack/bench.d hack/chaos hack/chart hack/generate && $(VENV)/bin/ruff check --fix --select I operator tests hack

cluster: ## Only the kind cluster (hack/cluster --help tells about faults)
	@hack/cluster up

images: ## Build the container images
	@hack/images build

push: images ## Push the container images: make images push REGISTRY=registry.example.com/dpe
	@hack/images push $(REGISTRY)

lock: ## Pin the Python requirements by hash (needs uv on PATH)
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.txt
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --extra dev pyproject.toml -o requirements-dev.txt
