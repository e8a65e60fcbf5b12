"""A pool of clients over HTTP, used from an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hitl_cli.client.connect import connect
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import get_promise

if TYPE_CHECKING:
    from tests.server.conftest import Served


def test_it_is_closed_where_it_was_used(served: Served) -> None:
    async def use() -> None:
        pool = ClientPool(lambda: connect(served.url))
        assert await pool.run(get_promise, "nothing") is None
        pool.close()

    asyncio.run(use())
