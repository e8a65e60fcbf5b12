"""`hitl stats`: how long people take, and how they decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.past import DAY_MS, HOUR_MS, MINUTE_MS, Past
from tests.cli.test_terminal import COLOR, on_terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl


def a_month_of_work(hitl: Hitl) -> None:
    """Record answers of two people, an expiry, a cancellation, and what still waits."""
    with Past(hitl, 20 * DAY_MS) as past:
        past.ask("old:1", "Old?")
        past.now += 10 * DAY_MS
        past.approve("old:1", "bob")
        for n in range(10):
            past.ask(f"r{n}:1", "Ship?")
            past.now += (n + 1) * MINUTE_MS
            past.approve(f"r{n}:1", "ada")
        past.plain("plain:1")
        past.ask("late:1", "Late?", life_ms=DAY_MS)
        past.ask("late:2", "Late?", life_ms=DAY_MS, on_deadline="approve")
        past.now += HOUR_MS
        past.reject("plain:1", "bob")
        past.plain("gone:1")
        past.reject("gone:1", "ada", state="rejected_canceled")
        past.now += DAY_MS
        past.ask("open:1", "Still?")
        past.ask("open:2", "And this?")


def test_the_figures_are_of_what_people_answered(hitl: Hitl) -> None:
    a_month_of_work(hitl)

    found = hitl.json("stats")

    assert list(found) == [
        *("since", "at", "open", "outcomes", "deadlines", "times", "workflows", "people", "spans", "partial"),
    ]
    assert found["outcomes"] == {"approved": 12, "rejected": 1, "expired": 1, "canceled": 1}
    assert found["deadlines"] == 2
    assert found["open"]["count"] == 2
    assert found["open"]["oldest"]["id"] == "open:1"
    assert found["times"] == {
        "count": 12,
        "p50_ms": 6 * MINUTE_MS,
        "p90_ms": HOUR_MS,
        "max_ms": 10 * DAY_MS,
    }
    assert [(one["name"], one["count"]) for one in found["workflows"]] == [("deploy", 11), (None, 1)]
    assert [(one["name"], one["count"], one["max_ms"]) for one in found["people"]] == [
        ("ada", 10, 10 * MINUTE_MS),
        ("bob", 2, 10 * DAY_MS),
    ]
    assert found["spans"][1] == {"from_ms": MINUTE_MS, "to_ms": 5 * MINUTE_MS, "count": 4}
    assert found["spans"][-1]["to_ms"] is None
    assert sum(span["count"] for span in found["spans"]) == 12


def test_only_what_was_answered_since_counts(hitl: Hitl) -> None:
    a_month_of_work(hitl)

    assert hitl.json("stats", "--since", "9d12h")["times"]["count"] == 0
    assert hitl.json("stats", "--since", "9d12h")["outcomes"]["expired"] == 1
    assert hitl.json("stats", "--since", "1h")["outcomes"]["expired"] == 0
    assert hitl.json("stats", "--since", "1h")["open"]["count"] == 2


def test_in_a_pipe_it_is_plain_text(hitl: Hitl) -> None:
    a_month_of_work(hitl)

    shown = hitl.ok("stats")

    assert shown.isascii()
    assert "\x1b" not in shown
    lines = [line.split() for line in shown.splitlines()]
    assert shown.startswith("In the last 30d: 12 approved, 1 rejected, 1 expired, 1 canceled")
    assert "Open now: 2, the oldest for " in shown
    assert ["all", "12", "6m", "1h", "10d"] in lines
    assert ["person", "ada", "10", "5m", "9m", "10m"] in lines
    assert ["under", "15m", "6", "#" * 40] in lines
    assert ["under", "5m", "4", "#" * 27] in lines


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal_the_chart_is_drawn_to_scale(hitl: Hitl, columns: int) -> None:
    a_month_of_work(hitl)

    shown = on_terminal(hitl, columns, "stats")

    assert "\x1b[36m" in shown
    bars = [line.rstrip() for line in COLOR.sub("", shown).splitlines() if "█" in line]
    assert [line.count("█") for line in bars] == [26, 40, 6, 6]
    if columns >= 80:
        assert all(len(line) <= columns for line in bars)


def test_of_many_people_those_with_the_most_answers_are_shown(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for n in range(12):
            for again in range(2 if n == 7 else 1):
                past.plain(f"r{n}:{again}")
                past.approve(f"r{n}:{again}", f"person-{n:02}")

    shown = hitl.ok("stats")

    assert "person    person-07" in shown
    assert "person-11" not in shown
    assert "and 2 more" in shown
    assert len(hitl.json("stats")["people"]) == 12


def test_where_nothing_was_answered_there_are_no_times(hitl: Hitl) -> None:
    hitl.create()
    assert hitl.ok("stats") == (
        "In the last 30d: 0 approved, 0 rejected, 0 expired, 0 canceled\nOpen now: 0\n"
    )
    found = hitl.json("stats")
    assert found["times"] == {"count": 0, "p50_ms": None, "p90_ms": None, "max_ms": None}
    assert found["open"] == {"count": 0, "oldest": None}


@pytest.mark.parametrize("since", ["7x", "", "0s", "-1d", "1e5d"])
def test_a_duration_that_makes_no_sense_is_refused(hitl: Hitl, since: str) -> None:
    hitl.fails(2, "stats", "--since", since, code="bad-duration")
