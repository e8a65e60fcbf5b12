# The commands of contributors. They need git, make and python3 (or uv): uv is installed into .tools if
# it is missing, and .venv is built from uv.lock with Python 3.12 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-agent test heavy all frameworks servers coverage contract rust storm lint fmt bench release docs generated clean

HITL := .venv/bin/hitl

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/ready ## try it: start a workflow, wait for a person, approve, complete
	@$(HITL) demo

demo-agent: .venv/ready ## watch an agent ask, a person approve with a change, and the agent act
	@$(HITL) demo agent

# worksteal keeps the tests of a module in one process, which starts shared fixtures once. Tests wait for
# disks, timers and other processes half of the time, so there are two workers for each processor: with three
# or five on two processors, .ci/run takes longer.
PYTEST := env -u PYTHONDONTWRITEBYTECODE .venv/bin/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) * 2)) --dist worksteal

test: .venv/ready ## run the tests in parallel, without the heavy ones
	@$(PYTEST) -m "not heavy" $(ARGS)

heavy: .venv/ready ## run the tests that take long: browsers, TypeScript (npm), nginx, PostgreSQL, kills, real timers
	@$(PYTEST) -m heavy $(ARGS)

all: .venv/ready ## run the tests of both, at once: those that wait leave the processors to others
	@$(PYTEST) $(ARGS)

FRAMEWORKS := $(foreach name,examples langgraph openai_agents pydantic_ai,tests/agents/test_$(name).py)

# In pytest's own process (-n 0): each other one would import the frameworks, for four seconds.
frameworks: .venv/ready ## run the tests of hitl_cli.agents with pydantic-ai, OpenAI Agents and LangGraph
	@scripts/uv sync --frozen --inexact --group agents --quiet
	@HITL_NEED_FRAMEWORKS=1 $(PYTEST) -n 0 -m "not heavy" $(or $(ARGS),$(FRAMEWORKS) tests/docs/test_code.py)

# What must hold on other servers as on a file; without the schema of resonate-pg, PostgreSQL is skipped.
ON_SERVERS := $(addprefix tests/,authoring builtin gateway inbox ledger mcp notify proof recovery runs worker)

servers: .venv/ready ## run the tests of commands, workers and the gateway on PostgreSQL and over `hitl server`
	@$(PYTEST) -m "not heavy" --server postgres $(or $(ARGS),tests/cli $(ON_SERVERS)) || failed=1; \
		$(PYTEST) -m "not heavy" --server http $(or $(ARGS),$(ON_SERVERS)) || failed=1; exit $${failed:-0}

# Processes that a test kills with SIGKILL are not measured. These tests are about signals, processes, a full disk,
# time and what is imported, which measuring changes.
UNMEASURED := --ignore tests/cli/test_first_process.py --ignore tests/unit/test_forked.py \
	--deselect tests/cli/test_bad_input.py::test_a_full_disk_is_said_and_changes_nothing \
	--deselect tests/gateway/test_markdown.py::test_a_text_that_is_made_to_take_long_does_not \
	--deselect tests/cli/test_docs.py::test_lists_on_postgres_import_neither_the_engine_s_file_nor_cryptography
coverage: export COVERAGE_FILE := $(CURDIR)/.coverage/data
coverage: .venv/ready ## measure the branch coverage of all tests (ARGS="tests/cli" for some), in all processes
	@rm -rf .coverage && mkdir .coverage
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/coverage run -m pytest -n $$(getconf _NPROCESSORS_ONLN) $(UNMEASURED) $(ARGS) || failed=$$?; \
		.venv/bin/coverage combine --quiet; .venv/bin/coverage report; exit $${failed:-0}

contract: .venv/ready ## test what hitl needs of resonate-sdk, on its lowest and its newest release
	@scripts/contract $(CONTRACT)

rust: .venv/ready ## build examples/rust with cargo and test it
	@HITL_RUST=1 .venv/bin/pytest -q tests/rust

storm: .venv/ready ## kill 1,000 processes at random moments, under load (KILLS=n)
	@HITL_STORM_KILLS=$${KILLS:-1000} .venv/bin/pytest tests/recovery/test_storm.py -s --timeout 0

lint: .venv/ready ## check style, imports and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/mypy

fmt: .venv/ready ## format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: .venv/ready ## compare hitl with its peers (docs/explanation/performance.md); ARGS="--help" lists options
	@scripts/uv sync --frozen --group bench --quiet
	@.venv/bin/python -m bench $(ARGS)
	@.venv/bin/python -m bench.commands

release: .venv/ready ## build wheel, sdist, hashes and SBOM of the last commit into dist/, and try them (TAG=v1.2.3 to publish)
	@.venv/bin/python -m scripts.release $(if $(TAG),--tag $(TAG)) $(ARGS)

docs: .venv/ready ## build the documentation into site/; a dead link fails
	@scripts/uv sync --frozen --inexact --group docs --quiet
	@.venv/bin/zensical build --strict --clean

generated: .venv/ready ## write the generated pages and pictures of docs/ again; needs Chromium
	@.venv/bin/python -m scripts.generate_docs
	@HITL_PICTURES=1 HITL_NEED_BROWSER=1 .venv/bin/pytest -q tests/gateway/test_pages.py -k pictures

clean: ## remove everything that the other targets created
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache site dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# Compile now: with PYTHONDONTWRITEBYTECODE set, every start would compile again.
.venv/ready: pyproject.toml uv.lock .python-version scripts/uv
	@scripts/uv sync --frozen --compile-bytecode --quiet
	@.venv/bin/python -m compileall -q hitl_cli
	@touch $@
