"""A worker's connections over HTTP last, whatever time limits the HTTP client has."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import aiohttp
import aiohttp.client
import pytest
from resonate.connections import HttpConnection, SSEConnection

from hitl_cli.sdk import http_connections
from hitl_cli.sdk.http_connections import EventStream, Requests
from tests.conftest import PATIENCE_S
from tests.server.conftest import GROUP, envelope

if TYPE_CHECKING:
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


def test_a_request_waits_for_a_server_that_is_silent_for_a_while(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    monkeypatch.setattr(http_connections, "ANSWER_S", 0.2)
    request = envelope("promise.get", {"id": "p"}).decode()
    tries = 0

    class Once:
        def delay(self, attempt: int) -> float:
            nonlocal tries
            tries = attempt + 1
            os.kill(served.process.pid, signal.SIGCONT)
            return 0.0

    async def ask() -> str:
        theirs, ours = HttpConnection(url=served.url), Requests(url=served.url, backoff=Once())
        await theirs.start()
        await ours.start()
        os.kill(served.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await theirs.send(request)
            return await ours.send(request)
        finally:
            os.kill(served.process.pid, signal.SIGCONT)
            await ours.stop()
            await theirs.stop()

    assert json.loads(asyncio.run(ask()))["head"]["status"] == 404
    assert tries >= 1
