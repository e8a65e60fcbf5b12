"""The MCP server on a file, the official client of both revisions, and people who answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.client import Client
from msgspec import Struct

from hitl_cli.client.connect import connect
from hitl_cli.errors import NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.mcp.desk import BackendDesk
from hitl_cli.mcp.server import McpOptions, mcp_server
from hitl_cli.people.actor import Actor
from hitl_cli.python_api.server_backend import ServerBackend
from hitl_cli.requests.decision_input import DecisionInput
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

REVISIONS = ("legacy", "2026-07-28")
"""How the client connects: by the handshake of 2025-11-25, or without one."""

YES = DecisionInput(verdict="approve")


class Scene(Struct):
    """A server's URL, and what is done there."""

    url: str

    @asynccontextmanager
    async def client(
        self, mode: str, person: str = "agent", options: McpOptions | None = None, **more: Any
    ) -> AsyncIterator[Client]:
        """Serve one client in this process."""
        actor = Actor(person=person, via="mcp", may=frozenset({"ask"}))
        desk = BackendDesk(ServerBackend(self.url, None, actor))
        server = mcp_server(options or McpOptions(), lambda _context: desk)
        try:
            async with Client(server, mode=mode, **more) as client:
                yield client
        finally:
            await asyncio.to_thread(desk.close)

    def decide(self, id: str, said: DecisionInput = YES, person: str = "lead") -> None:
        def decide() -> None:
            with connect(self.url) as client:
                Inbox(client, Actor(person=person, via="test")).decide(id, said, whole=True)

        apart(decide)

    def soon(self, id: str, said: DecisionInput = YES) -> None:
        """Decide a request once it is there."""

        def decide() -> bool:
            with contextlib.suppress(NotFound):
                self.decide(id, said)
                return True
            return False

        threading.Thread(target=wait_until, args=(decide,)).start()

    def open_ids(self) -> list[str]:
        def listed() -> list[str]:
            with connect(self.url) as client:
                return [item.id for item in Inbox(client, Actor(person="lead", via="test")).list()[0]]

        return apart(listed)

    async def only_id(self) -> str:
        """Return the id of the only open request, once there is one."""
        await asyncio.to_thread(wait_until, self.open_ids)
        [id] = self.open_ids()
        return id


def apart[T](work: Callable[[], T]) -> T:
    """Run something in a thread: a client over HTTP has an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test to its end."""

    async def whole() -> None:
        async with asyncio.timeout(90):
            await work()

    try:
        asyncio.run(whole())
    except BaseExceptionGroup as group:  # of the client's task groups
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            [error] = error.exceptions
        raise error from None


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool that must succeed, and return its structured content."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail, and return the code."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    [block] = result.content
    text: str = block.text  # type: ignore[union-attr]
    assert "Traceback" not in text
    return text.rpartition("code: ")[2]
