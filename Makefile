# Recipes for people and for CI. Each says in one line what it does; `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where cargo puts what it builds; CI points it outside the clone.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PICTOR := $(TARGET_DIR)/release/pictor
# How often `make crash` kills, and what work it interrupts: other work each day, and the day is printed.
KILLS ?= 5000
SEED ?= $(shell date +%Y%m%d)
# Tests and the demo want the same folder of sample photographs.
PHOTOS ?=
PYTHON ?= python3
SAMPLE_PHOTOS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pictor/demo-photos
NEXTEST_VERSION := 0.9.143
DENY_VERSION := 0.20.2

.PHONY: help build demo test check audit bench bench-encode bench-itm bench-eval bench-ann crash fmt tools-test tools-check

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## install what compiling needs, build the release binary
	@scripts/system-packages build
	cargo build --release --locked

demo: build ## index a folder of real photographs and search it (PHOTOS=dir for your own)
	@scripts/demo "$(PICTOR)" "$(PHOTOS)" "$(SAMPLE_PHOTOS)"

test: tools-test ## run every test, after installing what they need
	@scripts/fetch-demo-photos "$(SAMPLE_PHOTOS)"
	ORT_DYLIB_PATH="$$(scripts/fetch-onnxruntime)" PICTOR_SAMPLE_PHOTOS="$(SAMPLE_PHOTOS)" \
	  PICTOR_CLIP_BENCHMARK_PYTHON="$$(scripts/fetch-clip-benchmark)" \
	  cargo nextest run --release --locked --workspace
	cargo test --release --locked --workspace --doc

check: tools-check ## formatting, lints, dependency licences and sources, documentation
	cargo fmt --all -- --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --document-private-items

audit: tools-check ## known vulnerabilities in dependencies (fetches the RustSec database from GitHub)
	cargo deny --locked check advisories

bench: build ## run the benchmarks; results go to benches/runs/
	@benches/run "$(PICTOR)"

bench-encode: build ## decode, resize and ViT-B/32 beside their peers; PYTHON has models/export/requirements.txt installed
	@benches/encode "$(PICTOR)" "$(PYTHON)"

bench-itm: build ## image-text matching beside transformers on the same weights; PYTHON as for bench-encode
	@benches/itm "$(PICTOR)" "$(PYTHON)"

bench-eval: build ## retrieval figures of COCO's size beside CLIP_benchmark's own code
	@benches/evaluation "$(PICTOR)"

bench-ann: build ## index kinds beside hnswlib, FAISS and USearch on two sets of vectors; an hour on two cores (SET=name for one)
	@for set in $(or $(SET),photos synthetic-1m); do benches/ann/run "$(PICTOR)" $$set || exit; done

crash: tools-test ## kill a writer KILLS times at random, twice: for exact and for graph segments; SEED chooses the work
	@echo "seed $(SEED)"
	PICTOR_CRASH_KILLS="$(KILLS)" PICTOR_CRASH_SEED="$(SEED)" \
	  cargo nextest run --release --locked --workspace -E 'package(pictor-storage) and test(kills::random)'

fmt: ## format the code
	cargo fmt --all

tools-test:
	@scripts/system-packages build page
	@command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest@$(NEXTEST_VERSION)

tools-check:
	@scripts/system-packages build
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@$(DENY_VERSION)
