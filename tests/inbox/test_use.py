"""An approval that may be used once: the first who uses it is on record, and a second use is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.errors import HitlError, NotCovered, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question
from tests.acting import approval, decide, rejection
from tests.conftest import Hitl, wait_until

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

HOUR_MS = 3_600_000


def ask(client: Client, id: str = "ask-a", by: str = "agent", **options: Any) -> Inbox:
    asked: dict[str, Any] = {"prompt": "Run it?", "once": True} | options
    inbox = Inbox(client, Actor(person=by, via="test", may=frozenset({"ask"})))
    inbox.ask(Question(**asked), id=id, deadline_ms=HOUR_MS)
    return inbox


def refused(inbox: Inbox, id: str = "ask-a", key: str = "second") -> HitlError:
    with pytest.raises(HitlError) as error:
        inbox.consume(id, key)
    return error.value


def test_the_first_use_counts_and_the_second_is_told_who_was_first(client: Client) -> None:
    inbox = ask(client)
    assert refused(inbox).code == "not-decided"
    decide(client, "ask-a", approval(by="ada", via="test"))
    use = inbox.consume("ask-a", "first")
    assert (use.by, use.via) == ("agent", "test")
    assert inbox.consume("ask-a", "first") == use
    error = refused(inbox)
    assert isinstance(error, NotCovered)
    assert (error.code, error.at) == ("approval-used", use.at)
    assert "agent" in str(error)
    reader = Inbox(client, Actor(person="ada", via="test"))
    assert reader.show("ask-a").used == use
    assert [entry.kind for entry in reader.story("ask-a", EVERYTHING)] == ["decision", "use"]


def test_only_the_asker_with_a_token_to_ask_uses_an_approval(client: Client) -> None:
    ask(client)
    decide(client, "ask-a", approval(by="ada", via="test"))
    other = Inbox(client, Actor(person="other", via="test", may=frozenset({"ask"})))
    with pytest.raises(NotFound):
        other.consume("ask-a", "k")
    reader = Inbox(client, Actor(person="other", via="test", may=frozenset({"ask", "read"})))
    assert refused(reader).code == "not-asker"
    assert reader.show("ask-a").used is None
    with pytest.raises(HitlError) as error:
        Inbox(client, Actor(person="ada", via="test", may=frozenset({"read", "decide"}))).consume(
            "ask-a", "k"
        )
    assert error.value.code == "permission-missing"


@pytest.mark.parametrize("options", [{}, {"valid_for": 1}, {"once": False}])
def test_what_is_no_approval_for_now_and_once_is_not_used(client: Client, options: dict[str, Any]) -> None:
    inbox = ask(client, **options)
    decide(client, "ask-a", approval(by="ada", via="test") if options else rejection(by="ada", via="test"))
    decided_at = client.now()
    wait_until(lambda: client.now() > decided_at + 1)
    codes = {None: "not-covered", 1: "approval-expired"}
    code = "not-once" if "once" in options else codes[options.get("valid_for")]
    assert refused(inbox).code == code
    assert inbox.show("ask-a").used is None


def test_of_many_at_once_one_uses_it(hitl: Hitl) -> None:
    with connect(hitl.url) as client:
        ask(client)
        decide(client, "ask-a", approval(by="ada", via="test"))

    def use(number: int) -> bool:
        with connect(hitl.url) as client:
            try:
                Inbox(client, Actor(person="agent", via="test")).consume("ask-a", f"k{number}")
            except NotCovered:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1
