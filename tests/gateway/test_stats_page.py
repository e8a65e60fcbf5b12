"""The page of figures, as it comes over HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.gateway.pages.stats import bars_of, rows
from hitl_cli.inbox.stats import stats
from tests.cli.past import DAY_MS, HOUR_MS, MINUTE_MS, Past
from tests.conftest import Hitl
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import GatewayProcess

SCRIPT = "<script>alert(1)</script>"


def fill(hitl: Hitl) -> None:
    """Have people answer on some days, and one request wait."""
    with Past(hitl, 20 * DAY_MS) as past:
        past.ask("waits:1", "Still?")
        past.ask(f"{SCRIPT}:1", "Hostile?")
        past.reject(f"{SCRIPT}:1", by=SCRIPT, reason=SCRIPT)
        past.now += 17 * DAY_MS
        for n in range(10):
            past.ask(f"p{n}:1", "Well?", life_ms=2 * DAY_MS)
        past.ask("late:1", "Too late?", life_ms=HOUR_MS)
        for n in range(9):
            past.now += MINUTE_MS
            past.approve(f"p{n}:1", by="ops" if n % 2 else "lead")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    hitl = Hitl(tmp_path_factory.mktemp("stats"))
    fill(hitl)
    gateway = begin_gateway(hitl)
    yield gateway
    gateway.clear_away()


@pytest.mark.only("file", "postgres", reason="hitl server fires deadlines by its own clock, amid the past")
def test_the_figures_are_told_in_words_and_drawn(filled: GatewayProcess) -> None:
    reply = filled.get("/stats?since=7d")
    assert "Open now 1 Approved 9 Rejected 0 Expired 2 Canceled 0" in reply.words
    assert "Oldest open request: waits:1 , asked 20d ago" in reply.words
    assert (
        "Of 9 decisions, half took at most 5m and nine in ten at most 9m . The longest took 9m."
        in reply.words
    )
    assert "under 5m 4" in reply.words
    assert "By person Person Decisions Median 90th percentile Longest lead 5 5m 9m 9m" in reply.words
    assert "deploy 9 5m 9m 9m" in reply.words
    assert len(re.findall(r'<rect class="approved"', reply.text)) in (1, 2)
    assert len(re.findall(r'<rect class="expired"', reply.text)) in (1, 2)
    assert re.search(r"20\d\d-\d\d-\d\d 9 0 ", reply.words) or re.search(
        r"20\d\d-\d\d-\d\d [1-8] 0 ", reply.words
    )
    assert "style=" not in reply.text


def test_the_figures_are_of_the_time_that_is_chosen(filled: GatewayProcess) -> None:
    assert "Rejected 1" in filled.get("/stats").words
    assert "<option selected>30d</option>" in filled.get("/stats").text
    reply = filled.get("/stats?since=1h")
    assert "No decisions in the last 1h" in reply.words
    assert "<option selected>1h</option>" in reply.text


@pytest.mark.parametrize(
    ("span", "said"),
    [("soon", "'soon' is not a duration"), ("0d", "is not a valid duration"), ("10000d", "too long")],
)
def test_an_odd_time_is_refused(filled: GatewayProcess, span: str, said: str) -> None:
    reply = filled.get(f"/stats?since={span}")
    assert reply.status == 400
    assert said in reply.words


def test_what_is_hostile_in_a_name_is_shown_and_does_nothing(filled: GatewayProcess) -> None:
    reply = filled.get("/stats")
    assert SCRIPT in reply.words or "&lt;script&gt;" in reply.text
    assert "<script>a" not in reply.text


def test_no_figures_are_a_page_too(gateway: GatewayProcess) -> None:
    assert "Open now 0 Approved 0" in gateway.get("/stats").words


def test_figures_of_more_than_is_looked_at_are_of_the_newest_and_say_so(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for n in range(6):
            past.plain(f"p{n}")
            past.approve(f"p{n}", by="lead" if n < 3 else "ops")
    with hitl.client() as client:
        some = stats(client, 0, most=3)
        assert some.partial
        assert [(one.name, one.times.count) for one in some.figures.people] == [("ops", 3)]
        every = stats(client, 0, most=6)
        assert (every.partial, every.figures.times.count) == (False, 6)


def test_the_parts_of_a_column_stand_on_each_other() -> None:
    first, second = bars_of({"approved": 3, "rejected": 0, "expired": 1, "canceled": 0}, 2, 8)
    assert (first.outcome, first.x, first.y, first.height) == ("approved", 2, 62.5, 37.5)
    assert (second.outcome, second.y, second.height) == ("expired", 50, 12.5)


def test_the_rows_end_with_the_longest_answer() -> None:
    shown = [(row.name, row.count, row.share) for row in rows([1, 0, 4, 0, 0, 0, 0, 0, 0, 0])]
    assert shown == [("under 1m", 1, 25), ("under 5m", 0, 0), ("under 15m", 4, 100)]
    assert rows([0] * 10) == []
