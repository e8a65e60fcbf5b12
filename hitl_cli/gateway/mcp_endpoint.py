"""`/mcp`: the MCP server of `hitl mcp` over HTTP (streamable HTTP, without sessions).

The sender of an HTTP request acts with the permission `ask` only, even if their token has more. The first
HTTP request imports the package `mcp`, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

from hitl_cli.gateway import asgi
from hitl_cli.gateway.decision_waiters import has_left
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.request_body import BODY_MAX
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.people.gateway_file import page_of
from hitl_cli.python_api.backend import HISTORY_PAGE
from hitl_cli.requests.decision import with_question
from hitl_cli.requests.question_input import as_used
from hitl_cli.views.history import history_entry_document
from hitl_cli.views.pending import request_summary_document
from hitl_cli.views.request import request_details_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.web import Request, StreamResponse
    from mcp.server.context import ServerRequestContext

    from hitl_cli.client.wire import Json
    from hitl_cli.gateway.context import Gateway
    from hitl_cli.inbox import Inbox
    from hitl_cli.people.actor import Actor
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument

DESK = "hitl.desk"
"""The key of the desk in the scope of a request."""


class McpEndpoint:
    """The MCP server of a gateway, which the first request starts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._manager: Any = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self, request: Request, actor: Actor) -> StreamResponse:
        """Respond to one request."""
        async with self._lock:
            if self._manager is None:
                self._manager = await self._started()
        self._busy += 1
        self._idle.clear()
        try:
            desk = _GatewayDesk(self._gateway, request, actor)
            return await asgi.serve(request, self._manager.handle_request, **{DESK: desk})
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _started(self) -> Any:
        """Return the session manager, started on first use and running until the gateway stops."""
        manager = await asyncio.to_thread(_manager_of, self._gateway)
        running = asyncio.Event()

        async def run() -> None:
            async with manager.run():
                running.set()
                await self._gateway.stopping.wait()
                await self._idle.wait()  # the waits have ended: let their tools respond

        self._gateway.go_on(run())
        await running.wait()
        return manager


def _manager_of(gateway: Gateway) -> Any:
    """Return a session manager. This imports the package `mcp`, which takes a second."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from hitl_cli.mcp.server import McpOptions, mcp_server

    options = McpOptions(
        page=lambda id: page_of(gateway.options.url, id),
        keys=[
            hashlib.sha256(f"hitl.mcp\0{secret}".encode()).hexdigest()
            for secret in reversed(gateway.keys().secrets)
        ],
        principal=lambda context: _desk_of(context).actor.person,
    )
    server = mcp_server(options, _desk_of)
    return StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=BODY_MAX)


def _desk_of(context: ServerRequestContext[Any, Any]) -> _GatewayDesk:
    """Return the desk for the sender of a message's HTTP request."""
    assert context.request is not None
    desk: _GatewayDesk = context.request.scope[DESK]
    return desk


class _GatewayDesk:
    """The requests of the sender of an HTTP request. See `hitl_cli.mcp.desk.Desk`."""

    def __init__(self, gateway: Gateway, request: Request, actor: Actor) -> None:
        self.actor = actor
        self._gateway = gateway
        self._request = request

    async def put(self, asked: QuestionInput) -> str:
        """Create a request, and notify its assignees. See Desk."""
        options = self._gateway.options
        return await self._run(lambda inbox: inbox.put(asked, options.people, options.group).id)

    async def decision(
        self, id: str, timeout_s: float, asked: QuestionInput | None = None
    ) -> Decision[Json] | None:
        """Return the decision. See Desk."""
        end = time.monotonic() + timeout_s
        gateway, request = self._gateway, self._request
        found = await self._run(lambda inbox: _decision_in(inbox, id, asked))
        while found is None and (rest := end - time.monotonic()) > 0:
            with gateway.waiters.on(request, id) as woken:
                await gateway.waiters.ready()
                found = await self._run(lambda inbox: _decision_in(inbox, id, asked))
                if found is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(rest):
                            await woken.wait()
            if found is None and (gateway.stopping.is_set() or has_left(request)):
                raise HttpError(503, "the gateway is stopping. The request is still open: wait for it again.")
            found = found or await self._run(lambda inbox: _decision_in(inbox, id, asked))
        return found

    async def use(self, id: str, key: str) -> None:
        """Use up an approval. See Desk."""
        await self._run(lambda inbox: inbox.consume(id, key))

    async def answer_back(self, id: str, text: str) -> None:
        """Answer a question that was asked back. See Desk."""
        await self._run(lambda inbox: inbox.answer_back(id, text, whole=True))

    async def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request. See Desk."""

        def do(inbox: Inbox) -> Decision[Json]:
            asked = inbox.asked(id)
            return with_question(
                decision_of(inbox.withdraw(asked), asked.question, inbox.actor.groups), asked.question
            )

        return await self._run(do)

    async def pending(self, limit: int) -> Sequence[RequestSummaryDocument]:
        """Return open requests. See Desk."""

        def look(inbox: Inbox) -> Sequence[RequestSummaryDocument]:
            found, _ = inbox.list(limit=limit)
            return [request_summary_document(item, inbox.client.now()) for item in found]

        return await self._gateway.lists.run(self.actor, look)

    async def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Desk."""
        people = self._gateway.options.people
        return await self._run(lambda inbox: request_details_document(inbox.show(id, whole=True), people))

    async def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return decisions. See Desk."""
        gateway = self._gateway

        def look(inbox: Inbox) -> Sequence[HistoryEntryDocument]:
            found, _ = inbox.history_page(EVERYTHING, limit=HISTORY_PAGE)
            return [history_entry_document(entry) for entry in found[:limit]]

        return await gateway.inbox(self.actor, look, pool=gateway.lookback)

    async def _run[T](self, work: Callable[[Inbox], T]) -> T:
        return await self._gateway.inbox(self.actor, work)


def _decision_in(inbox: Inbox, id: str, asked: QuestionInput | None = None) -> Decision[Json] | None:
    """Return the decision on a request; None while it is open."""
    item = inbox.find(id, whole=True)
    if item.promise.state == "pending":
        return None
    groups, known = inbox.actor.groups, item.amendments
    decided = decision_of(item.promise, item.asked, groups, item.run, *as_used(asked), amendments=known)
    return with_question(decided, item.asked)
