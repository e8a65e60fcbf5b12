"""`hitl stats`: how long decisions take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.context import AsPerson, inbox_of, seen_by
from hitl_cli.cli.options import AsJson, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Cell, Column, on_terminal, print_table
from hitl_cli.format.durations import format_age, format_duration, parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.stats import BOUNDS_MS
from hitl_cli.views.stats import stats_document

if TYPE_CHECKING:
    from hitl_cli.inbox.stats import Figures, Stats, Times

DEFAULT_SINCE = "30d"

MOST_NAMES = 10
"""Maximum number of workflows and people to show, by number of decisions; `--json` has all."""

BAR_WIDTH = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"
"""Blocks of zero to eight eighths of a cell."""


def show_stats(
    ctx: AsPerson,
    since: Annotated[str, value("DURATION", "Only decisions from the last DURATION.")] = DEFAULT_SINCE,
    as_json: AsJson = False,
) -> None:
    """Show how long people take to decide, and the outcomes."""
    ago_ms = parse_duration(since)
    with ctx.opened(inbox_of) as (inbox, _):
        found = inbox.stats(ago_ms)
    if as_json:
        print_json(stats_document(found))
    else:
        show(found, since)
        if seen := seen_by(inbox.actor):
            note(f"Only requests{seen} are counted.")


def show(found: Stats, since: str) -> None:
    """Print the figures, and a chart of the times."""
    figures, oldest = found.figures, found.oldest
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in figures.outcomes.items())
    meant = figures.deadlines - figures.outcomes["expired"]
    by_deadline = f" ({meant:,} of them by deadline)" if meant else ""
    print(f"In the last {since}: {counts}{by_deadline}")
    waiting = f"Open now: {found.open:,}"
    if oldest is not None:
        waiting += f", the oldest for {format_age(found.now - oldest.created_at)}: {oldest.id}"
    print(printable(waiting))
    if not figures.times.count:
        return
    print()
    print_table(_as_table(figures))
    print()
    print_table(_as_chart(figures))


def _as_table(figures: Figures) -> list[Column]:
    """Return the columns of the times: in total, by workflow and by person."""
    rows = [_row("all", "", figures.times)]
    for kind, every in (("workflow", figures.workflows), ("person", figures.people)):
        rows += [_row(kind, one.name or "-", one.times) for one in every[:MOST_NAMES]]
        if len(every) > MOST_NAMES:
            rows.append([kind, f"… and {len(every) - MOST_NAMES:,} more", "", "", "", ""])
    first, second, *times = zip(*rows, strict=True)
    heads = ("decisions", "p50", "p90", "max")
    columns = [Column(head, texts, right=True) for head, texts in zip(heads, times, strict=True)]
    return [Column("", first, whole=True), Column("", second), *columns]


def _row(kind: str, name: str, times: Times) -> list[str]:
    """Return a row of the table."""
    took = [times.p50_ms, times.p90_ms, times.max_ms]
    return [kind, name, f"{times.count:,}", *("" if ms is None else format_duration(ms) for ms in took)]


def _as_chart(figures: Figures) -> list[Column]:
    """Return the columns of the chart: the number of decisions by time."""
    most = max(figures.spans)
    counts = figures.spans[: max(n for n, count in enumerate(figures.spans) if count) + 1]
    names = [f"under {format_duration(end)}" for end in BOUNDS_MS]
    names.append(f"{format_duration(BOUNDS_MS[-1])} or more")
    return [
        Column("took", names[: len(counts)], whole=True),
        Column("decisions", [f"{count:,}" for count in counts], right=True),
        Column("", [Cell(_bar(count, most), "cyan") for count in counts], whole=True),
    ]


def _bar(count: int, most: int) -> str:
    """Return a bar in proportion to the longest; plain text in a pipe."""
    if not on_terminal():
        return "#" * -(-count * BAR_WIDTH // most)
    eighths = -(-count * BAR_WIDTH * 8 // most)
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
