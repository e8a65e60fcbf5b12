"""`hitl history` and `hitl stats` over HTTP: the client sorts what the server cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.inbox.history import HistoryFilter, history, story
from hitl_cli.inbox.stats import stats
from tests.cli.past import DAY_MS, MINUTE_MS, Past
from tests.server.conftest import stand_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served


@pytest.mark.parametrize("plain", [False, True])
def test_over_http_the_same_is_told_whether_the_server_sorts_or_not(
    hitl: Hitl, serve: Callable[..., Served], plain: bool
) -> None:
    with Past(hitl, DAY_MS) as past:
        for n, tags in enumerate(({"resonate:external": "true"}, {"resonate:scope": "global"})):
            past.plain(f"r{n}:1", tags={"resonate:origin": f"r{n}", **tags})
            past.now += MINUTE_MS
            past.approve(f"r{n}:1")
        past.ask("two:1", "Pay?", approvals=2, key="pay-7")
        past.ask("no:1", "No?")
        past.now += MINUTE_MS
        past.reject("no:1", "bob")
        past.ask("late:1", "Late?", life_ms=MINUTE_MS)
    for who in ("bob", "eve"):
        hitl.ok("approve", "two:1", "--as", who)
    with hitl.client() as file, connect(stand_in(hitl) if plain else serve().url) as server:
        for wanted in (
            HistoryFilter(),
            HistoryFilter(since=past.now),
            HistoryFilter(outcome="rejected"),
            HistoryFilter(by="bob"),
        ):
            assert history(server, wanted) == history(file, wanted), wanted
        assert history(server, limit=2) == history(file, limit=2)
        for name in ("two", "two:1", "pay-7", "r0"):
            assert story(server, name) == story(file, name), name
        told, _ = history(server)
        assert [entry.id for entry in told] == ["two:1", "late:1", "no:1", "r1:1", "r0:1"]
        assert stats(server, 0).figures == stats(file, 0).figures
