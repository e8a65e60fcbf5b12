"""`hitl backup` and `hitl prune`: maintenance of the database file."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.admin import maintenance
from hitl_cli.cli.context import AtFile
from hitl_cli.cli.options import AsJson, CheckpointKey, flag, value
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.client.connect import absolute
from hitl_cli.errors import BadInput, NotDone
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.format.sizes import format_size
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local
from hitl_cli.views.maintenance import backup_document, prune_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.engine.prune import Pruned, Reason

NOTE_EVERY_S = 3.0
"""How often progress is reported."""

KEPT: dict[Reason, str] = {
    "live": "not finished, or with an open request or call",
    "recent": "finished later",
    "needed": "started by a run that is still active",
    "unfetched": "finished in the last 30 days, and a listener has not yet received the result",
    "newest": "the newest, whose number must not be reused",
}


def backup(
    ctx: AtFile,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Path of the copy.", dir_okay=False)],
    force: Annotated[bool, flag("Replace FILE if it exists.", "--force")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the database to FILE while it is in use, and verify the copy."""
    url, _ = ctx.server()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that cleanup runs
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
    rows = f"{made.rows['promises']:,} promises (runs, steps and requests)"
    print(printable(f"{made.path} is a verified copy: {format_size(made.size)}, {rows}"))


def prune(
    ctx: AtFile,
    older: Annotated[str, value("DURATION", "Only runs that finished more than DURATION ago, e.g. 90d.")],
    dry_run: Annotated[bool, flag("Show what would be deleted, without deleting.", "--dry-run")] = False,
    yes: Annotated[bool, flag("Skip the confirmation.", "--yes", "-y")] = False,
    key: CheckpointKey = None,
    as_json: AsJson = False,
) -> None:
    """Delete old finished runs with all their steps, and free the disk space."""
    older_ms = parse_duration(older)
    url, _ = ctx.server()
    asks = not (yes or dry_run)
    if asks and not is_terminal(sys.stdin):
        raise BadInput(
            "not a terminal, so cannot confirm: pass --yes, or --dry-run to see what would be deleted.",
            code="needs-confirmation",
        )
    if asks or dry_run:
        planned = maintenance.prune(url.value, older_ms, dry_run=True)
        if dry_run or planned.runs == 0:
            _show(planned, older_ms, as_json=as_json, done=not dry_run)
            return
        note(_sentence(planned, older_ms, done=False))
        if not typer.confirm("Delete them permanently?", default=False, err=True):
            raise NotDone("nothing was deleted.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that cleanup runs
    say = _seldom()
    removed = maintenance.prune(
        url.value,
        older_ms,
        lambda runs: say(lambda: f"{runs:,} runs deleted so far"),
        signer=ctx.settings.checkpoint_signer(key),
    )
    _show(removed, older_ms, as_json=as_json, done=True)


def _show(pruned: Pruned, older_ms: int, *, as_json: bool, done: bool) -> None:
    """Print what was or would be deleted, and on stderr what is kept and why."""
    if as_json:
        print_json(prune_document(pruned, done=done))
        return
    print(_sentence(pruned, older_ms, done=done))
    for reason, text in KEPT.items():
        if count := pruned.kept.get(reason):
            note(f"{count:,} older {'run is' if count == 1 else 'runs are'} kept: {text}")
    if done and pruned.free:
        note(f"{format_size(pruned.free)} of the file are free for new runs.")


def _sentence(pruned: Pruned, older_ms: int, *, done: bool) -> str:
    """One sentence about what was or would be deleted."""
    if pruned.runs == 0 and any(pruned.kept.values()):
        return "nothing to delete"
    if pruned.runs == 0:
        return f"nothing to delete: no run finished more than {format_duration(older_ms)} ago"
    what = f"{pruned.runs:,} runs with {pruned.promises:,} promises"
    ended = f"finished {local(pruned.first_ended_at or 0)} to {local(pruned.last_ended_at or 0)}"
    if not done:
        return f"would delete {what}, {ended}"
    smaller = f"; the file is {format_size(pruned.given_back)} smaller" if pruned.in_file else ""
    return f"deleted {what}, {ended}{smaller}"


def _seldom() -> Callable[[Callable[[], str]], None]:
    """Return a function that prints progress to stderr, at most once every few seconds."""
    last = time.monotonic()

    def say(message: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last > NOTE_EVERY_S:
            last = time.monotonic()
            note(message())

    return say
