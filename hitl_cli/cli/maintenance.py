"""`hitl backup` and `hitl prune`: looking after the file."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.admin import maintenance
from hitl_cli.cli.context import named_server
from hitl_cli.cli.options import AsJson, Server, flag, value
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.client.connect import absolute
from hitl_cli.errors import BadInput, NotDone
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.format.sizes import format_size
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local
from hitl_cli.settings import Settings
from hitl_cli.views.maintenance import backup_document, prune_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.engine.prune import Pruned, Reason

NOTE_EVERY_S = 3.0
"""How often a long work says how far it is."""

KEPT: dict[Reason, str] = {
    "live": "not ended, or not in every part",
    "recent": "ended later",
    "needed": "started by a workflow that goes on",
    "unfetched": "ended in the last 30 days, and word of it not yet fetched by who asked for it",
    "newest": "the newest of all, whose number must not be given out twice",
}


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the copy.", dir_okay=False)],
    force: Annotated[bool, flag("Replace FILE if it is there.", "--force")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Copy the database to FILE while others work on it, and check the copy."""
    url, _ = named_server(ctx, Settings(), server, None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which leaves nothing unfinished behind
    say = _seldom()
    made = maintenance.back_up(
        url.value,
        absolute(str(file)),
        replace=force,
        progress=lambda done, size: say(lambda: f"{format_size(done)} of {format_size(size)} copied"),
    )
    if as_json:
        print_json(backup_document(made))
        return
    rows = f"{made.rows['promises']:,} promises, {made.rows['tasks']:,} tasks"
    print(printable(f"{made.path} is a checked copy: {format_size(made.size)}, {rows}"))


def prune(
    ctx: typer.Context,
    older: Annotated[str, value("DURATION", "Only runs that ended so long ago, e.g. 90d.")],
    dry_run: Annotated[bool, flag("Say what would go, and remove nothing.", "--dry-run")] = False,
    yes: Annotated[bool, flag("Do not ask.", "--yes", "-y")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Remove runs that ended long ago, with all their steps, and give the space back."""
    older_ms = parse_duration(older)
    url, _ = named_server(ctx, Settings(), server, None)
    asks = not (yes or dry_run)
    if asks and not is_terminal(sys.stdin):
        raise BadInput(
            "there is no terminal to confirm on: pass --yes, or --dry-run to see what would go.",
            code="needs-confirmation",
        )
    if asks or dry_run:
        planned = maintenance.plan_prune(url.value, older_ms)
        if dry_run or planned.runs == 0:
            _show(planned, older_ms, as_json=as_json, done=not dry_run)
            return
        note(_sentence(planned, older_ms, done=False))
        if not typer.confirm("Remove them for ever?", default=False, err=True):
            raise NotDone("nothing was removed.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which leaves nothing unfinished behind
    say = _seldom()
    removed = maintenance.prune(
        url.value, older_ms, lambda runs: say(lambda: f"{runs:,} runs removed so far")
    )
    _show(removed, older_ms, as_json=as_json, done=True)


def _show(pruned: Pruned, older_ms: int, *, as_json: bool, done: bool) -> None:
    """Print what was removed, or would be, and on stderr what stays and why."""
    if as_json:
        print_json(prune_document(pruned, done=done))
        return
    print(_sentence(pruned, older_ms, done=done))
    for reason, text in KEPT.items():
        if count := pruned.kept.get(reason):
            note(f"{count:,} that began before that {'stays' if count == 1 else 'stay'}: {text}")
    if done and pruned.free:
        note(f"{format_size(pruned.free)} of the file are free, and will be used again.")


def _sentence(pruned: Pruned, older_ms: int, *, done: bool) -> str:
    """Return what was removed, or would be."""
    if pruned.runs == 0:
        return f"no run ended more than {format_duration(older_ms)} ago that could be removed"
    what = f"{pruned.runs:,} runs with {pruned.promises:,} promises in all"
    ended = f"ended {local(pruned.first_ended_at or 0)} to {local(pruned.last_ended_at or 0)}"
    if not done:
        return f"would remove {what}, {ended}"
    return f"removed {what}, {ended}; the file is {format_size(pruned.given_back)} smaller"


def _seldom() -> Callable[[Callable[[], str]], None]:
    """Return what writes notes to stderr, of many in a row only one every few seconds."""
    last = time.monotonic()

    def say(message: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last > NOTE_EVERY_S:
            last = time.monotonic()
            note(message())

    return say
