"""Statistics of decisions: outcomes, and how long people take."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from hitl_cli.client.wire import Promise
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.inbox.history import HistoryFilter, decisions
from hitl_cli.inbox.pending import blocking_pages
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.question import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.history import HistoryEntry
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome.__value__)

MINUTE_MS, HOUR_MS, DAY_MS = UNITS_MS["m"], UNITS_MS["h"], UNITS_MS["d"]
BOUNDS_MS = (
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    HOUR_MS,
    4 * HOUR_MS,
    DAY_MS,
    3 * DAY_MS,
    7 * DAY_MS,
    30 * DAY_MS,
)
"""The bounds of the histogram's spans; the last one has no end."""


class Times(Struct, frozen=True, kw_only=True):
    """How long decisions took, in ms; see `percentile`. None if there were none."""

    count: int
    p50_ms: int | None
    p90_ms: int | None
    max_ms: int | None


class Named(Struct, frozen=True, kw_only=True):
    """The times of one workflow's requests, or of one person. `name` is None if it is unknown."""

    name: str | None
    times: Times


class Day(Struct, frozen=True, kw_only=True):
    """The decisions of one day in UTC, which begins at `start` (ms since the epoch)."""

    start: int
    outcomes: dict[Outcome, int]


class Figures(Struct, frozen=True, kw_only=True):
    """The outcomes of requests, and how long people took to answer.

    Outcomes count all decisions; `deadlines` counts those made by a deadline. Times cover only people's
    answers, without deadlines and cancellations. A person's times are those of their decisions, or of their
    votes if several must approve. `spans` has the number of answers between each two of BOUNDS_MS; `days` are
    the days with a decision, oldest first.
    """

    outcomes: dict[Outcome, int]
    deadlines: int
    times: Times
    workflows: tuple[Named, ...]
    people: tuple[Named, ...]
    spans: tuple[int, ...]
    days: tuple[Day, ...]


class Stats(Struct, frozen=True, kw_only=True):
    """The figures since an instant, and the open requests now. Instants are ms since the epoch.

    `partial` says that not all were read: then the figures cover the newest decisions, and `open` is a
    minimum.
    """

    since: int
    now: int
    open: int
    oldest: Promise | None
    figures: Figures
    partial: bool = False


def stats(
    client: Client,
    since: int,
    most: int | None = None,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> Stats:
    """Return the figures of decisions since an instant (ms since the epoch), and the open requests now.

    Reads about `most` of each; all if it is None. With a `sight`, they cover what may be seen.
    """
    waiting, oldest = 0, None
    for every in blocking_pages(client):
        page = every if sight is None else sight.among(client, every)
        waiting += len(page)
        oldest = oldest or next(iter(page), None)
        if most is not None and waiting > most:
            break
    if oldest is not None and sight is not None:
        oldest = next(iter(sight.shown(client, [oldest])), None)
    entries = decisions(client, HistoryFilter(since=since), most, groups, sight)
    found = figures(islice(entries, most), groups)
    left = next(entries, None) is not None or (most is not None and waiting > most)
    return Stats(
        since=since,
        now=client.now(),
        open=waiting,
        oldest=oldest,
        figures=found,
        partial=left,
    )


def figures(entries: Iterable[HistoryEntry], groups: Groups = NO_GROUPS) -> Figures:
    """Return the statistics of decisions."""
    outcomes: Counter[Outcome | None] = Counter()
    deadlines = 0
    every: list[int] = []
    workflows: defaultdict[str | None, list[int]] = defaultdict(list)
    people: defaultdict[str | None, list[int]] = defaultdict(list)
    names: dict[str, str] = {}
    days: defaultdict[int, Counter[Outcome | None]] = defaultdict(Counter)
    for entry in entries:
        outcomes[entry.outcome] += 1
        days[entry.at // DAY_MS * DAY_MS][entry.outcome] += 1
        deadlines += entry.deadline
        if entry.deadline or entry.outcome == "canceled":
            continue
        every.append(entry.waited_ms)
        workflows[entry.function].append(entry.waited_ms)
        for person, took_ms in _answers(entry):
            name = None if person is None else names.setdefault(groups.key(person), groups.name(person))
            people[name].append(took_ms)
    return Figures(
        outcomes=_by_outcome(outcomes),
        deadlines=deadlines,
        times=times(every),
        workflows=_by_count(workflows),
        people=_by_count(people),
        spans=spans(every),
        days=tuple(Day(start=start, outcomes=_by_outcome(days[start])) for start in sorted(days)),
    )


def _by_outcome(counts: Counter[Outcome | None]) -> dict[Outcome, int]:
    """Return the number of decisions for each outcome, including zeros."""
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def _answers(entry: HistoryEntry) -> list[tuple[str | None, int]]:
    """Return the people who decided or voted, and how long each took."""
    if entry.votes:
        return [(vote.by, max(vote.at - entry.asked_at, 0)) for vote in entry.votes]
    return [(entry.by, entry.waited_ms)]


def _by_count(durations: Mapping[str | None, Sequence[int]]) -> tuple[Named, ...]:
    """Return the times by name, those with the most decisions first."""
    named = [Named(name=name, times=times(took)) for name, took in durations.items()]
    return tuple(sorted(named, key=lambda one: (-one.times.count, one.name is None, one.name or "")))


def times(durations: Sequence[int]) -> Times:
    """Return the statistics of durations in ms, given in any order."""
    ordered = sorted(durations)
    if not ordered:
        return Times(count=0, p50_ms=None, p90_ms=None, max_ms=None)
    return Times(
        count=len(ordered),
        p50_ms=percentile(ordered, 50),
        p90_ms=percentile(ordered, 90),
        max_ms=ordered[-1],
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the smallest of the sorted values that at least `percent` % of them do not exceed.

    That is the nearest-rank percentile: always one of the values, the ⌈percent / 100 · n⌉-th. There must be
    a value, and `percent` must be from 1 to 100.
    """
    return ordered[-(-percent * len(ordered) // 100) - 1]


def spans(durations: Iterable[int]) -> tuple[int, ...]:
    """Return the number of durations (ms) in each span of BOUNDS_MS."""
    counts = Counter(bisect_right(BOUNDS_MS, took) for took in durations)
    return tuple(counts[n] for n in range(len(BOUNDS_MS) + 1))
