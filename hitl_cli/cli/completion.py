"""Shell completion.

Ids and prompts can come from programs and other people, and are not trusted. Shells quote differently, and
zsh evaluates completions. So an id that needs quotes is not offered, and only harmless characters of a prompt
are shown.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import typer

from hitl_cli.cli.context import CommandContext, inbox_of, runs_of
from hitl_cli.errors import HitlError
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.actor import Actor

COMPLETIONS = 200
"""The maximum number of ids to offer."""

_WORD = r"[\w./@][\w./@%+=:,-]*"

_HARMFUL = r"[^\w.,:;?!/+-]+"

_BREAK = r"[:=@]+"
"""Characters that bash splits words at."""


def offered(
    ctx: typer.Context, incomplete: str, look: Callable[[Client, Actor], Iterable[tuple[str, str]]]
) -> list[tuple[str, str]]:
    """Return the completions: pairs of id and description that `look` finds and that start with `incomplete`.

    Uses the server, the token and the person on the command line so far. Creates nothing and prints no error:
    without a reachable server there are no completions.
    """
    place = ctx if isinstance(ctx, CommandContext) else CommandContext(ctx.command, parent=ctx.parent)
    place.params = ctx.params
    with contextlib.suppress(HitlError), place.opened(look) as (found, _):
        return [
            (id, re.sub(_HARMFUL, " ", about).strip())
            for id, about in found
            if id.startswith(incomplete) and needs_no_quotes(id)
        ]
    return []


def needs_no_quotes(text: str) -> bool:
    """Whether the text means itself, unquoted, in every shell."""
    return re.fullmatch(_WORD, text) is not None


def complete_in_bash(complete: Callable[[], None]) -> None:
    """Complete a word that contains `:`, `=` or `@`: bash splits it and replaces only the last part.

    Reads the variables that the script of `hitl --install-completion` sets.
    """
    words, at = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    if len(words) <= at:  # not set by the script of --install-completion
        return complete()
    whole: list[str] = []
    for before, word in pairwise(["", *words[: at + 1]]):
        if re.fullmatch(_BREAK, before) or re.fullmatch(_BREAK, word):
            whole[-1] += word
        else:
            whole.append(word)
    typed = whole[-1]
    kept = 0 if typed == words[at] else max(map(typed.rfind, ":=@")) + 1
    os.environ |= {"COMP_WORDS": "\n".join(whole), "COMP_CWORD": str(len(whole) - 1)}
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            complete()
    finally:
        for line in shown.getvalue().splitlines():
            print(line[kept:] if line.startswith(typed) else line)


def complete_promise(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the open requests."""

    def look(client: Client, actor: Actor) -> Iterable[tuple[str, str]]:
        waiting, _ = inbox_of(client, actor).list(limit=COMPLETIONS)
        return ((item.id, item.prompt or item.function or "") for item in waiting)

    return offered(ctx, incomplete, look)


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the runs, newest first."""

    def look(client: Client, actor: Actor) -> Iterable[tuple[str, str]]:
        newest, _ = runs_of(client, actor).list(limit=COMPLETIONS)
        return ((run.id, f"{run.function or ''} {run.state}") for run in newest)

    return offered(ctx, incomplete, look)


def complete_person(incomplete: str) -> list[str]:
    """Return the people in the settings."""
    return _named(incomplete, groups=False)


def complete_assignee(incomplete: str) -> list[str]:
    """Return the people in the settings, and the groups as group:NAME."""
    return _named(incomplete, groups=True)


def _named(incomplete: str, *, groups: bool) -> list[str]:
    from hitl_cli.requests.question import GROUP

    with contextlib.suppress(HitlError):
        known = Settings().directory()
        names = [*known.people, *(f"{GROUP}{name}" for name in known.groups if groups)]
        return [name for name in names if name.startswith(incomplete) and needs_no_quotes(name)]
    return []
