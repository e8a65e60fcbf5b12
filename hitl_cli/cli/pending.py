"""`hitl pending`: what waits for a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli.cli.shared import AsJson, Server, Token, note, open_client, print_json
from hitl_cli.cli.table import Cell, Column, console, on_terminal, print_table
from hitl_cli.durations import format_age, format_duration, parse_duration
from hitl_cli.inbox.listing import Filter
from hitl_cli.inbox.listing import pending as list_pending
from hitl_cli.settings import Settings
from hitl_cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client import Client
    from hitl_cli.inbox.listing import Waiting

type Look = Callable[[], tuple[list[Waiting], bool]]
"""Returns what waits, and whether there is more than that."""

DEFAULT_LIMIT = 25
"""How many to show unless told otherwise."""

HOW_TO_ANSWER = "Answer with: hitl approve ID  or  hitl reject ID --reason TEXT"

LINES_BESIDE = 4
"""Lines of the terminal that `--watch` needs for other things than items."""

SOON_MS = 86_400_000
WATCH_EVERY_S = 5.0
"""How often `--watch` redraws the ages when nothing happens."""


def pending(
    ctx: typer.Context,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", "-w", metavar="GLOB", help="Only of runs or functions with such a name."),
    ] = None,
    older: Annotated[
        str | None,
        typer.Option("--older", metavar="DURATION", help="Only what has waited that long, e.g. 1d."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show.")
    ] = DEFAULT_LIMIT,
    every: Annotated[bool, typer.Option("--all", "-a", help="Show all.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show changes as they happen.")] = False,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show what waits for a person, the oldest first."""
    wanted = Filter(workflow=workflow, older_than_ms=parse_duration(older) if older else 0)
    groups = Settings().groups()
    with open_client(ctx, server, token) as client:

        def look() -> tuple[list[Waiting], bool]:
            return list_pending(client, wanted, groups=groups, limit=None if every else limit)

        if watch:
            keep_showing(client, look, as_json=as_json)
            return
        items, more = look()
        if as_json:
            print_json([as_document(item, client.now()) for item in items])
            return
        show(items, more, client.now())


def as_document(item: Waiting, now: int) -> dict[str, Any]:
    """Return the item as `--json` shows it."""
    return {
        "id": item.id,
        "workflow": item.workflow,
        "function": item.function,
        "state": "pending",
        "prompt": item.prompt,
        "created_at": iso(item.created_at),
        "deadline": iso(item.deadline),
        "age_s": max(now - item.created_at, 0) // 1_000,
    }


def show(items: list[Waiting], more: bool, now: int) -> None:
    """Print the items, and on stderr how to answer them."""
    if not items:
        note("Nothing waits for a person.")
        return
    print_table(*as_table(items, now))
    if more:
        note(f"The {len(items)} oldest are shown; there are more: --limit N or --all.")
    note(HOW_TO_ANSWER)


def as_table(items: list[Waiting], now: int) -> tuple[list[Column], list[list[Cell]]]:
    """Return the columns and the rows; what is asked has a column only where something is known of it."""
    asks = any(item.prompt for item in items)
    columns = [Column("promise", whole=True), Column("workflow"), Column("function")]
    columns += [Column("asks")] if asks else []
    columns += [Column("age", right=True), Column("time left", right=True)]
    rows = []
    for item in items:
        left = item.deadline - now
        row = [Cell(item.id), Cell(item.workflow), Cell(item.function or "-")]
        row += [Cell(item.prompt or "")] if asks else []
        row += [Cell(format_age(now - item.created_at))]
        row += [Cell(format_duration(left), style="red" if left < SOON_MS else "")]
        rows.append(row)
    return columns, rows


def keep_showing(client: Client, look: Look, *, as_json: bool) -> None:
    """Show the items until interrupted, and again at once when something changes."""
    client.wait(0)
    try:
        if as_json or not on_terminal():
            keep_printing(client, look, as_json=as_json)
        else:
            keep_drawing(client, look)
    except KeyboardInterrupt:
        return


def keep_printing(client: Client, look: Look, *, as_json: bool) -> None:
    """Print all items whenever there are others than before: a table, or a JSON array on one line."""
    shown: list[str] | None = None
    while True:
        items, more = look()
        if [item.id for item in items] != shown:
            shown = [item.id for item in items]
            if as_json:
                print(msgspec.json.encode([as_document(item, client.now()) for item in items]).decode())
            else:
                show(items, more, client.now())
            sys.stdout.flush()
        client.wait(WATCH_EVERY_S)


def keep_drawing(client: Client, look: Look) -> None:
    """Show all items on a cleared terminal, the ages with them, as many as there is room for."""
    screen = console()
    while True:
        items, more = look()
        room = max(screen.height - LINES_BESIDE, 1)
        screen.clear()
        if not items:
            print("Nothing waits for a person.")
        else:
            print_table(*as_table(items[:room], client.now()))
            if more or len(items) > room:
                print(f"The {min(room, len(items))} oldest are shown; there are more.")
            print(HOW_TO_ANSWER)
        sys.stdout.flush()
        client.wait(WATCH_EVERY_S)
