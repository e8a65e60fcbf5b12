"""What was answered, as machines are shown it."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.documents.votes import VoteDocument, vote_document
from hitl_cli.inbox.history import Kind  # noqa: TC001 - msgspec reads the annotations
from hitl_cli.questions import Outcome  # noqa: TC001
from hitl_cli.text import printable_lines
from hitl_cli.times import iso
from hitl_cli.wire import Json  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.inbox.history import Entry

FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would take for a formula (OWASP, CSV Injection)."""


class EntryDocument(Struct, frozen=True, kw_only=True):
    """A decision, a vote or a comment."""

    kind: Kind
    id: str
    workflow: str
    function: str | None
    asked: str | None
    asked_at: str
    outcome: Outcome | None
    deadline: bool
    choice: str | None
    data: Json
    reason: str | None
    by: str | None
    via: str | None
    at: str
    waited_ms: int
    comment: str | None
    votes: tuple[VoteDocument, ...]


def entry_document(entry: Entry) -> EntryDocument:
    """Return what came of a request, or was said of it."""
    return EntryDocument(
        kind=entry.kind,
        id=entry.id,
        workflow=entry.workflow,
        function=entry.function,
        asked=entry.asked,
        asked_at=iso(entry.asked_at),
        outcome=entry.outcome,
        deadline=entry.deadline,
        choice=entry.choice,
        data=entry.data,
        reason=entry.reason,
        by=entry.by,
        via=entry.via,
        at=iso(entry.at),
        waited_ms=entry.waited_ms,
        comment=entry.comment,
        votes=tuple(map(vote_document, entry.votes)),
    )


def csv_head() -> str:
    """Return the first line of a CSV: the names of the columns."""
    return csv_line(EntryDocument.__struct_fields__)


def csv_entry(entry: Entry) -> str:
    """Return an entry as its line in a CSV."""
    return csv_line(map(cell, msgspec.structs.astuple(entry_document(entry))))


def csv_line(cells: Iterable[str]) -> str:
    """Return cells as a line of CSV, which ends with a newline."""
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def cell(value: Json) -> str:
    """Return a value as CSV has it: a text as it is, nothing for none, all else as JSON.

    CSV is read in spreadsheets and on terminals: what the one would run is quoted by a `'` before it, and
    what the other would obey is shown as its escape. JSON has each text to the letter.
    """
    if value is None or value in ([], ()):
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = printable_lines(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown
