"""`hitl mcp`: tools with which an agent asks people, over stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hitl_cli.cli.context import AT_GATEWAY, AtServer, handling
from hitl_cli.cli.logs import LogJson, log_to_stderr, wants_json
from hitl_cli.cli.options import Proof, Who, value
from hitl_cli.cli.output import note
from hitl_cli.client.connect import connect, driver_of
from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import BadUsage, Unreachable
from hitl_cli.format.durations import parse_duration
from hitl_cli.mcp.extra import require_mcp
from hitl_cli.people.actor import Actor, check_person
from hitl_cli.people.gateway_file import page_of
from hitl_cli.requests.demand import Demand
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from hitl_cli.python_api.backend import Backend
    from hitl_cli.requests.question import ProofKind

VIA = "mcp"
"""The `via` of actions, for the record."""

ENDING = (signal.SIGINT, signal.SIGTERM)


def mcp(
    ctx: AtServer,
    to: Annotated[
        list[str] | None,
        value("WHO", "Assignee, if the agent names none: a person or group:NAME (repeatable)."),
    ] = None,
    who: Who = None,
    deadline: Annotated[
        str, value("DURATION", "Time allowed for an answer, if the agent names none.")
    ] = "1d",
    wait: Annotated[
        str, value("DURATION", "How long the tool approval_prompt waits before it denies a call for now.")
    ] = "4m",
    proof: Proof = None,
    gateway: Annotated[
        str | None, value("URL", "Ask at this gateway, with a token from `hitl token`. (HITL_TOKEN)")
    ] = None,
    log_json: LogJson = False,
) -> None:
    """Serve MCP tools that let an agent ask people, on stdin and stdout. No tool can decide."""
    require_mcp()
    if wants_json(log_json):
        log_to_stderr(as_json=True)
    for duration in (deadline, wait):
        parse_duration(duration)
    if sys.stdin is not None and sys.stdin.isatty():
        note("hitl mcp speaks MCP on stdin and stdout: an agent starts it. Ctrl-C stops it.")
    backend, page = _place(ctx, who, gateway)
    with handling(ENDING, _exit):
        asyncio.run(_serve(backend, page, tuple(to or ()), deadline, parse_duration(wait) / 1_000, proof))


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit at once: the thread that reads stdin cannot be interrupted, and requests are kept elsewhere."""
    del frame
    os._exit(128 + number)


def _place(
    ctx: AtServer, who: str | None, gateway: str | None
) -> tuple[Backend, Callable[[str], str | None]]:
    """Return where to ask, with the permission `ask` only, and a function that returns a request's page."""
    settings = ctx.settings
    if gateway is not None:
        from hitl_cli.python_api.gateway_backend import GatewayBackend

        if who is not None:
            raise BadUsage("--as and --gateway cannot be combined: the token says who asks.")
        given = settings.gateway_token(ctx.given_token)
        _check(lambda: check_may_ask(gateway, given))
        return GatewayBackend(gateway, given, settings.groups()), partial(page_of, gateway.rstrip("/"))
    from hitl_cli.python_api.server_backend import ServerBackend

    url, chosen = ctx.server_itself(instead=AT_GATEWAY)
    if driver_of(url.value).file(url.value) is None:
        _check(lambda: _check_answers(url.value, chosen))
    person = check_person(settings.person(who).value)
    actor = Actor(person=person, via=VIA, may=frozenset({"ask"}), groups=settings.groups())
    backend = ServerBackend(url.value, chosen, actor, settings.contacts, settings.group().value)

    def page(id: str) -> str | None:
        reached = Settings().reached(url.value)
        return None if reached is None else page_of(reached, id)

    return backend, page


def _check(look: Callable[[], None]) -> None:
    """Raise the error that every tool would raise. An unreachable server is no error: it may come back."""
    try:
        look()
    except Unreachable as error:
        if error.code != Unreachable.code:
            raise
        note(f"hitl: {error}")


def check_may_ask(gateway: str, token: str | None) -> None:
    """Raise HitlError if a gateway refuses the token, or the token may not ask."""
    from hitl_cli.client.gateway_api import GatewayApi
    from hitl_cli.views.auth import MeDocument

    me = GatewayApi(gateway, token, program=True).send("GET", "/me", MeDocument)
    Actor(person=me.person, via=VIA, may=frozenset(me.can)).require("ask")


def _check_answers(url: str, token: str | None) -> None:
    """Raise HitlError if a server refuses the token, or is not a server."""
    with connect(url, token) as client:
        get_promise(client, "hitl")


async def _serve(
    backend: Backend,
    page: Callable[[str], str | None],
    to: tuple[str, ...],
    deadline: str,
    wait_s: float,
    proof: ProofKind | None,
) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    for number in ENDING:
        if signal.getsignal(number) == _exit:  # a signal just before the loop sleeps would not wake it
            loop.add_signal_handler(number, _exit, number, None)
    from mcp.server.stdio import stdio_server

    from hitl_cli.mcp.desk import BackendDesk
    from hitl_cli.mcp.server import McpOptions, mcp_server

    desk = BackendDesk(backend, Demand(proof=proof))
    options = McpOptions(to=to, deadline=deadline, proof=proof, wait_s=wait_s, cwd=str(Path.cwd()), page=page)
    served: Any = mcp_server(options, lambda _context: desk)
    try:
        async with stdio_server() as (reading, writing):
            await served.run(reading, writing, served.create_initialization_options())
    finally:
        await asyncio.to_thread(desk.close)
