"""`hitl history`: the record of decisions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from hitl_cli.cli.context import AsPerson, inbox_of, seen_by
from hitl_cli.cli.options import AsJson, Every, Matching, argument, flag, number, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.states import OUTCOME_COLORS
from hitl_cli.cli.render.table import Cell, Column, filled, print_table
from hitl_cli.errors import BadUsage
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.format.times import local, local_minute
from hitl_cli.inbox.history import HistoryEntry, HistoryFilter
from hitl_cli.requests.outcome import given_reason
from hitl_cli.views.history import (
    changed_text,
    csv_entry,
    csv_head,
    data_text,
    history_entry_document,
    outcome_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LIMIT = 25
"""The default number of decisions to show."""


def show_history(
    ctx: AsPerson,
    id: Annotated[
        str | None, argument("ID", "A request, a run or a key: show its decisions, votes and comments.")
    ] = None,
    by: Annotated[str | None, value("WHO", "Only decisions and votes by this person.")] = None,
    since: Annotated[str | None, value("DURATION", "Only from the last DURATION, e.g. 7d.")] = None,
    workflow: Matching = None,
    outcome: Annotated[
        Literal["approved", "rejected", "expired", "canceled"] | None,
        value("OUTCOME", "Only this outcome: approved, rejected, expired or canceled."),
    ] = None,
    limit: Annotated[
        int | None,
        number(
            "N",
            f"Maximum number to show. Default: {DEFAULT_LIMIT}, or all of an ID.",
            "--limit",
            "-n",
            least=1,
        ),
    ] = None,
    every: Every = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, flag("Print CSV with a header row.", "--csv")] = False,
    excel: Annotated[bool, flag("With --csv: add the byte-order mark that Excel needs.", "--excel")] = False,
) -> None:
    """Show decisions: who answered what, when and why. The newest are first."""
    if as_json and as_csv:
        raise BadUsage("--json and --csv cannot be combined: pass one of them.")
    if excel and not as_csv:
        raise BadUsage("--excel needs --csv: pass both.")
    head = csv_head(excel=excel)
    ago_ms = parse_duration(since) if since else None
    most = None if every else limit or (None if id else DEFAULT_LIMIT)
    with ctx.opened(inbox_of) as (inbox, client):
        from_ms = None if ago_ms is None else max(client.now() - ago_ms, 0)
        wanted = HistoryFilter(by=by, since=from_ms, workflow=workflow, outcome=outcome)
        if id is not None:
            entries = inbox.story(id, wanted)
            more = most is not None and len(entries) > most
            entries = entries[-most:] if most is not None else entries
        elif as_csv and most is None:
            sys.stdout.write(head)
            sys.stdout.writelines(
                map(csv_entry, inbox.decisions(wanted))
            )  # streamed, because a million would not fit into memory
            return
        else:
            entries, more = inbox.history(wanted, most)
    if as_csv:
        sys.stdout.writelines([head, *map(csv_entry, entries)])
    elif as_json:
        print_json([history_entry_document(entry) for entry in entries])
    elif not entries:
        note(f"No decisions{seen_by(inbox.actor)}." if id is None else f"No decisions or comments on {id}.")
    else:
        print_table(_as_table(entries))
    if more:
        note(f"The {len(entries)} newest are shown; there are more: pass --limit N or --all.")


def _as_table(entries: Sequence[HistoryEntry]) -> list[Column]:
    """Return the columns; empty ones are left out."""
    colors = [OUTCOME_COLORS.get(entry.outcome or "", "") for entry in entries]
    return filled(
        [
            Column("request", [entry.id for entry in entries], whole=True),
            Column("at", [local_minute(entry.at) for entry in entries], whole=True),
            Column("outcome", list(map(Cell, map(outcome_text, entries), colors)), whole=True),
            Column("by", [_who(entry) for entry in entries]),
            Column("waited", [format_duration(entry.waited_ms) for entry in entries], right=True, spare=2),
            Column("prompt", [entry.asked or "" for entry in entries], spare=1),
            Column("data or reason", [_said_in(entry) for entry in entries]),
        ]
    )


def _who(entry: HistoryEntry) -> str:
    """Return who decided, and through what."""
    rule = f" {entry.rule}" if entry.rule else ""
    instead = f" for {', '.join(entry.deputy_for)}" if entry.deputy_for else ""
    return f"{entry.by}{instead} via {entry.via}{rule}" if entry.by else "-"


def _said_in(entry: HistoryEntry) -> str:
    """Return the choice, data, reason and comment of a decision."""
    parts = [
        entry.choice,
        data_text(entry, local),
        given_reason(entry.outcome, entry.reason),
        changed_text(entry),
        None
        if entry.comment is None
        else f"({entry.comment})"
        if entry.outcome is not None
        else entry.comment,
    ]
    return " ".join(part for part in parts if part is not None)
