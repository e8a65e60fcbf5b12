"""`hitl verify`: checks the signatures of decisions, and that signed history was not changed."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from itertools import batched, chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import AsPerson, inbox_of, ledger_of
from hitl_cli.cli.options import AsJson, argument, value
from hitl_cli.cli.output import note
from hitl_cli.cli.render.request import proof_line
from hitl_cli.cli.render.table import Cell, Column, print_table
from hitl_cli.errors import BadInput, BadUsage, NotFound, Unreachable
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable_json
from hitl_cli.format.times import local_minute
from hitl_cli.inbox.proof import Verified, VerifiedState, verified
from hitl_cli.ledger.check import CheckedCheckpoint, Finding, HistoryCheck, sentence
from hitl_cli.ledger.files import ExportCheck, check_receipt
from hitl_cli.ledger.receipts import read_receipt
from hitl_cli.proof.checkpoint import Checkpoint, read_checkpoint
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLORS: dict[VerifiedState, str] = {"proven": "green", "claimed": "", "wrong": "red", "open": "dim"}

FILES = (".json", ".jsonl")
"""How the names of files end that are checked."""

AT_ONCE = 1_000
"""Decisions in one table: a million would not fit into memory."""

type Item = Verified | Finding


def verify(
    ctx: AsPerson,
    what: Annotated[
        list[str] | None,
        argument(
            "[ID|FILE]...",
            "Requests to check, or files of `hitl export` or `hitl receipt`.",
            complete=complete_promise,
        ),
    ] = None,
    since: Annotated[
        str | None, value("DURATION", "Check all decisions from the last DURATION, e.g. 30d.")
    ] = None,
    until: Annotated[str | None, value("DURATION", "Only decisions older than DURATION.")] = None,
    checkpoint: Annotated[
        list[Path] | None,
        value("FILE", "Check that nothing has changed since this checkpoint (repeatable)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the signatures of decisions with the public keys in the settings. Exits 1 if one is wrong."""
    settings = ctx.settings
    checkpoints = [read_checkpoint(_content(path), str(path)) for path in checkpoint or ()]
    files = [Path(name) for name in what or () if _is_file(name)]
    names = [name for name in what or () if not _is_file(name)]
    if until is not None and since is None:
        raise BadUsage("--until needs --since: pass both.")
    reports: list[HistoryCheck | ExportCheck] = []
    items = chain.from_iterable(_of_file(file, settings, checkpoints, reports) for file in files)
    if not (names or since or (checkpoints and not files)):
        if not files:
            raise BadUsage("nothing to check: pass a request ID, a FILE, --since or --checkpoint.")
        _show(items, reports, as_json=as_json, whole=True)
        return
    actor = ctx.actor()
    with _telling_of_files(names), ctx.client() as client:
        inbox, ledger = inbox_of(client, actor), ledger_of(client, actor)
        groups, keys = settings.groups(), settings.checkpoint_keys
        now = client.now()
        since_ms = None if since is None else max(now - parse_duration(since), 0)
        until_ms = None if until is None else max(now - parse_duration(until), 0)
        named = [inbox.find(name) for name in names]
        found: Iterable[Item] = (verified(item, groups) for item in named)
        if since is not None:
            found = chain(found, ledger.verify(groups, since_ms, until_ms))
        if named and checkpoints:
            one_by_one = (ledger.check_one(item, checkpoints, keys) for item in named)
            found = chain(found, filter(None, one_by_one))
        if checkpoints and not named:
            check = ledger.check(checkpoints, keys, since_ms)
            reports.append(check)
            found = chain(found, check.findings())
        _show(chain(items, found), reports, as_json=as_json, whole=bool(files or checkpoints))


def _is_file(name: str) -> bool:
    """Whether an argument names a file, and not a request."""
    path = Path(name)
    return path.suffix in FILES and path.is_file()


@contextmanager
def _telling_of_files(names: list[str]) -> Iterator[None]:
    """Explain in an error why names that look like files were taken for requests."""
    try:
        yield
    except (NotFound, Unreachable) as error:
        for name in names:
            if Path(name).suffix in FILES:
                error.hint = f"There is no file {name}."
            elif Path(name).is_file():
                error.hint = f"{name} was not read as a file: its name must end in .jsonl (export) or .json."
        raise


def _content(path: Path) -> bytes:
    """Return the content of a file. Raises BadInput."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error


def _of_file(
    path: Path, settings: Settings, checkpoints: list[Checkpoint], reports: list[Any]
) -> Iterator[Item]:
    """Yield what a file proves. The check of an export is added to the reports."""
    groups, keys = settings.groups(), settings.checkpoint_keys
    try:
        with path.open("rb") as lines:
            kind = lines.readline().partition(b":")[0]
            if b'"checkpoint"' in kind:
                raise BadInput(f"{path} is a checkpoint: write --checkpoint {path}", code="bad-file")
            if b'"receipt"' in kind:
                receipt = read_receipt(path.read_bytes(), str(path))
                yield check_receipt(receipt, groups, keys, checkpoints)
                return
            lines.seek(0)
            reports.append(ExportCheck(lines, str(path), groups, keys, checkpoints))
            yield from reports[-1].items()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error


def _show(
    items: Iterable[Item], reports: list[HistoryCheck | ExportCheck], *, as_json: bool, whole: bool
) -> None:
    """Print the results while they are found, then the counts. Exits 1 if anything is wrong."""
    counts: Counter[str] = Counter()
    if as_json:
        _print_json(_counted(items, counts), reports, whole=whole)
    else:
        for some in batched(_counted(items, counts), AT_ONCE):
            _print_table(some)
        for report in reports:
            _print_report(report)
        if counts or not reports:
            said = (f"{counts[state]:,} {state}" for state in COLORS if counts[state])
            note(", ".join(said) or "No decisions.")
    if counts["wrong"] or any(one.why for report in reports for one in report.checkpoints):
        raise typer.Exit(1)


def _counted(items: Iterable[Item], counts: Counter[str]) -> Iterator[Item]:
    """Yield items, and count them by state."""
    for one in items:
        counts[one.state if isinstance(one, Verified) else "wrong"] += 1
        yield one


def _print_table(some: Iterable[Item]) -> None:
    rows = [
        (one.id, one.state, "; ".join(_said(one)))
        if isinstance(one, Verified)
        else (one.id, "wrong", sentence(one))
        for one in some
    ]
    print_table(
        [
            Column("request", [id for id, _, _ in rows], whole=True),
            Column("decision", [Cell(state, COLORS[state]) for _, state, _ in rows], whole=True),
            Column("proof", [said for _, _, said in rows]),
        ]
    )


def _said(one: Verified) -> list[str]:
    """Return whether the proof of a decision holds, with each reason once."""
    why = one.why or ""
    lines = [
        line for checked in one.proof if (line := proof_line(checked)) and (checked.why or line) not in why
    ]
    return [why, *lines] if why else lines


def _print_report(report: HistoryCheck | ExportCheck) -> None:
    """Print which checkpoints hold, and how many leaves they cover."""
    if report.checkpoints:
        print_table(
            [
                Column("checkpoint", [local_minute(one.at) for one in report.checkpoints], whole=True),
                Column("leaves", [f"{one.size:,}" for one in report.checkpoints], right=True, whole=True),
                Column("holds", [_holds(one) for one in report.checkpoints]),
            ]
        )
    told = [(report.unchanged, "unchanged"), (report.pruned, "pruned"), (report.later, "later")]
    if any(count for count, _ in told):
        note(", ".join(f"{count:,} {what}" for count, what in told if count))


def _holds(one: CheckedCheckpoint) -> Cell:
    return Cell(f"yes, signed with {one.key}", "green") if one.why is None else Cell(f"no: {one.why}", "red")


def _print_json(items: Iterable[Item], reports: list[HistoryCheck | ExportCheck], *, whole: bool) -> None:
    """Print JSON, item by item: an array; with `whole`, an object with the checkpoints too."""
    print('{"decisions": [' if whole else "[", end="")
    for number, one in enumerate(items):
        shown = one if isinstance(one, Verified) else {"state": "wrong", "why": sentence(one), "proof": []}
        extra = {} if isinstance(one, Verified) else msgspec.to_builtins(one)
        text = msgspec.json.encode({**extra, **msgspec.to_builtins(shown)})
        print(f"{',' if number else ''}\n  {printable_json(text.decode())}", end="")
    print("\n]" if not whole else "\n],", end="\n" if not whole else " ")
    if whole:
        told = [
            {
                "checkpoints": report.checkpoints,
                "unchanged": report.unchanged,
                "pruned": report.pruned,
                "later": report.later,
            }
            for report in reports
        ]
        print(f'"checks": {printable_json(msgspec.json.encode(told).decode())}}}')
