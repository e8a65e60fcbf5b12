"""Decisions that are made together are the decisions that are made one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.pool import ClientPool
from hitl_cli.errors import Conflict, NotAllowed, NotFound, Unreachable
from hitl_cli.gateway.decisions import Decisions
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.together import WantedDecision, decide_together
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from tests.inbox.requests import request

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

YES, NO = DecisionInput(verdict="approve"), DecisionInput(verdict="reject", reason="late")


def by(person: str, *may: Any) -> Actor:
    return Actor(person=person, via="test", may=frozenset(may or ("read", "decide")))


def test_each_decision_gets_its_own_answer(client: Client) -> None:
    for id in ("a", "b", "c"):
        request(client, id, to=("ada",))
    request(client, "form", form={"type": "integer"})
    request(client, "votes", approvals=2)
    request(client, "keyed", key="k")
    said = decide_together(
        client,
        [
            WantedDecision(by("ada"), "a", YES),
            WantedDecision(by("ada"), "a", YES),
            WantedDecision(by("ada"), "a", NO),
            WantedDecision(by("bob"), "b", YES),
            WantedDecision(by("ada", "read"), "b", YES),
            WantedDecision(by("ada"), "b", NO),
            WantedDecision(by("ada"), "form", YES),
            WantedDecision(
                by("ada"), "form", lambda item: DecisionInput(verdict="approve", data=len(item.id))
            ),
            WantedDecision(by("ada"), "votes", YES),
            WantedDecision(by("ada"), "k", YES),
            WantedDecision(by("ada"), "nothing", YES),
        ],
    )
    kinds = [type(one).__name__ if isinstance(one, Exception) else one and one.fresh for one in said]
    assert kinds == [
        *(True, False, Conflict.__name__),
        *(NotAllowed.__name__, NotAllowed.__name__, True),
        *("DoesNotFit", True),
        *(None, None, None),
    ]
    reader = Inbox(client, by("ada"))
    assert {item.id for item in reader.list()[0]} == {"c", "votes", "keyed"}
    [rejected, form] = (reader.find(id).promise for id in ("b", "form"))
    assert (rejected.state, form.state) == ("rejected", "resolved")


def test_a_crowd_decides_each_request_once(hitl: Hitl) -> None:
    ids = [f"q{n}" for n in range(60)]
    with hitl.client() as client:
        for id in ids:
            request(client, id)
        request(client, "keyed", key="k")
        request(client, "votes", approvals=2)

    async def main() -> list[Any]:
        pool = ClientPool(hitl.client)
        decisions = Decisions(hitl.client, pool)
        try:
            first = await decisions.decide(by("ada"), "k", YES)  # starts the thread
            assert first.promise.id == "keyed"
            assert not (await decisions.decide(by("ada"), "votes", YES)).settled
            assert (await decisions.decide(by("bob"), "votes", YES)).settled
            with pytest.raises(NotFound):
                await decisions.decide(by("ada"), "nothing", YES)
            both = [
                decisions.decide(by(name), id, said)
                for id in ids
                for name, said in (("ada", YES), ("bob", NO))
            ]
            return await asyncio.gather(*both, return_exceptions=True)
        finally:
            await asyncio.to_thread(decisions.close)
            await asyncio.to_thread(pool.close)

    said = asyncio.run(main())
    won = [one for one in said if not isinstance(one, BaseException)]
    assert len(won) == len(ids)
    assert {type(one) for one in said if isinstance(one, BaseException)} == {Conflict}
    with hitl.client() as client:
        for one in won:
            recorded = Inbox(client, by("ada")).find(one.promise.id).promise
            assert recorded.state == one.promise.state
            assert recorded.value == one.promise.value


def test_an_unreachable_server_is_an_error_for_each(hitl: Hitl) -> None:
    away = False

    def open_client() -> Any:
        client = hitl.client()
        real = client.call_many

        def call_many(requests: Any) -> Any:
            if away:
                raise Unreachable("it is away")
            return real(requests)

        client.call_many = call_many
        return client

    async def main() -> None:
        nonlocal away
        pool = ClientPool(open_client)
        decisions = Decisions(open_client, pool)
        with hitl.client() as client:
            request(client, "q")
        try:
            with pytest.raises(NotFound):
                await decisions.decide(by("ada"), "x", YES)
            away = True
            said = await asyncio.gather(
                *(decisions.decide(by("ada"), "q", YES) for _ in range(5)), return_exceptions=True
            )
            assert {type(one) for one in said} == {Unreachable}
            away = False
            assert (await decisions.decide(by("ada"), "q", YES)).fresh
        finally:
            await asyncio.to_thread(decisions.close)
            await asyncio.to_thread(pool.close)

    asyncio.run(main())
