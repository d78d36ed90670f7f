# Everything that is done with this project, one word each. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Found although the shell was not told of it, as in a fresh login or a cron job.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Queries are checked against the description in .sqlx, so that building needs no database.
export SQLX_OFFLINE := true

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
SERVERS := $(TARGET)/debug/holdfast servers --
# The Python that the tests run, where `make tools` puts it.
export HOLDFAST_TEST_PYTHON ?= $(abspath $(TARGET))/python/bin/python
# And the promtool, if there is none on the path.
export HOLDFAST_TEST_PROMTOOL ?= $(abspath $(TARGET))/tools/promtool

.PHONY: help run test prove bench check prepare servers tools build

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: servers ## Start the whole service, with nothing to set up; Ctrl-C stops it
	cargo build --release --bin holdfast
	@exec $(TARGET)/release/holdfast dev

test: servers tools build ## Run every test, on servers of its own
	$(SERVERS) cargo test --workspace

prove: servers tools build ## The long campaigns, into docs/PROOF.md (DATA=FILE.csv.gz: a shop's orders)
	cargo build --release --workspace --bins
	TARGET=$(TARGET) DATA="$(DATA)" scripts/prove.sh

bench: servers ## Measure, and add the figures to load/RESULTS.md
	cargo build --release --workspace --bins
	cargo bench --quiet --bench locks --no-run
	TARGET=$(TARGET) scripts/bench.sh

check: servers build ## Formatting, lints, documentation, queries, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	$(SERVERS) scripts/queries.sh --check
	scripts/mutants.sh --planted
	cargo deny check bans licenses sources

# With a changed query nothing builds until it is described: then the last good build starts the database.
prepare: servers ## Describe the queries anew in .sqlx, after one has changed
	@cargo build --quiet --bin holdfast 2>/dev/null || test -n "$${DATABASE_URL:-}" -o -x $(TARGET)/debug/holdfast \
		|| { echo "build once without the changed query, or set DATABASE_URL to an empty database" >&2; exit 1; }
	@if test -n "$${DATABASE_URL:-}"; then scripts/queries.sh; else $(SERVERS) scripts/queries.sh; fi

servers: ## See to it that Postgres and Redis can be had
	@scripts/install-servers.sh

tools: ## See to it that what the tests need besides can be had
	@scripts/install-test-tools.sh

build:
	cargo build --workspace --bins
