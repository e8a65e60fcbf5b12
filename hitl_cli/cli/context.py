"""What the commands share: options, how to reach the server, how to write a result."""

from __future__ import annotations

import codecs
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import typer

from hitl_cli.client.connect import connect, connect_existing
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
    """Return the server and its token; an option counts after the command as well as before it."""
    given = ctx.obj or {}
    return settings.server(server or given.get("server")), settings.token(token or given.get("token"))


def open_client(
    ctx: typer.Context,
    server: str | None,
    token: str | None,
    settings: Settings | None = None,
    *,
    creates: bool = False,
) -> Client:
    """Return a client of the server that the options, the environment or a file names.

    `settings` are those that the command has read already: files are looked for in each folder above.
    Only where `creates` is true, a database that is not there is created.
    """
    url, chosen_token = named_server(ctx, settings or Settings(), server, token)
    return (connect if creates else connect_existing)(url.value, chosen_token)


def reached_gateway(ctx: typer.Context, server: str | None, settings: Settings | None = None) -> str | None:
    """Return the URL of the gateway of the server that is named, where one is known: set, or running here."""
    known = settings or Settings()
    return known.reached(named_server(ctx, known, server, None)[0].value)


def actor_from(settings: Settings, who: str | None = None, via: str = "cli") -> Actor:
    """Return who acts on the command line: the person of `--as`, or of the settings, with its groups."""
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
    """Open the `Inbox`, `Runs` or `Schedules` of the server that is named, for the person who acts."""
    known = settings or Settings()
    actor = actor_from(known, who)
    with open_client(ctx, server, token, known, creates=creates) as client:
        yield kind(client, actor), client


@contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have a function handle signals in a block, except those that are ignored, as SIGHUP is under nohup."""
    taken = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def given_stdin() -> BinaryIO:
    """Return stdin. Raises BadInput where there is none."""
    if sys.stdin is None:
        raise BadUsage("there is no stdin to read from.")
    return sys.stdin.buffer


def without_mark(raw: bytes) -> bytes:
    """Return what was read without the byte-order mark that programs on Windows begin a text with."""
    return raw.removeprefix(codecs.BOM_UTF8)


def read_stdin(limit: int) -> str:
    """Return up to `limit` bytes of stdin as text. Raises BadInput."""
    try:
        return without_mark(given_stdin().read(limit)).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin is not text in UTF-8: {error}.") from error
