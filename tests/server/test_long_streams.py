"""A worker's stream outlives the time limit of the HTTP client that it is made with."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import aiohttp.client
from resonate.connections import SSEConnection

from hitl_cli.sdk.http_connections import EventStream
from tests.conftest import PATIENCE_S
from tests.server.conftest import GROUP

if TYPE_CHECKING:
    import pytest

    from tests.server.conftest import Served


def test_a_worker_hears_of_tasks_after_the_time_limit_of_a_response(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=0.2))

    async def listen() -> str:
        heard: asyncio.Queue[str] = asyncio.Queue()
        theirs = SSEConnection(url=served.url, pid="theirs", group="others")
        ours = EventStream(url=served.url, pid="ours", group=GROUP)
        ours.recv(heard.put_nowait)
        await ours.start()
        await theirs.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (theirs._sse_handle and theirs._sse_handle.done()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(served.create, "t")
                return await heard.get()
        finally:
            await ours.stop()
            theirs._sse_handle = None  # it has failed
            await theirs.stop()

    assert json.loads(asyncio.run(listen()))["data"]["task"]["id"] == "t"
