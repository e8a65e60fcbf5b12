"""What was answered, as machines are shown it."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import printable_lines
from hitl_cli.format.times import iso
from hitl_cli.inbox.history import Kind
from hitl_cli.requests.question import Outcome
from hitl_cli.views.votes import VoteDocument, vote_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.inbox.history import HistoryEntry

FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would take for a formula (OWASP, CSV Injection)."""


class HistoryEntryDocument(Struct, frozen=True, kw_only=True):
    """A decision, a vote or a comment.

    `run` is the run's id and `workflow_name` its workflow; `workflow` and `function` are their old names.
    """

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
    replaces: str | None
    replaced_by: str | None
    run: str
    workflow_name: str | None


class HistoryPage(Struct, frozen=True):
    """A page of what was answered, the newest first; `next` is the `cursor` of the next one."""

    items: list[HistoryEntryDocument]
    next: str | None


def history_entry_document(entry: HistoryEntry) -> HistoryEntryDocument:
    """Return what came of a request, or was said of it."""
    known = msgspec.structs.asdict(entry)
    del known["form"]
    texts = {"asked_at": iso(entry.asked_at), "at": iso(entry.at)}
    names = {"run": entry.workflow, "workflow_name": entry.function}
    votes = tuple(map(vote_document, entry.votes))
    return HistoryEntryDocument(**known | texts | names | {"votes": votes})


def outcome_text(entry: HistoryEntry) -> str:
    """Return the outcome of an entry, and what kind of entry it is where that is no decision of a person."""
    if entry.kind == "decision":
        by_deadline = entry.deadline and entry.outcome != "expired"
        return f"{entry.outcome} (deadline)" if by_deadline else str(entry.outcome)
    return entry.kind if entry.outcome is None else f"{entry.kind}: {entry.outcome}"


def changed_text(entry: HistoryEntry) -> str | None:
    """Return which request an entry replaced, and which replaced it, unless its reason says so."""
    by = entry.replaced_by
    parts = [
        f"in place of {entry.replaces}" if entry.replaces else None,
        f"replaced by {by}" if by and by not in (entry.reason or "") else None,
    ]
    return ", ".join(part for part in parts if part) or None


def data_text(entry: HistoryEntry) -> str | None:
    """Return the data of an answer on one line, by the titles of its form, else as JSON.

    None for a plain yes or no, or a choice.
    """
    if entry.data is None or entry.data is True or entry.data == entry.choice:
        return None
    if entry.form is None:
        return to_json(entry.data)
    from hitl_cli.forms.reading import as_read, in_words

    return in_words(as_read(entry.form, entry.data))


def csv_head(*, excel: bool = False) -> str:
    """Return the first line of a CSV: the names of the columns, after the mark that Excel knows UTF-8 by."""
    return ("\ufeff" if excel else "") + _csv_line(HistoryEntryDocument.__struct_fields__)


def csv_entry(entry: HistoryEntry) -> str:
    """Return an entry as its line in a CSV."""
    return _csv_line(map(_cell, msgspec.structs.astuple(history_entry_document(entry))))


def _csv_line(cells: Iterable[str]) -> str:
    """Return cells as a line of CSV, which ends with a newline."""
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: Json) -> str:
    """Return a value as CSV has it: a text as it is, nothing for none, all else as JSON.

    CSV is read in spreadsheets and on terminals: what the one would run is quoted by a `'` before it, and
    what the other would obey is shown as its escape. JSON has each text to the letter.
    """
    if value is None or value in ([], ()):
        return ""
    text = value if isinstance(value, str) else to_json(value)
    shown = printable_lines(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown
