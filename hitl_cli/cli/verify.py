"""`hitl verify`: what the signatures of decisions prove."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import opened
from hitl_cli.cli.options import AsJson, Server, Token, argument, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.request import proof_line
from hitl_cli.cli.render.table import Cell, Column, print_table
from hitl_cli.errors import BadUsage
from hitl_cli.format.durations import parse_duration
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.proof import VerifiedState

COLORS: dict[VerifiedState, str] = {"proven": "green", "claimed": "", "wrong": "red", "open": "dim"}


def verify(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None, argument("[ID]...", "Requests to check.", complete=complete_promise)
    ] = None,
    since: Annotated[
        str | None, value("DURATION", "Check all decisions from the last DURATION, e.g. 30d.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Check who signed decisions, with the public keys of the settings. Exits 1 if one is wrong."""
    if not ids and since is None:
        raise BadUsage("name requests to check, or pass --since DURATION.")
    ago_ms = None if since is None else parse_duration(since)
    with opened(Inbox, ctx, server, token) as (inbox, client):
        wanted = None if ago_ms is None else HistoryFilter(since=max(client.now() - ago_ms, 0))
        found = list(inbox.verify(ids or (), wanted))
    if as_json:
        print_json(found)
    elif found:
        lines = ["; ".join(filter(None, (one.why, *map(proof_line, one.proof)))) for one in found]
        print_table(
            [
                Column("request", [one.id for one in found], whole=True),
                Column("decision", [Cell(one.state, COLORS[one.state]) for one in found], whole=True),
                Column("proof", lines),
            ]
        )
    counts = Counter(one.state for one in found)
    if not as_json:
        note(", ".join(f"{counts[state]:,} {state}" for state in COLORS if counts[state]) or "No decisions.")
    if counts["wrong"]:
        raise typer.Exit(1)
