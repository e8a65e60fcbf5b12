"""Lists that are read a page at a time, from our engine and from a server that knows no order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import Capabilities
from hitl_cli.errors import BadInput
from hitl_cli.inbox.history import HistoryFilter, page_of_history
from hitl_cli.inbox.pending import RequestFilter, page_of_pending
from hitl_cli.runs import Runs
from tests.cli.past import DAY_MS, MINUTE_MS, Past
from tests.conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.pending import Sort
    from tests.conftest import Hitl


@pytest.fixture
def past(hitl: Hitl) -> Iterator[Past]:
    with Past(hitl, DAY_MS) as past:
        yield past


@pytest.fixture(params=["ours", "plain"])
def client(past: Past, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client, or one that uses what every server's searches know, and no more."""
    if request.param == "plain":
        monkeypatch.setattr(type(past.client), "capabilities", Capabilities())
    return past.client


def ids_of(page: Callable[..., tuple[Sequence[Any], str | None]], between: Callable[[], object]) -> list[str]:
    """Return the ids of a list of which two are read at a time, with something done after each page."""
    found, after = page(limit=2)
    ids = [each.id for each in found]
    while after is not None:
        between()
        found, after = page(limit=2, after=after)
        ids += [each.id for each in found]
    return ids


@pytest.mark.parametrize("sort", ["age", "due", "priority"])
def test_what_waits_goes_on_whatever_of_it_is_answered(past: Past, client: Client, sort: Sort) -> None:
    for n in range(7):
        past.ask(f"q{n}", "?", life_ms=2 * DAY_MS + n)
    left = iter(range(7))

    def answer_two() -> None:
        past.now += MINUTE_MS
        for _ in range(2):
            past.approve(f"q{next(left)}")

    assert ids_of(partial(page_of_pending, client, sort=sort), answer_two) == [f"q{n}" for n in range(7)]


def test_the_history_and_the_runs_go_on_whatever_comes_meanwhile(past: Past, client: Client) -> None:
    for n in range(5):
        past.run(f"r{n}")
        past.plain(f"q{n}")
        past.now += MINUTE_MS
        past.approve(f"q{n}")
    more = iter(range(100))

    def come() -> None:
        n = next(more)
        past.run(f"new-r{n}")
        past.plain(f"new-q{n}")
        past.approve(f"new-q{n}")

    assert ids_of(partial(page_of_history, client), come) == [f"q{n}" for n in reversed(range(5))]
    every = ids_of(Runs(client, NOBODY).page, come)
    assert [id for id in every if not id.startswith("new")] == [f"r{n}" for n in reversed(range(5))]


def test_of_few_among_many_a_page_is_read_in_bounds(past: Past, client: Client) -> None:
    for n in range(60):
        past.plain(f"q{n}")
    past.now += 1
    past.plain("last")
    found, after = page_of_pending(client, RequestFilter(workflow="last"), limit=1)
    assert (found, after is not None) == ([], True)
    [waiting], _ = page_of_pending(client, RequestFilter(workflow="last"), limit=1, after=after)
    assert waiting.id == "last"


def test_a_cursor_that_is_none_is_refused(past: Past, client: Client) -> None:
    for n in range(3):
        past.plain(f"q{n}")
    _, after = page_of_pending(client, limit=1)
    for odd in ("1", "x", "A" * 9_000, after):
        with pytest.raises(BadInput) as refused:
            page_of_history(client, HistoryFilter(), limit=1, after=odd)
        assert refused.value.code == "bad-cursor"
