# Each target does its own set-up on a fresh machine. Needs cargo, Go (or network access to the
# official downloads of Kubernetes, etcd and helm), curl and the usual Linux tools.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# One selection of packages for every build: with another one, cargo may choose other features for
# shared dependencies and build the AWS SDK, which takes minutes, a second time.
BUILD := cargo build --workspace --bins
WORLD := $(or $(CARGO_TARGET_DIR),target)/debug/world

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ready ## Watch spores live and end on a local world; ends with "demo: ok"
	@$(WORLD) demo

.PHONY: up
up: ready ## Start the local world and keep it running
	@$(WORLD) up

.PHONY: down
down: ## Stop the local world; what was built stays
	@if [ -x $(WORLD) ]; then $(WORLD) down; fi

# End-to-end tests wait far more than they work: several at once on each core.
THREADS ?= 6

# The end-to-end tests start a control plane and share it; it goes whatever happened.
.PHONY: test
test: ready ## Run all tests, or with FILTER=text those whose name contains it
	@trap '$(WORLD) test-down' EXIT; cargo test --workspace --no-fail-fast -- --test-threads=$(THREADS) $(FILTER)

# What is shipped is measured, as it is shipped: the bench finds it in a directory of links.
DIST := $(or $(CARGO_TARGET_DIR),target)
MEASURED := .local/bench/bin

.PHONY: bench
bench: ## Measure the figures of docs/performance.md, or with BENCH=prefix some: JSON lines
	@$(MAKE) --no-print-directory -j2 dist tools >&2
	@mkdir -p $(MEASURED)
	@ln -sf $(addprefix $(abspath $(DIST))/,$(addprefix dist/,bench ec2sim kubectl-spawn spore-controller) dist-agent/spored) $(MEASURED)
	@SPORE_BIN_DIR=$(abspath $(MEASURED)) $(MEASURED)/bench $(BENCH)

.PHONY: lint
lint: ## Check formatting, clippy and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: crds
crds: ## Generate the CRD manifests from the Rust types
	cargo run -p spore-crds -- crds $(wildcard charts/*/files/crds)

# The two long builds of a fresh machine, side by side: Kubernetes in Go, the AWS SDK in Rust.
.PHONY: ready
ready:
	@$(MAKE) --no-print-directory -j2 build tools

.PHONY: build
build: ## Build all programs
	@env -u MAKEFLAGS -u MFLAGS $(BUILD)

.PHONY: dist
dist:
	@env -u MAKEFLAGS -u MFLAGS cargo build --profile dist --bins $(addprefix -p ,spore-controller kubectl-spawn ec2sim spore-bench)
	@env -u MAKEFLAGS -u MFLAGS cargo build --profile dist-agent -p spored

.PHONY: tools
tools: ## Find, download or build etcd, Kubernetes and helm
	@testing/controlplane/ensure.sh >/dev/null
