"""What the commands share: options, how to reach the server, how to write a result."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator  # noqa: TC003 - Typer reads the annotations of completions
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from typer.core import TyperGroup

from hitl_cli.connect import connect, database_path, is_http
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.settings import Setting, Settings
from hitl_cli.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client import Client

CONTEXT = {"help_option_names": ["-h", "--help"]}
"""What all commands have in common."""

COMPLETIONS = 200
"""The most ids that a completion offers."""

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-S",
        metavar="URL",
        help="sqlite:///path or http(s)://host. (HITL_SERVER or RESONATE_URL; else a file of your own)",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        "-T",
        metavar="TOKEN",
        help="Token for the server. (RESONATE_TOKEN)",
        show_default=False,
    ),
]
Workflow = Annotated[
    str | None,
    typer.Option(
        "--workflow",
        "-w",
        metavar="NAME",
        help="Which workflow. (HITL_WORKFLOW; else approval)",
        show_default=False,
    ),
]
Kwarg = Annotated[
    list[str] | None, typer.Option("--kwarg", "-k", metavar="NAME=VALUE", help="An argument by name.")
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        "-g",
        metavar="NAME",
        help="The group of workers that runs it. (HITL_GROUP; else default)",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Who = Annotated[
    str | None,
    typer.Option("--as", metavar="WHO", help="Who acts. (HITL_AS; else your login name)", show_default=False),
]


def family(name: str, about: str, kind: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """Return what the commands of a family, such as `hitl token`, are added to."""
    return typer.Typer(
        name=name, cls=kind, help=about, no_args_is_help=True, add_completion=False, context_settings=CONTEXT
    )


def named_server(
    ctx: typer.Context, settings: Settings, server: str | None, token: str | None
) -> tuple[Setting, str | None]:
    """Return the server and its token; an option counts after the command as well as before it."""
    given = ctx.obj or {}
    return settings.server(server or given.get("server")), settings.token(token or given.get("token"))


def open_client(
    ctx: typer.Context, server: str | None, token: str | None, settings: Settings | None = None
) -> Client:
    """Return a client of the server that the options, the environment or a file names.

    `settings` are those that the command has read already: files are looked for in each folder above.
    """
    url, chosen_token = named_server(ctx, settings or Settings(), server, token)
    return connect(url.value, chosen_token)


def given_stdin() -> BinaryIO:
    """Return stdin. Raises BadInput where there is none."""
    if sys.stdin is None:
        raise BadInput("there is no stdin to read from.")
    return sys.stdin.buffer


def read_stdin(limit: int) -> str:
    """Return up to `limit` bytes of stdin as text. Raises BadInput."""
    try:
        return given_stdin().read(limit).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin is not text in UTF-8: {error}.") from error


def at_terminal() -> bool:
    """Whether a person sees what is printed, and can type."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def print_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    import msgspec  # noqa: PLC0415

    print(printable_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def note(message: str) -> None:
    """Write a note for the person to stderr. That nobody can read it is no failure."""
    if sys.stderr is None:
        return  # `print` would take stdout instead
    try:
        print(printable(message), file=sys.stderr)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def silence_stdout() -> None:
    """Let everything that is printed from here on go nowhere, because nobody can read it."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def offered[T](ctx: typer.Context, look: Callable[[Client], list[T]]) -> list[T]:
    """Return what a completion offers; nothing, without a word, where that cannot be found out."""
    with contextlib.suppress(HitlError):
        client = completing(ctx)
        if client is not None:
            with client:
                return look(client)
    return []


def complete_promise(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the promises that wait for a person."""
    from hitl_cli.inbox.listing import pending  # noqa: PLC0415

    for item in offered(ctx, lambda client: pending(client, limit=COMPLETIONS)[0]):
        if item.id.startswith(incomplete):
            yield item.id, printable(item.prompt or item.function or "")


def complete_run(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the runs, the newest first."""
    from hitl_cli import runs  # noqa: PLC0415

    for item in offered(ctx, lambda client: runs.list_runs(client, limit=COMPLETIONS)[0]):
        if item.id.startswith(incomplete):
            yield item.id, f"{item.function or ''} {item.state}"
