"""Everything that depends on private names of resonate-sdk.

The SDK's `__init__` exports nothing, so here "public" means the modules that an author imports:
`resonate.context`, `resonate.retry`, `resonate.types`, `resonate.resonate`, `resonate.error` and
`resonate.connections`, and the connector's package `resonate_base`. Private are names that begin with an
underscore, in all of these, and every other module (`core`, `effects`, `ids`, `observability`, `send` …).
Only this package uses them: only here is ruff's SLF001 allowed, and tests/sdk/test_boundary.py checks the
imports. `contract.py` lists them, and checks them before a worker takes its first task.
"""
