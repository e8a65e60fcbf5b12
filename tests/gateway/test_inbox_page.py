"""`/`: the open requests of a visitor, with search, filters and pages."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
import pytest

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import encode
from hitl_cli.gateway.pages.look import COUNTED, PAGE_SIZE
from hitl_cli.people.contacts import Directory
from hitl_cli.people.visibility import Visibility, VisibilitySettings
from hitl_cli.requests.question import Question
from tests.cli.requests import DAY_MS, put
from tests.conftest import Hitl
from tests.gateway.desk import Desk
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.desk import Document

SCRIPT_MAX = 30_000
STYLE_MAX = 30_000
"""Bytes: the pages are to be there at once, on any line."""

MANY = 120
"""Requests of more than two pages."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway on this machine, where `ada` acts, who is one of the group ops."""
    folder = tmp_path_factory.mktemp("inbox")
    (folder / "hitl.toml").write_text('[groups.ops]\nmembers = ["ada"]\n')
    shared = Desk(folder)
    yield shared
    shared.gateway.clear_away()


def listed(page: Document) -> list[str]:
    """Return the ids of the requests on a page, in order."""
    return [at["data-id"] or "" for at in page.all("li") if "data-id" in at]


def test_what_waits_for_me_is_what_i_may_answer(desk: Desk) -> None:
    desk.put("mine-1", Question(prompt="For me?", to=("ada",)))
    desk.put("mine-2", Question(prompt="For my group?", to=("group:ops",)))
    desk.put("mine-3", Question(prompt="For anybody?"))
    desk.put("mine-4", Question(prompt="For others?", to=("lead",)))
    desk.put("mine-5", Question(prompt="Not for who started it?", allow_self=False), by="ada")
    assert listed(desk.get("/?q=mine-")) == ["mine-1", "mine-2", "mine-3"]
    everything = desk.get("/?all=1&q=mine-")
    assert listed(everything) == ["mine-1", "mine-2", "mine-3", "mine-4", "mine-5"]
    assert "for lead" in everything.text


def test_a_request_is_listed_with_what_one_must_know_of_it(desk: Desk) -> None:
    question = Question(prompt="# Ship **1.4.2**?", priority="urgent", approvals=2)
    path = desk.put("known-run:1.1", question, by="ci", deadline_ms=3_600_000)
    desk.hitl.ok("approve", "known-run:1.1", "--as", "reviewer")
    page = desk.get("/?q=known-run")
    for text in ("Ship 1.4.2?", "from ci", "known-run", "ago", "(soon)", "1 of 2 approvals", "urgent"):
        assert text in page.text
    assert list(page.all("a", href=path))
    assert list(page.all("time", class_="near"))


def test_words_find_what_they_are_in(desk: Desk) -> None:
    desk.put("words-1", Question(prompt="Refund the LAMP?"), by="billing", tags={"team": "north"})
    desk.put("words-2", Question(prompt="Refund the chair?"), by="sales")
    for text, expected in (
        ("words- lamp", ["words-1"]),
        ("words- REFUND", ["words-1", "words-2"]),
        ("words- sales", ["words-2"]),
        ("words- north", ["words-1"]),
        ("words- lamp chair", []),
    ):
        assert listed(desk.get(f"/?q={text.replace(' ', '+')}")) == expected
    page = desk.get("/?q=words-+lamp+chair")
    assert "No matches" in page.text
    assert page.control("q")["value"] == "words- lamp chair"


def test_workflow_priority_and_order_narrow_it(desk: Desk) -> None:
    desk.put("kind-a:1", Question(prompt="First?", priority="low"), deadline_ms=DAY_MS)
    desk.put("kind-b:1", Question(prompt="Second?", priority="urgent"), deadline_ms=2 * DAY_MS)
    desk.put("kind-c:1", Question(prompt="Third?"), deadline_ms=DAY_MS // 2)
    assert listed(desk.get("/?workflow=kind-")) == ["kind-a:1", "kind-b:1", "kind-c:1"]
    assert listed(desk.get("/?workflow=kind-%3F&sort=due")) == ["kind-c:1", "kind-a:1", "kind-b:1"]
    assert listed(desk.get("/?workflow=kind-&sort=priority")) == ["kind-b:1", "kind-c:1", "kind-a:1"]
    page = desk.get("/?workflow=kind-&priority=urgent")
    assert listed(page) == ["kind-b:1"]
    assert [at["value"] for at in page.all("option") if "selected" in at] == ["urgent", "age"]


def test_many_are_shown_page_by_page(desk: Desk) -> None:
    create_many(desk)
    seen: list[str] = []
    path: str | None = "/?q=many-"
    pages = 0
    while path is not None:
        page = desk.get(path)
        pages += 1
        seen += listed(page)
        path = next((at["href"] for at in page.all("a", rel="next")), None)
    assert pages == 3
    assert seen == [f"many-{number:03}" for number in range(MANY)]
    assert "No requests on this page" in desk.get("/?q=many-&page=9").text
    assert "120 requests" in desk.get("/?q=many-&page=3").text
    assert "1 request" in desk.get("/?q=many-007").text.splitlines()


def create_many(desk: Desk, many: int = MANY, name: str = "many", question: Question | None = None) -> None:
    """Make requests, all at once."""
    with desk.hitl.client() as client:
        question = question or Question(prompt="One of many?")
        asked = {
            "timeoutAt": client.now() + DAY_MS,
            "param": encode(msgspec.to_builtins(question)),
            "tags": {"resonate:external": "true", **question.tags(key=None, workflow=None)},
        }
        client.call_many(
            [
                ProtocolRequest("promise.create", {"id": f"{name}-{number:03}", **asked})
                for number in range(many)
            ]
        )


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=99999999999999999999", "sort=x", "priority=x", "q=%00%ff", "all=2"],
)
def test_an_address_that_makes_no_sense_is_taken_as_it_can_be(desk: Desk, query: str) -> None:
    assert desk.get(f"/?{query}").status == 200


def test_it_says_how_many_there_are_as_far_as_it_has_read(start_desk: Desk) -> None:
    create_many(start_desk, PAGE_SIZE, "own", Question(prompt="Mine?", to=("ada",), allow_self=False))
    assert f"{PAGE_SIZE} requests" in start_desk.get("/").text.splitlines()
    create_many(start_desk, 1, "other", Question(prompt="Of others?", to=("lead",)))
    assert f"{PAGE_SIZE} requests" in start_desk.get("/").text.splitlines()
    assert f"{PAGE_SIZE + 1} requests" in start_desk.get("/?all=1").text
    create_many(start_desk, COUNTED - PAGE_SIZE, "more", Question(prompt="Of others?", to=("lead",)))
    assert f"More than {COUNTED} requests" in start_desk.get("/?all=1").text
    assert f"{COUNTED + 1} requests" in start_desk.get("/?all=1&page=5").text


def test_the_filters_are_open_where_something_was_chosen(desk: Desk) -> None:
    def open_at(path: str) -> list[bool]:
        return ["open" in at for at in desk.get(path).all("details", class_="find")]

    assert open_at("/") == open_at("/?all=1&page=2") == [False]
    assert open_at("/?q=x") == open_at("/?sort=due") == open_at("/?priority=low") == [True]


def test_what_is_decided_leaves(desk: Desk) -> None:
    path = desk.put("leaves-1", Question(prompt="Ship?"))
    assert listed(desk.get("/?q=leaves-1")) == ["leaves-1"]
    desk.taken(path, verdict="approve")
    assert listed(desk.get("/?q=leaves-1")) == []


def test_hostile_texts_are_shown_and_do_nothing(desk: Desk) -> None:
    hostile = "<script>alert(1)</script>\"'"
    question = Question(prompt=hostile, to=("ada", hostile))
    path = desk.put(f"evil{hostile}", question, by=hostile, tags={hostile: hostile})
    page = desk.get("/?all=1&q=evil%3Cscript%3E&workflow=%22%3E%3Cscript%3E")
    assert page.control("workflow")["value"] == '"><script>'
    page = desk.get("/?all=1&q=evil")
    assert listed(page) == [f"evil{hostile}"]
    assert list(page.all("a", href=path))
    assert len(re.findall("<script", page.source)) == 1


def test_an_empty_inbox_says_what_to_do(start_desk: Desk) -> None:
    assert "Nothing is waiting for you" in start_desk.get("/").text
    assert "hitl start" in start_desk.get("/?all=1").text


def test_what_is_left_is_said_of_what_one_looks_at(tmp_path: Path) -> None:
    hitl = Hitl(tmp_path)
    put(hitl, "mine-1", Question(prompt="Mine?", to=("ada",)))
    put(hitl, "theirs-1", Question(prompt="Theirs?", to=("lead",)))
    visibility = Visibility(settings=VisibilitySettings(default="assigned"))
    sees_all, sees_own = (
        Visited(hitl, person="ada", directory=directory)
        for directory in (Directory(), Directory(visibility=visibility))
    )
    try:
        for visited, look, said in (
            (sees_all, "all=0", "No more requests wait for you"),
            (sees_all, "q=mine", "No more requests for you match your filter"),
            (sees_all, "all=1", "1 more waits"),
            (sees_all, "all=1&q=mine", "No more requests match your filter"),
            (sees_own, "all=1", "No more requests that you may see wait"),
            (sees_own, "all=1&q=mine", "No more requests that you may see match your filter"),
        ):
            browser = Browser(visited.address)
            browser.get(f"/?{look}")
            assert f'id="waiting">{said}</span>' in browser.get("/r/mine-1").main
        empty = Browser(sees_own.address).get("/?all=1&q=nothing").main
        assert "No matches that you may see" in empty
    finally:
        sees_all.stop()
        sees_own.stop()


@pytest.fixture
def start_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway where nothing waits."""
    desk = Desk(tmp_path_factory.mktemp("empty"))
    yield desk
    desk.gateway.clear_away()


def test_the_script_and_the_style_sheet_are_small() -> None:
    static = files("hitl_cli.gateway") / "static"
    assert len((static / "hitl.js").read_bytes()) <= SCRIPT_MAX
    assert len((static / "hitl.css").read_bytes()) <= STYLE_MAX
