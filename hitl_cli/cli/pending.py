"""`hitl pending`: what waits for a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli import inbox
from hitl_cli.cli.shared import AsJson, Server, Token, console, note, open_client, print_json
from hitl_cli.durations import format_age, format_duration, parse_duration
from hitl_cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group
    from rich.text import Text

    from hitl_cli.client import Client
    from hitl_cli.inbox import Waiting

type Look = Callable[[], tuple[list[Waiting], bool]]
"""Returns what waits, and whether there is more than that."""

DEFAULT_LIMIT = 25
NARROW = 80
"""Columns below which each promise gets lines of its own instead of a row."""

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
    older_ms = parse_duration(older) if older else 0
    with open_client(ctx, server, token) as client:

        def look() -> tuple[list[Waiting], bool]:
            return inbox.pending(
                client, workflow=workflow, older_than_ms=older_ms, limit=None if every else limit
            )

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
    screen = console()
    screen.print(drawing(items, now, screen.width), soft_wrap=screen.width < NARROW)
    if more:
        note(f"The {len(items)} oldest are shown; there are more: --limit N or --all.")
    note("Answer with: hitl approve ID  or  hitl reject ID --reason TEXT")


def drawing(items: list[Waiting], now: int, width: int) -> Any:
    """Return what to print: a table, or on a narrow screen a few lines an item. No id is cut or wrapped."""
    from rich.table import Table  # noqa: PLC0415

    longest = max(len(item.id) for item in items)
    if width < max(NARROW, longest + 50):
        return lines(items, now)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("promise", style="bold", no_wrap=True, min_width=longest, overflow="ignore")
    prompts = any(item.prompt for item in items)
    for name in ("workflow", "function", *(["asks"] if prompts else [])):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("time left", justify="right", no_wrap=True)
    for item in items:
        asked = [printable(item.prompt or "")] if prompts else []
        table.add_row(
            printable(item.id),
            printable(item.workflow),
            printable(item.function or "-"),
            *asked,
            format_age(now - item.created_at),
            time_left(item, now),
        )
    return table


def lines(items: list[Waiting], now: int) -> Group:
    """Return a few short lines an item."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn: list[Text] = []
    for item in items:
        drawn.append(Text(item.id, style="bold", no_wrap=True, overflow="ignore"))
        if item.prompt:
            drawn.append(Text(f"  {printable(item.prompt)}"))
        age = format_age(now - item.created_at)
        drawn.append(Text(f"  {item.function or '-'}, {age} old, ") + time_left(item, now) + Text(" left"))
    return Group(*drawn)


def time_left(item: Waiting, now: int) -> Text:
    """Return the time to the deadline, in red when it is near."""
    from rich.text import Text  # noqa: PLC0415

    left = item.deadline - now
    return Text(format_duration(left), style="red" if left < SOON_MS else "")


def printable(text: str) -> Text:
    """Return text from a promise on one line, without markup and without what could move the cursor."""
    from rich.text import Text  # noqa: PLC0415

    return Text("".join(char if char.isprintable() else " " for char in text))


def keep_showing(client: Client, look: Look, *, as_json: bool) -> None:
    """Show the items until interrupted, and again at once when something changes."""
    client.wait(0)
    try:
        if as_json or not sys.stdout.isatty():
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
    """Draw all items in the same place of the terminal, the ages with them."""
    from rich.console import Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    screen = console()

    def frame() -> Group:
        items, more = look()
        if not items:
            return Group(Text("Nothing waits for a person.", style="dim"))
        rest = [Text("… and more: --limit N or --all", style="dim")] if more else []
        return Group(drawing(items, client.now(), screen.width), *rest)

    with Live(frame(), console=screen, auto_refresh=False) as live:
        while True:
            client.wait(WATCH_EVERY_S)
            live.update(frame(), refresh=True)
