"""Statistics of decisions as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.format.times import iso
from hitl_cli.inbox.stats import BOUNDS_MS
from hitl_cli.inbox.stats import Times as TimesDocument
from hitl_cli.requests.question import Outcome

if TYPE_CHECKING:
    from hitl_cli.inbox.stats import Named, Stats


class OldestDocument(Struct, frozen=True, kw_only=True):
    """The oldest open request."""

    id: str
    asked_at: str


class OpenDocument(Struct, frozen=True, kw_only=True):
    """The open requests now."""

    count: int
    oldest: OldestDocument | None


class NamedTimes(Struct, frozen=True, kw_only=True):
    """The times of one workflow, or of one person."""

    name: str | None
    count: int
    p50_ms: int | None
    p90_ms: int | None
    max_ms: int | None


class SpanDocument(Struct, frozen=True, kw_only=True):
    """The number of decisions in a span of time; `to_ms` is null for the last span, which has no end."""

    from_ms: int
    to_ms: int | None
    count: int


class StatsDocument(Struct, frozen=True, kw_only=True, rename={"open_": "open"}):
    """The outcomes of requests since an instant, and the open requests now.

    `partial` says that the figures cover only the newest decisions.
    """

    since: str
    at: str
    open_: OpenDocument
    outcomes: dict[Outcome, int]
    deadlines: int
    times: TimesDocument
    workflows: list[NamedTimes]
    people: list[NamedTimes]
    spans: list[SpanDocument]
    partial: bool


def stats_document(found: Stats) -> StatsDocument:
    """Return the statistics."""
    figures, oldest = found.figures, found.oldest
    return StatsDocument(
        since=iso(found.since),
        at=iso(found.now),
        open_=OpenDocument(
            count=found.open,
            oldest=None if oldest is None else OldestDocument(id=oldest.id, asked_at=iso(oldest.created_at)),
        ),
        outcomes=figures.outcomes,
        deadlines=figures.deadlines,
        times=figures.times,
        workflows=[_named(one) for one in figures.workflows],
        people=[_named(one) for one in figures.people],
        spans=[
            SpanDocument(from_ms=start, to_ms=end, count=count)
            for start, end, count in zip((0, *BOUNDS_MS), (*BOUNDS_MS, None), figures.spans, strict=True)
        ],
        partial=found.partial,
    )


def _named(one: Named) -> NamedTimes:
    """Return the times of one workflow or person."""
    return NamedTimes(name=one.name, **msgspec.structs.asdict(one.times))
