"""The figures of `hitl stats`, from recorded decisions."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.client.wire import Vote
from hitl_cli.inbox.history import HistoryEntry
from hitl_cli.inbox.stats import BOUNDS_MS, Named, Times, figures, percentile, spans, times

durations = st.lists(st.integers(0, 2**40), min_size=1, max_size=200)


def entry(**told: Any) -> HistoryEntry:
    """Return what came of a request that was asked at 1000."""
    usual = {"kind": "decision", "id": "r:1", "workflow": "r", "function": "deploy", "asked": None}
    at = {"asked_at": 1_000, "outcome": "approved", "at": 1_000 + told.get("waited_ms", 0), "waited_ms": 0}
    return HistoryEntry(**(usual | at | told))


@given(durations, st.integers(1, 100))
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(values: list[int], percent: int) -> None:
    enough = [v for v in values if sum(other <= v for other in values) * 100 >= percent * len(values)]

    assert percentile(sorted(values), percent) == min(enough)


@given(durations)
def test_times_are_of_all_values_in_whatever_order(values: list[int]) -> None:
    found = times(values)

    assert found == times(values[::-1])
    assert (found.count, found.max_ms) == (len(values), max(values))
    assert found.p50_ms in values
    assert found.p90_ms in values
    assert (found.p50_ms or 0) <= (found.p90_ms or 0) <= max(values)


def test_there_are_no_times_of_nothing() -> None:
    assert times([]) == Times(count=0, p50_ms=None, p90_ms=None, max_ms=None)


@given(durations)
def test_every_answer_is_in_one_span(values: list[int]) -> None:
    starts, ends = (0, *BOUNDS_MS), (*BOUNDS_MS, 2**62)

    found = spans(values)

    assert sum(found) == len(values)
    assert list(found) == [
        sum(start <= v < end for v in values) for start, end in zip(starts, ends, strict=True)
    ]


def test_only_what_people_answered_counts_for_how_long_they_take() -> None:
    found = figures(
        [
            entry(waited_ms=10, by="ada"),
            entry(waited_ms=30, by="bob", outcome="rejected", function="pay"),
            entry(waited_ms=50),
            entry(waited_ms=1_000, outcome="expired", deadline=True),
            entry(waited_ms=1_000, outcome="approved", deadline=True),
            entry(waited_ms=1_000, outcome="canceled", by="ada"),
        ]
    )

    assert found.outcomes == {"approved": 3, "rejected": 1, "expired": 1, "canceled": 1}
    assert found.deadlines == 2
    assert found.times == Times(count=3, p50_ms=30, p90_ms=50, max_ms=50)
    assert found.workflows == (
        Named(name="deploy", times=times([10, 50])),
        Named(name="pay", times=times([30])),
    )
    assert found.people == (
        Named(name="ada", times=times([10])),
        Named(name="bob", times=times([30])),
        Named(name=None, times=times([50])),
    )
    assert found.spans == (3, *[0] * len(BOUNDS_MS))


def test_where_several_approve_each_of_them_took_their_own_time() -> None:
    votes = (Vote(by="ada", verdict="approve", at=1_007), Vote(by="bob", verdict="approve", at=1_020))

    found = figures([entry(waited_ms=20, by="bob", votes=votes)])

    assert found.times == times([20])
    assert found.people == (Named(name="ada", times=times([7])), Named(name="bob", times=times([20])))


@given(st.lists(st.sampled_from(["ada", "bob", None]), max_size=20))
def test_what_each_person_answered_adds_up(people: list[str | None]) -> None:
    found = figures(entry(by=by) for by in people)

    assert sum(one.times.count for one in found.people) == found.times.count == len(people)
    assert {one.name: one.times.count for one in found.people} == {by: people.count(by) for by in people}
    counts = [one.times.count for one in found.people]
    assert counts == sorted(counts, reverse=True)
