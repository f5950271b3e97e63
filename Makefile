# Everything a developer or an operator types. `make help` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := shared services/orders services/payments services/shipping services/notifications services/gateway \
	deploy/sandbox deploy/local
SOURCES := shared services deploy tests
ARGS ?=
SEED ?=
ORDERS ?= 300

.PHONY: help setup lock check format test test-apache explore chaos teeth demo up bench bench-scale clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## install everything into .venv (python3 >= 3.11 and PyPI are all it needs)

# The stamp is newer than every file that says what is installed, so setup is free when nothing changed.
.venv/.ready: requirements.lock pyproject.toml $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ordermesh needs python3 >= 3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(PACKAGES:%=-e %)
	@$(BIN)/python -m compileall -q $(PACKAGES:%=%/src)
	@touch $@

lock: ## re-resolve requirements.lock (names, versions and hashes; never a registry's host)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		$(foreach p,$(PACKAGES),--no-emit-package ordermesh-$(notdir $(p))) --no-emit-package ordermesh-workspace \
		--group pyproject.toml:dev $(PACKAGES:%=%/pyproject.toml) -o requirements.lock

check: setup ## formatting, lint, types, import rules
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## rewrite the sources in the house format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test: setup ## the whole suite, on real PostgreSQL and a real broker
	$(BIN)/pytest $(ARGS)

test-apache: setup ## the messaging and story tests on Apache Kafka (needs Java; fetched by Maven once)
	REQUIRE_KAFKA=apache $(BIN)/pytest -m messaging $(ARGS)

explore: setup ## 2,000 lives of an order, new ones each time (a failure prints its smallest story)
	$(BIN)/pytest tests/orders/test_lifecycle.py --hypothesis-profile=explore --timeout=3600 $(ARGS)

chaos: setup ## orders under faults on real processes, then the books: make chaos SEED=7 ORDERS=1000 (again: the same seed; ARGS="--home DIR" keeps data and logs)
	PYTHONPATH=tests/lib $(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) --orders $(ORDERS) $(ARGS)

teeth: setup ## each protection of the plumbing switched off in a copy, one at a time: do the tests notice? (5 minutes)
	PYTHONPATH=tests/lib $(BIN)/python -m teeth $(ARGS)

demo: setup ## place, pay, ship, cancel and refund an order of every kind on the embedded stack; print what happened
	$(BIN)/ordermesh demo

up: setup ## keep the whole stack serving until Ctrl-C
	$(BIN)/ordermesh up

bench: setup ## ratios and CPU time, each against a bound measured in the same run
	$(BIN)/pytest tests/bench --override-ini=norecursedirs=".* lib" -s --ignore=tests/bench/scale $(ARGS)

bench-scale: setup ## lists, searches and statistics with 1,000,000 orders against 10,000: p50, p95 and their ratio (10 minutes, 4 GB of disk)
	$(BIN)/pytest tests/bench/scale --override-ini=norecursedirs=".* lib" -s $(ARGS)

clean: ## remove the environment and the embedded stack's data
	rm -rf .venv .run
