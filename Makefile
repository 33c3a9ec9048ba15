# Everything that a person or a machine runs here. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SIZES ?= 20 100
PACKAGES := operator/inference_operator sandbox/inference_sandbox inference_server tests demo benchmarks tools
PINS := operator server sandbox

.PHONY: help demo demo-failures test check manifests bench bench-operator bench-events bench-server fuzz-server docs pins control-plane clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "Installing the pinned dependencies into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed (PYTHON=…)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

control-plane: $(VENV)/.installed ## Build etcd, kube-apiserver and kubectl once into the user's cache (about 4 minutes)
	@$(BIN)/inference-sandbox build

demo: control-plane ## Show the whole path on this machine: no AWS account, no cluster
	@$(BIN)/python -m demo

$(BIN)/helm: tools/helm/go.mod tools/helm/go.sum $(VENV)/.installed
	@echo "Building Helm from source, once (about 2 minutes on two cores)"
	@cd tools/helm && GOWORK=off go build -trimpath -ldflags "-s -w" -o ../../$@ helm.sh/helm/v4/cmd/helm

demo-failures: control-plane ## Show releases that fail: their causes, and the old one that serves on
	@$(BIN)/python -m demo failures

test: control-plane $(BIN)/helm ## Run every test
	@$(BIN)/pytest -n $(WORKERS)

check: $(VENV)/.installed ## Lint, types, layers, and that generated files are up to date
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --show-timings
	$(BIN)/python tools/generate.py --check

manifests: $(VENV)/.installed ## Write the generated files: CRDs, IAM policy, reference pages
	$(BIN)/python tools/generate.py

fuzz-server: $(VENV)/.installed ## Fuzz the codec and the running server, ten minutes each (WITH="--minutes 1": the latter)
	@$(BIN)/pytest -n $(WORKERS) -p no:cacheprovider --hypothesis-profile=long --timeout=3600 tests/inference_server/test_codec_fuzz.py
	@$(BIN)/python -m benchmarks.server.fuzzing $(WITH)

docs: $(VENV)/.installed ## Build the documentation as a site, in build/docs/site
	@$(BIN)/python tools/site.py

bench: $(VENV)/.installed ## Measure, each figure beside a baseline of the same run
	@for script in benchmarks/*/__main__.py benchmarks/*.py; do [ -e "$$script" ] || continue; echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

bench-operator: $(VENV)/.installed ## Compare fleets under AWS's quotas with the floor that those allow (SIZES="20 100 1000")
	@$(BIN)/python -m benchmarks.operator.fleet $(SIZES)

bench-events: control-plane ## Measure how soon a verdict of ECS is told, without events and with them; and a burst (WITH=--burst: that alone)
	@$(BIN)/python -m benchmarks.operator.verdict $(WITH)

bench-server: $(VENV)/.installed ## Compare the inference server with others (WITH="--with-kserve --with-mlserver": with these too)
	@$(BIN)/python -m benchmarks.server $(WITH)

pins: $(VENV)/.installed ## Renew requirements/*.txt from pyproject.toml
	@for extra in $(PINS); do $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	  --python-version 3.11 --extra $$extra pyproject.toml --output-file requirements/$$extra.txt; done
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --group pyproject.toml:build --output-file requirements/build.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --all-extras --group demo --group docs --group check pyproject.toml --output-file requirements/dev.txt

clean: ## Remove what was built here; the user's cache stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
