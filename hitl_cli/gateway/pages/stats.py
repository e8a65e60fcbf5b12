"""The stats page: how long people take to decide, and the outcomes, with charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from hitl_cli.format.durations import UNITS_MS, bad_duration, format_duration, parse_duration
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.queries import spans, text_in
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.stats import BOUNDS_MS, OUTCOMES, Day
from hitl_cli.requests.question import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.web import Request

    from hitl_cli.inbox.stats import Stats

DEFAULT_SPAN = "30d"

LONGEST_MS = 366 * UNITS_MS["d"]
"""How far back the chart can go: a year, so that each day still has a pixel or two."""

MOST = 5_000
"""The figures cover at most this many of the newest decisions, which take a quarter of a second to read."""

MOST_NAMES = 10
"""Workflows and people to show: those with the most decisions."""

HIGH = 100
"""Height of the chart of days, in units of the drawing."""


class _Bar(Struct, frozen=True, kw_only=True):
    """A part of a column of the chart of days, in units of the drawing, from its top left."""

    outcome: Outcome
    x: int
    y: float
    height: float


class _Chart(Struct, frozen=True, kw_only=True):
    """The decisions per day. `most` is the count of the highest column."""

    days: tuple[Day, ...]
    bars: tuple[_Bar, ...]
    most: int
    width: int


class _Row(Struct, frozen=True, kw_only=True):
    """How many decisions took a certain time. `share` is the percentage of the longest row."""

    name: str
    count: int
    share: float


async def _index(request: Request) -> web.Response:
    """Show the stats page."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    span = text_in(request, "since") or DEFAULT_SPAN
    ago_ms = parse_duration(span)
    if ago_ms > LONGEST_MS:
        raise bad_duration(f"{span!r} is too long: stats cover at most one year.")
    found = await gateway.inbox(visitor.actor, lambda inbox: inbox.stats(ago_ms, MOST), pool=gateway.lookback)
    return page(
        request,
        "stats.html",
        sees_all=visitor.actor.sees_all,
        found=found,
        figures=found.figures,
        span=span,
        spans=spans(span),
        most=MOST,
        most_names=MOST_NAMES,
        outcomes=OUTCOMES,
        chart=_chart(found),
        rows=rows(found.figures.spans),
        high=HIGH,
    )


def _chart(found: Stats) -> _Chart:
    """Return the chart of days, including days without decisions."""
    day_ms = UNITS_MS["d"]
    known = {day.start: day for day in found.figures.days}
    first, last = found.since // day_ms * day_ms, found.now // day_ms * day_ms
    none: Mapping[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
    starts = range(first, last + 1, day_ms)
    columns = [known[start].outcomes if start in known else none for start in starts]
    most = max((sum(column.values()) for column in columns), default=0)
    bars = [bar for x, column in enumerate(columns) for bar in bars_of(column, x, most)]
    return _Chart(
        days=tuple(reversed(found.figures.days)), bars=tuple(bars), most=most, width=max(len(columns), 1)
    )


def bars_of(column: Mapping[Outcome, int], x: int, most: int) -> list[_Bar]:
    """Return the parts of one column, the first outcome at the bottom."""
    bars: list[_Bar] = []
    y: float = HIGH
    for outcome, count in column.items():
        if count:
            height = count * HIGH / most
            y -= height
            bars.append(_Bar(outcome=outcome, x=x, y=round(y, 2), height=round(height, 2)))
    return bars


def rows(counts: Sequence[int]) -> list[_Row]:
    """Return how many decisions took how long, up to the longest time."""
    names = [f"under {format_duration(end)}" for end in BOUNDS_MS]
    names.append(f"{format_duration(BOUNDS_MS[-1])} or more")
    most = max(counts)
    last = max((n for n, count in enumerate(counts) if count), default=-1)
    return [
        _Row(name=name, count=count, share=round(count * 100 / most, 2))
        for name, count in zip(names[: last + 1], counts, strict=False)
    ]


ROUTES = [web.get("/stats", _index)]
