"""A request with all its votes is decided, although the last voter's process died before it settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import as_promise, get_promise
from hitl_cli.client.wire import Audit, Vote
from hitl_cli.inbox.votes import create_request
from hitl_cli.requests.question import Question
from tests.cli.requests import promise_now, put
from tests.conftest import wait_until
from tests.gateway.conftest import start_gateway

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

__all__ = ["start_gateway"]


def vote_and_die(hitl: Hitl, id: str, person: str) -> None:
    """Cast a vote, and do nothing of what comes after."""
    with hitl.client() as client:
        request = get_promise(client, id)
        assert request is not None
        vote = Vote(by=person, verdict="approve", at=client.now(), data=True)
        audit = Audit(id=person, by=person, via="test", at=vote.at)
        as_promise(client.call_many([create_request(request, vote, audit, 1)])[0])


def test_a_worker_settles_it_by_itself(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    vote_and_die(hitl, "a", "x")
    vote_and_die(hitl, "a", "y")
    assert promise_now(hitl, "a")["state"] == "pending"
    hitl.worker()
    wait_until(lambda: promise_now(hitl, "a")["state"] == "resolved")
    assert promise_now(hitl, "a")["value"]["headers"]["hitl:by"] == "y"


def test_a_gateway_settles_it_by_itself(hitl: Hitl, start_gateway: StartGateway) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    vote_and_die(hitl, "a", "x")
    vote_and_die(hitl, "a", "y")
    start_gateway()
    wait_until(lambda: promise_now(hitl, "a")["state"] == "resolved")
    assert promise_now(hitl, "a")["value"]["headers"]["hitl:by"] == "y"


@pytest.mark.parametrize("look", [["pending"], ["show", "a"], ["pending", "--mine", "--json"], ["stats"]])
def test_a_look_settles_nothing(hitl: Hitl, look: list[str]) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    vote_and_die(hitl, "a", "x")
    vote_and_die(hitl, "a", "y")
    hitl.ok(*look)
    assert promise_now(hitl, "a")["state"] == "pending"
    assert [item["votes"] for item in hitl.json("pending")] == [2]


def test_the_next_vote_settles_it_and_is_told_so(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    vote_and_die(hitl, "a", "x")
    vote_and_die(hitl, "a", "y")
    assert "approved by y" in hitl.fails(4, "reject", "a", "--as", "z", code="already-decided")
    assert promise_now(hitl, "a")["state"] == "resolved"
