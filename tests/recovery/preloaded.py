"""Imports what the processes need that tests/recovery/processes.py forks, before the server forks them.

Frozen, all that is no concern of the garbage collector in a child, which would touch, and so copy, each page.
"""

import gc
import importlib

MODULES = (
    "hitl_cli.authoring.ask",
    "hitl_cli.cli.app",
    "hitl_cli.cli.decide",
    "hitl_cli.cli.runs",
    "hitl_cli.cli.server",
    "hitl_cli.client.embedded",
    "hitl_cli.client.http",
    "hitl_cli.engine.http.app",
    "hitl_cli.sdk.embedded_connection",
    "hitl_cli.servers.sqlite",
    "hitl_cli.worker.process",
    "resonate.connections",
    "tests.recovery.crew",
    "tests.recovery.deaths",
    "tests.recovery.storm",
    "tests.servers",
)

for name in MODULES:
    importlib.import_module(name)
gc.collect()
gc.freeze()
