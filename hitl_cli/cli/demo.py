"""`hitl demo`: the main job in one terminal."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from hitl_cli.cli.shared import note
from hitl_cli.cli.table import on_terminal


def demo(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without asking.")] = False,
) -> None:
    """Watch a workflow start, wait for a person, and go on: with a real worker and a database of its own."""
    from hitl_cli.demo import Demo  # noqa: PLC0415

    with Demo(echo=lambda command: print(f"\n$ {shlex.join(command)}", flush=True)) as show:
        print("A worker runs workflows. This one has a database of its own, which is gone afterwards.")
        show.start_worker()
        print("\nA workflow is started by an id. It asks for approval, and blocks:")
        show.run("start", show.workflow_id)
        promise = show.blocked()
        print("\nNothing runs and nothing waits in memory now. This is what a person sees:")
        show.run("pending")
        print("\nThe answer wakes the workflow, in whichever worker is there:")
        asks = not yes and sys.stdin.isatty() and on_terminal()
        approved = not asks or typer.confirm(f"Approve {promise}?", default=True)
        if approved:
            show.run("approve", promise)
        else:
            show.run("reject", promise, "--reason", "not today")
        show.run("wait", show.workflow_id, "--timeout", "30s", may_fail=not approved)
        print("\nWho answered, and what came of it:")
        show.run("status", show.workflow_id)
    note("\nThat was it. Yours: `hitl worker` in one terminal, `hitl start hitl-001` in another.")
