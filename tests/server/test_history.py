"""`hitl history` and `hitl stats` of a server that is no file: the protocol alone tells them as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.past import DAY_MS, MINUTE_MS, Past

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served


def test_over_http_the_same_is_told_by_searches_of_the_protocol_alone(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    with Past(hitl, DAY_MS) as past:
        for n, tags in enumerate(({"resonate:external": "true"}, {"resonate:scope": "global"})):
            past.plain(f"r{n}:1", tags=tags)
            past.now += MINUTE_MS
            past.approve(f"r{n}:1")
        past.ask("two:1", "Pay?", approvals=2, key="pay-7")
        past.ask("no:1", "No?")
        past.now += MINUTE_MS
        past.reject("no:1", "bob")
        past.ask("late:1", "Late?", life_ms=MINUTE_MS)
    for who in ("bob", "eve"):
        hitl.ok("approve", "two:1", "--as", who)
    url = serve().url

    for args in (
        [],
        ["--since", "1h"],
        ["--outcome", "rejected"],
        ["two:1"],
        ["pay-7"],
        ["--by", "bob", "-n", "1"],
    ):
        assert hitl.json("history", *args, "-S", url) == hitl.json("history", *args), args
    assert [entry["id"] for entry in hitl.json("history", "-S", url)] == [
        "two:1",
        "late:1",
        "no:1",
        "r1:1",
        "r0:1",
    ]
    assert hitl.json("stats", "-S", url)["outcomes"] == hitl.json("stats")["outcomes"]
