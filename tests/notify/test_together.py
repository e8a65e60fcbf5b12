"""Messages that are sent at the same time are recorded together; one alone at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from hitl_cli.notify import deliver
from hitl_cli.notify.deliver import Notifier
from hitl_cli.notify.messages import DecisionMessage, DeliveryFailed
from hitl_cli.notify.status import DeliveryAttempt
from hitl_cli.people.contacts import Address, Directory, NotificationSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitl_cli.client.protocol import Client


def no_client() -> Client:
    raise AssertionError


async def composed() -> DecisionMessage:
    return DecisionMessage(key="k", request="r", body=b"{}")


@pytest.fixture(autouse=True)
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for others for good."""
    monkeypatch.setattr(deliver, "TOGETHER_S", 3_600.0)


async def attempt(notifier: Notifier, sending: Callable[[], Awaitable[None]]) -> str:
    async def send(_message: DecisionMessage, _to: Address) -> None:
        await sending()

    tried = partial(DeliveryAttempt, who="ann", at=0)
    return (await notifier.attempt(tried, composed(), Address("webhook", "http://a/"), send)).outcome


def with_notifier(scenario: Callable[[Notifier], Awaitable[None]]) -> None:
    async def run() -> None:
        settings = NotificationSettings(directory=Directory())
        notifier = Notifier(settings, "poll://any@default", no_client, 4)
        async with asyncio.timeout(30):
            await scenario(notifier)
        await notifier.close()

    asyncio.run(run())


async def at_once() -> None:
    """Send without delay."""


def test_a_message_alone_is_recorded_at_once() -> None:
    async def scenario(notifier: Notifier) -> None:
        assert [await attempt(notifier, at_once) for _ in range(2)] == ["sent", "sent"]

    with_notifier(scenario)


@pytest.mark.parametrize("failing", [False, True])
def test_messages_that_are_sent_at_the_same_time_are_recorded_together(*, failing: bool) -> None:
    async def scenario(notifier: Notifier) -> None:
        slow = asyncio.Event()

        async def slowly() -> None:
            await slow.wait()
            if failing:
                raise DeliveryFailed("no")

        late = asyncio.create_task(attempt(notifier, slowly))
        quick = asyncio.create_task(attempt(notifier, at_once))
        for _ in range(20):  # turns of the event loop, in which a message is sent
            await asyncio.sleep(0)
        assert not quick.done()
        slow.set()
        assert (await quick, await late) == ("sent", "failed" if failing else "sent")

    with_notifier(scenario)
