"""The MCP server: lists the tools, runs them at a desk, and waits for people.

It serves the revisions 2025-11-25 and 2026-07-28 of the protocol, on the official package. A client that
leaves or cancels a call ends the wait; the request stays open, because a person may be answering it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import mcp_types as types
import msgspec
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from msgspec import Struct

from hitl_cli import __version__
from hitl_cli.agents.decide_call import HookOptions
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import HitlError, Unreachable
from hitl_cli.mcp import permission_prompt, tasks
from hitl_cli.mcp.tools import (
    INSTRUCTIONS,
    TOOLS,
    Answer,
    AnswerBackArguments,
    AskArguments,
    ConsumeArguments,
    Entries,
    IdArguments,
    ListArguments,
    Tool,
    answer,
    decided_entry,
    open_entry,
    pending_answer,
    read_arguments,
    schema_of,
    shown_request,
)
from hitl_cli.requests.question import ProofKind

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.mcp.desk import Desk
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question_input import QuestionInput

logger = logging.getLogger(__name__)

type Context = ServerRequestContext[Any, Any]

HOLD_S = 50.0
"""How long `ask` and `wait` wait: less than the minute after which many clients give up."""

PROGRESS_S = 5.0
"""How often progress is sent to the client."""

STATE_LIFE_S = 86_400.0
"""How long a client may take between two rounds of `ask`, while its user reads and signs in."""

PAGE = "page"
"""The key of the elicitation that leads to the page of a request."""


class McpOptions(Struct, frozen=True, kw_only=True):
    """How the tools ask.

    `to` and `deadline` are for requests that name none, `proof` is demanded of all; `wait_s` is how long
    `approval_prompt` waits. `page` returns the URL of a request's page, which asks people to sign in; None
    without a gateway. `keys` seal the state that a client keeps between two rounds; `principal` names the
    asker in that seal.
    """

    to: tuple[str, ...] = ()
    deadline: str = "1d"
    proof: ProofKind | None = None
    wait_s: float = 240.0
    cwd: str | None = None
    page: Callable[[str], str | None] = lambda _id: None
    keys: Sequence[str] = ()
    principal: Callable[[Context], str | None] = lambda _context: None


def mcp_server(options: McpOptions, desk_of: Callable[[Context], Desk]) -> Server[Any]:
    """Return a server whose tools ask at the desk of each request."""
    tools = _Tools(options, desk_of)
    server: Server[Any] = Server("hitl", version=__version__, instructions=INSTRUCTIONS)
    server.add_request_handler("tools/list", types.PaginatedRequestParams, tools.list)
    server.add_request_handler("tools/call", types.CallToolRequestParams, tools.call)
    tasks.serve(server, desk_of, tools.settled)
    make = {"keys": list(options.keys)} if options.keys else {"codec": RequestStateSecurity.ephemeral().codec}
    security = RequestStateSecurity(ttl=STATE_LIFE_S, bind_principal=options.principal, **make)
    server.middleware.append(RequestStateBoundary(security, default_audience="hitl"))
    return server


class _Tools:
    """The tools, by their names."""

    def __init__(self, options: McpOptions, desk_of: Callable[[Context], Desk]) -> None:
        self._options = options
        self._desk_of = desk_of
        self._listed = types.ListToolsResult(tools=[_listed(tool) for tool in TOOLS])
        self._run: dict[str, Callable[[Context, Desk, Any], Awaitable[HandlerResult]]] = {
            "ask": self._ask,
            "wait": self._wait,
            "answer_back": self._answer_back,
            "consume": self._consume,
            "take_back": self._take_back,
            "pending": self._pending,
            "show": self._show,
            "history": self._history,
        }

    async def list(self, _context: Context, _params: types.PaginatedRequestParams) -> types.ListToolsResult:
        """Return the tools."""
        return self._listed

    async def call(self, context: Context, params: types.CallToolRequestParams) -> HandlerResult:
        """Run a tool. A failure is a result with `isError`, which a model can read."""
        tool = next((tool for tool in TOOLS if tool.name == params.name), None)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]}")
        desk = self._desk_of(context)
        try:
            if params.name == permission_prompt.NAME:
                return await self._permission(context, desk, params)
            given = read_arguments(params.arguments, tool.arguments)
            if isinstance(given, AskArguments) and params.request_state is not None:
                return await self._asked(context, desk, params.request_state)
            return await self._run[params.name](context, desk, given)
        except HitlError as error:
            return failure(error)
        except MCPError:
            raise
        except Exception:
            logger.exception("the tool %s failed", params.name)
            return failure(HitlError("unexpected error in hitl: see its log.", code="unexpected-error"))

    async def settled(self, desk: Desk, id: str, decision: Decision[Json]) -> types.CallToolResult:
        """Return what `ask` returns for a decision."""
        return _result(answer(await desk.show(id), decision))

    # Tools

    async def _ask(self, context: Context, desk: Desk, given: AskArguments) -> HandlerResult:
        options = self._options
        id = await desk.put(given.question(options.to, options.deadline, options.proof))
        url = self._options.page(id)
        modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        if url is None or not _opens_urls(context):
            return await self._asked(context, desk, id)
        if modern and await desk.decision(id, 0) is None:
            page = types.ElicitRequest(params=_elicitation(id, url))
            return types.InputRequiredResult(input_requests={PAGE: page}, request_state=id)
        if modern:
            return await self._asked(context, desk, id)
        leading = asyncio.create_task(_lead(context, id, url))
        try:
            return await self._asked(context, desk, id)
        finally:
            leading.cancel()

    async def _asked(self, context: Context, desk: Desk, id: str) -> HandlerResult:
        """Return the task of a request if the client supports tasks; otherwise wait until it is decided.

        The agent learns the id of a request that exists, whatever happens to the server.
        """
        if not tasks.declared(context):
            try:
                return await self._held(context, desk, id)
            except Unreachable as error:
                logger.warning("%s", error, extra={"request": id})
                return _result(pending_answer(id, self._options.page(id)))
        decision = await desk.decision(id, 0)
        if decision is not None:
            return await self.settled(desk, id, decision)
        return tasks.created(await desk.show(id), self._options.page(id))

    async def _wait(self, context: Context, desk: Desk, given: IdArguments) -> HandlerResult:
        return await self._held(context, desk, given.id)

    async def _held(self, context: Context, desk: Desk, id: str) -> HandlerResult:
        waiting = asyncio.create_task(_decision(context, desk, id, HOLD_S))
        asking = asyncio.create_task(_asked_back(desk, id))
        try:
            await asyncio.wait((waiting, asking), return_when=asyncio.FIRST_COMPLETED)
            decision = await waiting if waiting.done() else None
        finally:
            waiting.cancel()
            asking.cancel()
        if decision is not None:
            return await self.settled(desk, id, decision)
        return _result(pending_answer(id, self._options.page(id), (await desk.show(id)).asked_back))

    async def _answer_back(self, _context: Context, desk: Desk, given: AnswerBackArguments) -> HandlerResult:
        await desk.answer_back(given.id, given.answer)
        return _result(pending_answer(given.id, self._options.page(given.id)))

    async def _consume(self, _context: Context, desk: Desk, given: ConsumeArguments) -> HandlerResult:
        await desk.use(given.id, given.key or fresh_id())
        decision = await desk.decision(given.id, 0)
        assert decision is not None  # only an approval can be used
        return await self.settled(desk, given.id, decision)

    async def _take_back(self, _context: Context, desk: Desk, given: IdArguments) -> HandlerResult:
        return await self.settled(desk, given.id, await desk.take_back(given.id))

    async def _pending(self, _context: Context, desk: Desk, given: ListArguments) -> HandlerResult:
        return _result(Entries([open_entry(one) for one in await desk.pending(given.limit)]))

    async def _show(self, _context: Context, desk: Desk, given: IdArguments) -> HandlerResult:
        return _result(shown_request(await desk.show(given.id), self._options.page(given.id)))

    async def _history(self, _context: Context, desk: Desk, given: ListArguments) -> HandlerResult:
        return _result(Entries([decided_entry(one) for one in await desk.history(given.limit)]))

    async def _permission(
        self, context: Context, desk: Desk, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        options = self._options

        async def ask(asked: QuestionInput) -> Decision[Json] | None:
            return await _decision(context, desk, await desk.put(asked), options.wait_s, asked)

        said = await permission_prompt.answered(
            params.arguments,
            ask,
            HookOptions(to=options.to, deadline=options.deadline, proof=options.proof, then="deny"),
            cwd=options.cwd,
        )
        return types.CallToolResult(content=[types.TextContent(text=said)])


# Waiting


async def _decision(
    context: Context, desk: Desk, id: str, hold_s: float, asked: QuestionInput | None = None
) -> Decision[Json] | None:
    """Return the decision; None after `hold_s` seconds. Raises NotFound, Unproven."""
    telling = asyncio.create_task(_tell(context, id, hold_s))
    try:
        return await desk.decision(id, hold_s, asked)
    finally:
        telling.cancel()


async def _asked_back(desk: Desk, id: str) -> None:
    """Return once a person asks back. Questions from before the wait do not count. Polls now and then."""
    began = now = await _number_asked(desk, id)
    while now is None or now == began:
        await asyncio.sleep(PROGRESS_S)
        now = await _number_asked(desk, id)


async def _number_asked(desk: Desk, id: str) -> int | None:
    try:
        asked_back = (await desk.show(id)).asked_back
    except HitlError:  # the wait reports it
        return None
    return None if asked_back is None else asked_back.number


async def _tell(context: Context, id: str, hold_s: float) -> None:
    """Send progress to the client from time to time, so that it does not give up."""
    begun = time.monotonic()
    with contextlib.suppress(MCPError):
        while True:
            await asyncio.sleep(PROGRESS_S)
            past = round(time.monotonic() - begun, 1)
            await context.session.report_progress(past, hold_s, f"waiting for a person to answer {id}")


# Opening the page for the client's user


def _opens_urls(context: Context) -> bool:
    """Whether the client declares that it can open a URL for its user."""
    declared = context.session.client_capabilities
    return declared is not None and declared.elicitation is not None and declared.elicitation.url is not None


def _elicitation(id: str, url: str, elicitation_id: str | None = None) -> types.ElicitRequestURLParams:
    """Return the elicitation that opens the page of a request, where the user signs in."""
    message = f"A person must answer {id}. Open its page to answer it, if you may."
    return types.ElicitRequestURLParams(message=message, url=url, elicitation_id=elicitation_id)


async def _lead(context: Context, id: str, url: str) -> None:
    """Ask the client to open the page (2025-11-25). The user's reaction changes nothing here."""
    try:
        said = _elicitation(id, url, id)
        await context.session.elicit_url(said.message, url, id, context.request_id)
    except MCPError as error:
        logger.info("the client did not open the page of %s: %s", id, error)


# Results


def _listed(tool: Tool) -> types.Tool:
    """Return a tool as it is listed."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.arguments),
        output_schema=None if tool.result is None else schema_of(tool.result),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.repeatable,
            open_world_hint=True,
        ),
    )


def _result(value: Answer | Struct) -> types.CallToolResult:
    """Return a value as structured content, and as JSON for clients that know only text."""
    text = msgspec.json.encode(value).decode()
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=msgspec.to_builtins(value)
    )


def failure(error: HitlError) -> types.CallToolResult:
    """Return an error for a model: the sentence, its details and the code."""
    text = "\n".join([str(error), *error.lines, f"code: {error.code}"])
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
