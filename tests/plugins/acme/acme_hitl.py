"""A channel, an authenticator and a command for hitl."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hitl_cli.cli.context import opened
from hitl_cli.cli.options import Server, Token
from hitl_cli.inbox import Inbox
from hitl_cli.notify.messages import DeliveryFailed

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.gateway.auth.access import AuthContext, Visitor
    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Directory


class Pager:
    """hitl.channels: appends a line to a file, whose path is the address."""

    async def send(self, message: Message, to: str, directory: Directory) -> None:
        line = f"{message.to}: {message.subject} {message.inbox}\n"
        try:
            await asyncio.to_thread(self._append, Path(to), line)
        except OSError as error:
            raise DeliveryFailed(f"the pager did not take it: {error.strerror}.") from error

    def shown(self, to: str) -> str:
        return Path(to).name

    def _append(self, path: Path, line: str) -> None:
        with path.open("a") as file:
            file.write(line)


class Badge:
    """hitl.authenticators: believes the header X-Badge."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context

    async def identify(self, request: Request) -> Visitor | None:
        person = request.headers.get("X-Badge")
        return None if person is None else self._context.visitor(person, "badge", session="badge")


def count(ctx: typer.Context, server: Server = None, token: Token = None) -> None:
    """Print how many requests wait for a person."""
    with opened(Inbox, ctx, server, token) as (inbox, _):
        waiting, _ = inbox.list()
    print(len(waiting))


pager = Pager()
