"""`hitl workflows`: the workflows that can be started."""

from __future__ import annotations

from hitl_cli.cli.context import AtServer, runs_of
from hitl_cli.cli.options import AsJson
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Column, print_table
from hitl_cli.format.durations import format_age
from hitl_cli.views.runs import workflow_document


def workflows(ctx: AtServer, as_json: AsJson = False) -> None:
    """List the workflows of running workers and of recent runs."""
    with ctx.opened(runs_of) as (runs, client):
        found, now = runs.workflows(), client.now()
    if as_json:
        print_json([workflow_document(one) for one in found])
    elif not found:
        note("No worker is running, and there are no runs. Start a worker: hitl worker")
    else:
        last = [None if one.last_run is None else format_age(max(now - one.last_run, 0)) for one in found]
        print_table(
            [
                Column("workflow", [one.name for one in found], whole=True),
                Column("group", [one.group for one in found]),
                Column(
                    "workers", ["?" if one.workers is None else f"{one.workers}" for one in found], right=True
                ),
                Column("last started", ["-" if age is None else f"{age} ago" for age in last], right=True),
            ]
        )
        if any(one.workers is None for one in found):
            note("?: this server cannot list its workers.")
