"""Messages go to each place at its pace, and one that hangs keeps no others waiting."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hitl_cli.notify.concurrency_limit import ALL, REST_S, SLOW_S, WAIT_S, ConcurrencyLimit
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.contacts import Address

HOOK = Address("webhook", "https://example.org/reviewer")
SAME = Address("webhook", "https://example.org/lead")
OTHER = Address("webhook", "https://example.com/reviewer")


async def sent(limit: ConcurrencyLimit, address: Address) -> bool:
    """Whether a message may be sent."""
    async with limit.slot(address):
        return True


def test_where_one_was_not_taken_in_time_the_next_do_not_wait_for_a_while_and_other_places_do_not_care() -> (
    None
):
    now = 0.0

    async def hang(limit: ConcurrencyLimit, seconds: float) -> None:
        nonlocal now
        async with limit.slot(HOOK):
            now += seconds
            raise DeliveryFailed("no answer")

    async def main() -> None:
        nonlocal now
        limit = ConcurrencyLimit(1, lambda: now)
        with pytest.raises(DeliveryFailed, match="no answer"):
            await hang(limit, SLOW_S - 1)
        assert await sent(limit, SAME)
        with pytest.raises(DeliveryFailed, match="no answer"):
            await hang(limit, SLOW_S)
        with pytest.raises(DeliveryFailed, match="timed out"):
            await sent(limit, SAME)
        assert await sent(limit, OTHER)
        now += REST_S
        assert await sent(limit, SAME)

    asyncio.run(main())


def test_where_nothing_moves_nobody_waits_and_all_places_together_have_an_end_too() -> None:
    now = 0.0

    async def main() -> None:
        nonlocal now
        limit = ConcurrencyLimit(1, lambda: now)
        async with AsyncExitStack() as held:
            for n in range(ALL):
                await held.enter_async_context(limit.slot(Address("webhook", f"https://{n}.example.org/")))
            now += WAIT_S
            async with asyncio.timeout(WAIT_S / 2):  # of the real time
                for address in (Address("webhook", "https://0.example.org/"), OTHER):
                    with pytest.raises(DeliveryFailed, match="too many"):
                        await sent(limit, address)
        assert await sent(limit, OTHER)

    asyncio.run(main())


def test_all_mail_goes_through_one_server_and_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitl_cli.notify.concurrency_limit.WAIT_S", 0.05)

    async def main() -> None:
        limit = ConcurrencyLimit(2)
        one, two, three = (Address("email", f"{name}@example.org") for name in "abc")
        async with limit.slot(one), limit.slot(two):
            with pytest.raises(DeliveryFailed, match="too many"):
                await sent(limit, three)
            assert await sent(limit, HOOK)
        assert await sent(limit, three)

    asyncio.run(main())
