"""A channel, a server, an authenticator and a command for hitl."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from hitl_cli.cli.context import opened
from hitl_cli.cli.options import Server, Token
from hitl_cli.client.connect import connect, driver_of
from hitl_cli.errors import BadServer
from hitl_cli.inbox import Inbox
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.sdk.worker_link import worker_link

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.gateway.auth.access import AuthContext, Visitor
    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Directory
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


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


class NamedServer:
    """hitl.servers: acme://NAME is the server whose URL is in the environment variable ACME_NAME."""

    def connect(self, url: str, token: str | None) -> Client:
        return connect(self._real(url), token)

    def file(self, url: str) -> Path | None:
        return driver_of(self._real(url)).file(self._real(url))

    def exists(self, url: str) -> bool:
        return driver_of(self._real(url)).exists(self._real(url))

    def worker_link(self, url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:
        return worker_link(self._real(url), token, terms)

    def _real(self, url: str) -> str:
        name = urlsplit(url).netloc
        try:
            return os.environ[f"ACME_{name.upper()}"]
        except KeyError:
            raise BadServer(f"there is no server named {name!r} here.") from None


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
named = NamedServer()
