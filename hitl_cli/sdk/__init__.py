"""Everything that depends on private names of resonate-sdk.

The SDK's `__init__` exports nothing, so this project calls public what an author imports: `resonate.context`,
`resonate.retry`, `resonate.types`, `resonate.resonate`, `resonate.error` and `resonate.connections`, and the
connector's package `resonate_base`. Private are names that begin with an underscore, in all of these, and
every other module (`core`, `effects`, `ids`, `observability`, `send` …). Only this package touches them:
ruff's SLF001 is allowed here alone, and tests/sdk/test_boundary.py looks at the imports. `contract.py` lists
them, and checks them before a worker takes its first task.
"""
