"""What the Tab key offers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from hitl_cli.cli.context import actor_from
from hitl_cli.client.connect import connect, driver_of
from hitl_cli.errors import HitlError
from hitl_cli.format.terminal import printable
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.client.protocol import Client

COMPLETIONS = 200
"""The most ids that a completion offers."""


def offered(
    ctx: typer.Context, incomplete: str, look: Callable[[Client], Iterable[tuple[str, str]]]
) -> list[tuple[str, str]]:
    """Return what a completion offers: of what `look` finds, an id and what it is about, what begins so.

    The server is the one that the command line names so far. Nothing is created and nothing is said for a
    person who only pressed a key: what cannot be found out is not offered.
    """
    given = {**(ctx.parent.params if ctx.parent else {}), **{k: v for k, v in ctx.params.items() if v}}
    with contextlib.suppress(HitlError):
        settings = Settings()
        url = settings.server(given.get("server")).value
        if driver_of(url).exists(url):
            with connect(url, settings.token(given.get("token"))) as client:
                return [(id, printable(about)) for id, about in look(client) if id.startswith(incomplete)]
    return []


def complete_promise(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the promises that wait for a person."""
    from hitl_cli.inbox.pending import pending

    def look(client: Client) -> Iterable[tuple[str, str]]:
        waiting, _ = pending(client, limit=COMPLETIONS)
        return ((item.id, item.prompt or item.function or "") for item in waiting)

    return offered(ctx, incomplete, look)


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the runs, the newest first."""
    from hitl_cli.runs import Runs

    def look(client: Client) -> Iterable[tuple[str, str]]:
        newest, _ = Runs(client, actor_from(Settings())).list(limit=COMPLETIONS)
        return ((run.id, f"{run.function or ''} {run.state}") for run in newest)

    return offered(ctx, incomplete, look)
