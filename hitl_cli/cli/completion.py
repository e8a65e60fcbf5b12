"""What the Tab key offers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator  # noqa: TC003 - Typer reads the annotations of completions
from typing import TYPE_CHECKING

import typer

from hitl_cli.cli.context import actor_from
from hitl_cli.client.connect import connect, database_path, is_http
from hitl_cli.errors import HitlError
from hitl_cli.format.terminal import printable
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.runs.run import Run

COMPLETIONS = 200
"""The most ids that a completion offers."""


def completing(ctx: typer.Context) -> Client | None:
    """Return a client for completions, of the server that the command line names so far, or None.

    Nothing is created and nothing is said for a person who only pressed a key.
    """
    given = {**(ctx.parent.params if ctx.parent else {}), **{k: v for k, v in ctx.params.items() if v}}
    settings = Settings()
    url = settings.server(given.get("server")).value
    if not is_http(url) and not database_path(url).exists():
        return None
    return connect(url, settings.token(given.get("token")))


def offered[T](ctx: typer.Context, look: Callable[[Client], Sequence[T]]) -> Sequence[T]:
    """Return what a completion offers; nothing, without a word, where that cannot be found out."""
    with contextlib.suppress(HitlError):
        client = completing(ctx)
        if client is not None:
            with client:
                return look(client)
    return []


def complete_promise(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the promises that wait for a person."""
    from hitl_cli.inbox.pending import pending

    for item in offered(ctx, lambda client: pending(client, limit=COMPLETIONS)[0]):
        if item.id.startswith(incomplete):
            yield item.id, printable(item.prompt or item.function or "")


def complete_run(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the runs, the newest first."""
    from hitl_cli.runs import Runs

    def look(client: Client) -> Sequence[Run]:
        return Runs(client, actor_from(Settings())).list(limit=COMPLETIONS)[0]

    for item in offered(ctx, look):
        if item.id.startswith(incomplete):
            yield item.id, f"{item.function or ''} {item.state}"
