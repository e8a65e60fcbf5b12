"""The history of decisions as JSON and CSV."""

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
from hitl_cli.requests.editable import Change
from hitl_cli.requests.outcome import yes_or_no_given
from hitl_cli.requests.question import Outcome
from hitl_cli.views.document import document_of
from hitl_cli.views.votes import VoteDocument, vote_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.inbox.history import HistoryEntry

FORMULA = ("=", "+", "-", "@")
"""First characters of cells that spreadsheets treat as formulas (OWASP, CSV Injection)."""


class HistoryEntryDocument(Struct, frozen=True, kw_only=True):
    """A decision, a vote, a comment, or another change of a request.

    `rule` is the standing rule that decided for `by`, and `deputy_for` the assignees for whom `by` decided as
    their deputy. `run` is the run's id and `workflow_name` its workflow; `workflow` and `function` are their
    old names. `changes` are the changes of an approval to the arguments. `to` are the assignees after an
    `assign`; `until` is the end of a `claim`, or the deadline after an `extend`; `of` is the person whose
    claim was ended by another person's `release`.
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
    rule: str | None
    changes: tuple[Change, ...] = ()
    to: tuple[str, ...] = ()
    until: str | None = None
    deputy_for: tuple[str, ...] = ()
    of: str | None = None


class HistoryPage(Struct, frozen=True):
    """A page of decisions, newest first; `next` is the `cursor` of the next page."""

    items: list[HistoryEntryDocument]
    next: str | None


def history_entry_document(entry: HistoryEntry) -> HistoryEntryDocument:
    """Return a decision, a vote, a comment, or another change of a request."""
    votes = tuple(map(vote_document, entry.votes))
    names = {"run": entry.workflow, "workflow_name": entry.function}
    return document_of(HistoryEntryDocument, entry, votes=votes, **names)


def outcome_text(entry: HistoryEntry) -> str:
    """Return the outcome of an entry, with its kind unless it is a person's decision."""
    if entry.kind == "decision":
        if answer_in(entry) is not None:
            return "answered"
        by_deadline = entry.deadline and entry.outcome != "expired"
        return f"{entry.outcome} (deadline)" if by_deadline else str(entry.outcome)
    return entry.kind if entry.outcome is None else f"{entry.kind}: {entry.outcome}"


def answer_in(entry: HistoryEntry) -> str | None:
    """Return a person's yes or no, as in `data_text`; None for any other decision."""
    if entry.deadline or entry.outcome != "approved" or entry.choice is not None:
        return None
    return yes_or_no_given(entry.form, entry.data, editable=entry.editable)


def changed_text(entry: HistoryEntry) -> str | None:
    """Return the request that this one replaces, and the one that replaced it, unless the reason names it."""
    by = entry.replaced_by
    parts = [
        f"replaces {entry.replaces}" if entry.replaces else None,
        f"replaced by {by}" if by and by not in (entry.reason or "") else None,
    ]
    return ", ".join(part for part in parts if part) or None


def data_text(entry: HistoryEntry, write: Callable[[int], str] = iso) -> str | None:
    """Return the data of a decision on one line, with the titles of its form, or as JSON.

    Of arguments, only the changes. None for a plain approval or rejection, or a choice. For an amendment, the
    new assignees, the deadline or end, or the person whose claim was ended.
    """
    if entry.of is not None:
        return f"claim of {entry.of}"
    if entry.to:
        return f"to {', '.join(entry.to)}"
    if entry.until is not None:
        return f"until {write(entry.until)}"
    if entry.editable:
        return "; ".join(one.sentence for one in entry.changes) or None
    from hitl_cli.forms.reading import in_words

    read = data_read(entry)
    return None if read is None else to_json(read) if entry.form is None else in_words(read)


def data_read(entry: HistoryEntry) -> Json:
    """Return the data of a decision with the titles of its form.

    None for a plain approval or rejection, a choice, and arguments.
    """
    if entry.editable or entry.data is None or entry.data is True or entry.data == entry.choice:
        return None
    from hitl_cli.forms.reading import as_read

    return as_read(entry.form, entry.data)


def csv_head(*, excel: bool = False) -> str:
    """Return the header row of a CSV; for Excel, after a byte-order mark, which marks UTF-8."""
    return ("\ufeff" if excel else "") + _csv_line(HistoryEntryDocument.__struct_fields__)


def csv_entry(entry: HistoryEntry) -> str:
    """Return an entry as a row of a CSV."""
    return _csv_line(map(_cell, msgspec.structs.astuple(history_entry_document(entry))))


def _csv_line(cells: Iterable[str]) -> str:
    """Return cells as a row of CSV, with a newline."""
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: Json) -> str:
    """Return a value as a CSV cell: texts unchanged, None as an empty cell, other values as JSON.

    CSV is read in spreadsheets and on terminals, so a formula gets a `'` before it, and control characters
    are escaped. The JSON of the history has each text unchanged.
    """
    if value is None or value in ([], ()):
        return ""
    text = value if isinstance(value, str) else to_json(value)
    shown = printable_lines(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown
