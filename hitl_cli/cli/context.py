"""Shared by the commands: the server, the person who acts, signals, stdin."""

from __future__ import annotations

import codecs
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import typer

from hitl_cli.client.connect import check_takes, connect, connect_existing
from hitl_cli.errors import BadInput, BadUsage
from hitl_cli.people.actor import Actor
from hitl_cli.settings import Setting, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from hitl_cli.client.protocol import Client


def named_server(
    ctx: typer.Context, settings: Settings, server: str | None, token: str | None
) -> tuple[Setting, str | None]:
    """Return the server and its token, from options before or after the command, or from the settings.

    Raises BadUsage if an option gives a token for a server that takes none.
    """
    given = ctx.obj or {}
    url, token = settings.server(server or given.get("server")), token or given.get("token")
    check_takes(url.value, token)
    return url, settings.token(token)


def open_client(
    ctx: typer.Context,
    server: str | None,
    token: str | None,
    settings: Settings | None = None,
    *,
    creates: bool = False,
) -> Client:
    """Return a client of the server that the options, the environment or a settings file names.

    `settings` are the settings that the command has read already. A missing database is created only if
    `creates` is true.
    """
    url, chosen_token = named_server(ctx, settings or Settings(), server, token)
    return (connect if creates else connect_existing)(url.value, chosen_token)


def reached_gateway(ctx: typer.Context, server: str | None, settings: Settings | None = None) -> str | None:
    """Return the URL of the gateway, from the settings or running on this machine; None if unknown."""
    known = settings or Settings()
    return known.reached(named_server(ctx, known, server, None)[0].value)


def actor_from(settings: Settings, who: str | None = None, via: str = "cli") -> Actor:
    """Return the person who acts, from `--as` or the settings, with their groups."""
    return Actor(person=settings.person(who).value, via=via, groups=settings.groups())


@contextmanager
def opened[T](
    kind: Callable[[Client, Actor], T],
    ctx: typer.Context,
    server: str | None,
    token: str | None,
    who: str | None = None,
    settings: Settings | None = None,
    *,
    creates: bool = False,
) -> Iterator[tuple[T, Client]]:
    """Open the `Inbox`, `Runs` or `Schedules` of the server, for the person who acts."""
    known = settings or Settings()
    actor = actor_from(known, who)
    with open_client(ctx, server, token, known, creates=creates) as client:
        yield kind(client, actor), client


@contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals with a function in a block, except ignored ones, such as SIGHUP under nohup."""
    taken = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def given_stdin() -> BinaryIO:
    """Stdin as bytes. Raises BadUsage if it is closed."""
    if sys.stdin is None:
        raise BadUsage("stdin is closed: there is nothing to read.")
    return sys.stdin.buffer


def without_mark(raw: bytes) -> bytes:
    """Return the bytes without a byte-order mark, which programs on Windows write."""
    return raw.removeprefix(codecs.BOM_UTF8)


def read_stdin(limit: int) -> str:
    """Up to `limit` bytes of stdin as text. Raises BadInput."""
    try:
        return without_mark(given_stdin().read(limit)).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin is not valid UTF-8: {error}.") from error
