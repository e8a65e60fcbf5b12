"""The history page, over HTTP."""

from __future__ import annotations

import csv
import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from hitl_cli.errors import Unreachable
from tests.cli.past import DAY_MS, HOUR_MS, MINUTE_MS, Past
from tests.conftest import PATIENCE_S, Hitl
from tests.gateway.conftest import begin_gateway
from tests.gateway.visiting import Visited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import GatewayProcess

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
MANY = 60


def fill(hitl: Hitl) -> None:
    """Have people answer in every way, one of them hostile."""
    with Past(hitl, 40 * DAY_MS) as past:
        past.ask("old:1", "Long ago?")
        past.approve("old:1", by="ops")
        past.now += 30 * DAY_MS
        for n in range(MANY):
            past.ask(f"many-{n}:1", f"Number {n}?")
            past.approve(f"many-{n}:1", by="ops")
        past.now += 5 * DAY_MS
        past.ask("release:2.1", "Ship 1.4.2?", choices=["ship", "hold"])
        past.now += 12 * MINUTE_MS
        past.approve("release:2.1", by="lead", data="ship", comment="after lunch", choice="ship")
        past.ask("budget:1", "More budget?")
        past.reject("budget:1", by="lead", reason="over budget")
        past.ask("gone:1", "Anybody?", life_ms=HOUR_MS)
        past.ask("quiet:1", "Nobody against?", life_ms=HOUR_MS, on_deadline="approve")
        past.now += 2 * HOUR_MS
        past.plain("other:1")
        past.approve("other:1", by=None, data={"amount": 3})
        past.ask(f"{SCRIPT}:1", SCRIPT)
        past.reject(f"{SCRIPT}:1", by=IMAGE, reason=SCRIPT, via=IMAGE, comment=IMAGE)
        past.ask(f"{SCRIPT}:2", IMAGE)
        past.approve(f"{SCRIPT}:2", by=SCRIPT, data={SCRIPT: [IMAGE]}, comment=SCRIPT, choice=IMAGE)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    hitl = Hitl(tmp_path_factory.mktemp("history"))
    fill(hitl)
    hitl.ok("pending")  # settles what is past its deadline, before others could be at it
    gateway = begin_gateway(hitl)
    yield gateway
    gateway.clear_away()


def asked_in(gateway: GatewayProcess, address: str) -> list[str]:
    """Return the ids of the requests that a page lists."""
    reply = gateway.get(address)
    assert reply.status == 200, reply.words
    return [link.removeprefix("/r/") for link in reply.links if link.startswith("/r/")]


def test_what_was_answered_is_told_with_who_when_why_and_how_long_it_took(filled: GatewayProcess) -> None:
    reply = filled.get("/history")
    assert "Ship 1.4.2? release approved lead via web 4d 23h ago after 12m ship after lunch" in reply.words
    assert "More budget? budget rejected lead via web" in reply.words
    assert "over budget" in reply.words
    assert "Anybody? gone expired nobody" in reply.words
    assert "Nobody against? quiet approved by its deadline nobody" in reply.words
    assert "other:1 other approved another tool 4d 21h ago after 0s amount 3" in reply.words
    assert {"/r/release:2.1", "/runs/release"} <= set(reply.links)
    order = [reply.words.index(asked) for asked in ("other:1", "Anybody?", "More budget?", "Ship", "Number")]
    assert order == sorted(order)


def test_each_decision_is_on_one_page_of_the_list(filled: GatewayProcess) -> None:
    seen = []
    address = "/history"
    while address:
        seen += asked_in(filled, address)
        address = next((link for link in filled.get(address).links if "after=" in link), "")
    assert len(seen) == len(set(seen)) == MANY + 8
    assert seen[-2:] == ["many-0:1", "old:1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("by=lead", ["budget:1", "release:2.1"]),
        ("by=nobody", []),
        ("outcome=expired", ["gone:1"]),
        ("outcome=rejected&by=lead", ["budget:1"]),
        ("workflow=rel*", ["release:2.1"]),
        ("workflow=old", ["old:1"]),
        ("since=6d&workflow=*e*&by=lead", ["budget:1", "release:2.1"]),
        ("since=1d", []),
    ],
)
def test_the_history_is_narrowed_as_it_is_on_the_command_line(
    filled: GatewayProcess, query: str, found: list[str]
) -> None:
    assert asked_in(filled, f"/history?{query}") == found


def test_the_filters_stay_on_the_next_page(filled: GatewayProcess) -> None:
    following = next(link for link in filled.get("/history?by=ops&since=90d").links if "after=" in link)
    assert following.startswith("/history?by=ops&since=90d&after=")
    reply = filled.get(following)
    assert 'value="ops"' in reply.text
    assert "/history?by=ops&since=90d" in reply.links


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("outcome=maybe", "Invalid outcome 'maybe': use one of approved,"),
        ("since=yesterday", "'yesterday' is not a duration"),
        ("since=-1d", "is not a duration"),
        ("after=1", "Invalid cursor"),
        (f"since={quote(SCRIPT)}", "is not a duration"),
    ],
)
def test_an_odd_filter_is_refused(filled: GatewayProcess, query: str, said: str) -> None:
    reply = filled.get(f"/history?{query}")
    assert reply.status == 400
    assert said in reply.words
    assert "<script>a" not in reply.text


def test_what_is_hostile_in_an_answer_is_shown_and_does_nothing(filled: GatewayProcess) -> None:
    for query in ("", f"?by={quote(SCRIPT)}", f"?workflow={quote(SCRIPT)}", f"?by={quote(chr(34) + IMAGE)}"):
        reply = filled.get(f"/history{query}")
        assert reply.status == 200
        assert "<script>a" not in reply.text
        assert "<img src=x" not in reply.text
        assert 'value=""&lt;' not in reply.text


def test_the_history_can_be_downloaded_whole_and_narrowed(filled: GatewayProcess) -> None:
    links = [link for link in filled.get("/history?by=lead").links if "history." in link]
    assert links == [f"/history.{kind}?by=lead" for kind in ("csv", "excel.csv", "ndjson")]
    assert filled.get(links[1]).text == "\ufeff" + filled.get(links[0]).text
    reply = filled.get(links[0])
    assert reply.headers["Content-Disposition"] == 'attachment; filename="history.csv"'
    rows = list(csv.DictReader(reply.text.splitlines()))
    assert [(row["id"], row["reason"]) for row in rows] == [("budget:1", "over budget"), ("release:2.1", "")]
    every = [json.loads(line) for line in filled.get("/history.ndjson").text.splitlines()]
    assert len(every) == MANY + 8
    assert every[-1]["id"] == "old:1"
    assert filled.get("/history.csv?outcome=maybe").status == 400
    assert filled.get("/history.xls").status == 404


def test_an_empty_history_says_so(gateway: GatewayProcess) -> None:
    assert "No decisions yet" in gateway.get("/history").words
    assert "No matches" in gateway.get("/history?by=me").words


def test_a_file_that_cannot_be_read_to_its_end_is_broken_off(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(
        _client: object, _wanted: object, *, limit: int, after: str | None = None, **_: object
    ) -> object:
        if after is not None:
            raise Unreachable("the server is away.")
        return [], str(limit)

    monkeypatch.setattr("hitl_cli.inbox.history.page_of_history", fails)
    visited = Visited(hitl)
    try:
        connection = http.client.HTTPConnection(urlsplit(visited.address).netloc, timeout=PATIENCE_S)
        connection.request("GET", "/history.csv")
        answer = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
        assert b"HTTP/" not in broken.value.partial
        connection.close()
    finally:
        visited.stop()
