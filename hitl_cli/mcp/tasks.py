"""The extension `io.modelcontextprotocol/tasks` (SEP-2663): the request is the task.

It stores nothing: a task is read from its request each time, so it outlives this process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from hitl_cli.errors import Conflict, HitlError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    from hitl_cli.client.wire import Json
    from hitl_cli.mcp.desk import Desk
    from hitl_cli.requests.decision import Decision
    from hitl_cli.views.request import RequestDetailsDocument

EXTENSION = "io.modelcontextprotocol/tasks"

POLL_MS = 5_000

type _Settled = Callable[[Desk, str, Decision[Json]], Awaitable[types.CallToolResult]]


class TaskParams(types.RequestParams):
    """The parameters of `tasks/get`, `tasks/update` and `tasks/cancel`."""

    task_id: str = Field(alias="taskId")


def declared(context: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client declared tasks in this call; older revisions have no room for the result."""
    known = context.session.client_capabilities
    extensions = None if known is None else known.extensions
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS and EXTENSION in (extensions or {})


def created(shown: RequestDetailsDocument, url: str | None) -> dict[str, Any]:
    """Return the task of a request that was just created."""
    return _task(shown, "working", url) | {"resultType": "task"}


def serve(
    server: Server[Any], desk_of: Callable[[ServerRequestContext[Any, Any]], Desk], settled: _Settled
) -> None:
    """Serve the methods of the extension. `settled` returns what the tool returns for a decision."""

    @contextmanager
    def at(context: ServerRequestContext[Any, Any]) -> Iterator[Desk]:
        """Open the desk of a client that declared the extension. Errors in the block become MCP errors."""
        require_client_extension(context, EXTENSION)
        try:
            yield desk_of(context)
        except HitlError as error:
            code = types.INVALID_PARAMS if isinstance(error, NotFound | Conflict) else types.INTERNAL_ERROR
            raise MCPError(code, str(error), {"code": error.code}) from error

    async def get(context: ServerRequestContext[Any, Any], params: TaskParams) -> dict[str, Any]:
        id = params.task_id
        with at(context) as desk:
            decision = await desk.decision(id, 0)
            shown = await desk.show(id)
            if decision is None:
                return _task(shown, "working", None)
            if shown.decision is not None and shown.decision.outcome == "canceled":
                return _task(shown, "cancelled", None)
            result = await settled(desk, id, decision)
        said = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return _task(shown, "completed", None) | {"result": said}

    async def update(context: ServerRequestContext[Any, Any], params: TaskParams) -> types.EmptyResult:
        """Acknowledge: a task never asks its client for anything."""
        with at(context) as desk:
            await desk.show(params.task_id)
        return types.EmptyResult()

    async def cancel(context: ServerRequestContext[Any, Any], params: TaskParams) -> types.EmptyResult:
        with at(context) as desk:
            await desk.take_back(params.task_id)
        return types.EmptyResult()

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", TaskParams, get)
    server.add_request_handler("tasks/update", TaskParams, update)
    server.add_request_handler("tasks/cancel", TaskParams, cancel)


def _task(shown: RequestDetailsDocument, status: str, url: str | None) -> dict[str, Any]:
    """Return a request as a task."""
    begun, end = (datetime.fromisoformat(text) for text in (shown.created_at, shown.deadline))
    waits = {"statusMessage": f"Waiting for a person{f': {url}' if url else ''}"}
    if shown.asked_back is not None:
        waits = {"statusMessage": f"A person asks (call answer_back): {shown.asked_back.text}"}
    return {
        "taskId": shown.id,
        "status": status,
        "createdAt": shown.created_at,
        "lastUpdatedAt": shown.created_at if shown.decision is None else shown.decision.at,
        "ttlMs": round((end - begun).total_seconds() * 1_000),
        "pollIntervalMs": POLL_MS,
    } | (waits if status == "working" else {})
