"""The options that commands share."""

from __future__ import annotations

from inspect import unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONTEXT = {"help_option_names": ["-h", "--help"]}
"""Settings of all commands."""


def argument(metavar: str, about: str, *, complete: Callable[..., Any] | None = None) -> Any:
    """Return an argument; `complete` returns its completions."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=complete)


def value(metavar: str, about: str, *names: str, complete: Callable[..., Any] | None = None) -> Any:
    """Return an option with a value, named after its parameter unless `names` are given."""
    return typer.Option(*names, metavar=metavar, help=about, autocompletion=complete)


def flag(about: str, *names: str) -> Any:
    """Return an option without a value."""
    return typer.Option(*names, help=about)


def number(metavar: str, about: str, *names: str, least: int, most: int | None = None) -> Any:
    """Return an option with a whole number from `least` to `most`."""

    def checked(given: int | None) -> int | None:
        if given is not None and (given < least or (most is not None and given > most)):
            reach = f"at least {least}" if most is None else f"from {least} to {most}"
            raise typer.BadParameter(f"{given} is not {reach}")
        return given

    return typer.Option(*names, metavar=metavar, help=about, callback=checked)


def _open_requests(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from hitl_cli.cli.completion import complete_promise

    return complete_promise(ctx, incomplete)


_REQUEST = "A request: its id, an id prefix, its key, or a run with one open request."

Ids = Annotated[list[str] | None, argument("ID...", _REQUEST, complete=_open_requests)]
Id = Annotated[str, argument("ID", _REQUEST, complete=_open_requests)]

Server = Annotated[
    str | None,
    value(
        "URL",
        "Database, server, or gateway of `hitl login`: sqlite:///path, http(s)://host or"
        " postgresql://host/db. Default: the file hitl.db in your data folder. (HITL_SERVER, RESONATE_URL)",
        "--server",
        "-S",
    ),
]

Token = Annotated[
    str | None,
    value(
        "TOKEN",
        "Token of the server, or of `hitl token` if -S is a gateway. (RESONATE_TOKEN, HITL_TOKEN)",
        "--token",
        "-T",
    ),
]

Debug = Annotated[bool, flag("Show tracebacks.", "--debug")]

Workflow = Annotated[
    str | None, value("NAME", "Workflow to run. Default: approval. (HITL_WORKFLOW)", "--workflow", "-w")
]

Args = Annotated[
    str | None,
    value(
        "JSON", "All arguments as a JSON list; for a workflow in Rust, its one argument as JSON.", "--args"
    ),
]
Kwarg = Annotated[list[str] | None, value("NAME=VALUE", "Keyword argument (repeatable).", "--kwarg", "-k")]

Group = Annotated[
    str | None,
    value("NAME", "Group of workers to run it. Default: default. (HITL_GROUP)", "--group", "-g"),
]

Port = Annotated[
    int,
    number("PORT", "Port to listen on. 0 picks a free one.", "--port", "-p", least=0, most=65_535),
]

Matching = Annotated[
    str | None, value("GLOB", "Only runs or workflows with a matching name.", "--workflow", "-w")
]

Every = Annotated[bool, flag("Show all.", "--all", "-a")]

Limit = Annotated[int, number("N", "Maximum number to show.", "--limit", "-n", least=1)]

AsJson = Annotated[bool, flag("Print JSON.", "--json")]

UnknownNames = Annotated[bool, flag("Accept names that are not in the settings.", "--yes", "-y")]

Proof = Annotated[
    Literal["signed", "passkey"] | None,
    value("KIND", "Required signature: signed (with an SSH key or a passkey), or passkey."),
]
Sign = Annotated[bool, flag("Sign the decision with your SSH key.", "--sign")]
SshKey = Annotated[
    Path | None,
    value("FILE", "SSH key to sign with. Default: your key in the SSH agent. (HITL_SSH_KEY)", "--key"),
]

CheckpointKey = Annotated[
    Path | None,
    value(
        "FILE",
        "SSH key that signs the checkpoint. Default: checkpoints.key of the settings. (HITL_SSH_KEY)",
        "--key",
    ),
]

Who = Annotated[str | None, value("WHO", "Act as this person. Default: your login name. (HITL_AS)", "--as")]


def _shared(who: Who = None, server: Server = None, token: Token = None) -> None:
    """Declare the options that kinds of contexts share (hitl_cli/cli/context.py)."""


class SharingCommand(TyperCommand):
    """A command that takes the options which the class of its `ctx` shares, too."""

    def __init__(self, *, callback: Any, params: Any, **settings: Any) -> None:
        command = unwrap(callback)
        kind: Any = getattr(command, "__globals__", {}).get(command.__annotations__.get("ctx"))
        self._shared: Sequence[str] = getattr(kind, "shared", ())
        super().__init__(callback=callback, params=_with_shared(params, self._shared), **settings)
        if hasattr(kind, "shared"):
            self.context_class = kind

    def invoke(self, ctx: Any) -> Any:
        """Call the function of the command with its own options."""
        own = {name: given for name, given in ctx.params.items() if name not in self._shared}
        return ctx.invoke(self.callback, **own)


def _with_shared(params: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return the parameters of a command with the shared ones at the end, but --json after --as."""
    if not names:
        return list(params)
    app = typer.Typer(add_completion=False)
    app.command()(_shared)
    shared: Any = typer.main.get_command(app)
    who, *place = [param if param.name in names else None for param in shared.params]
    last = [param for param in params if param.name == "as_json" and param is params[-1]]
    return [param for param in [*params[: len(params) - len(last)], who, *last, *place] if param]


class Family(TyperGroup):
    """A group of commands; without a command it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])


class _Commands(typer.Typer):
    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Add the decorated function as a command."""
        return super().command(name, cls=SharingCommand, **settings)


def family(name: str, about: str, kind: type[Family] = Family) -> typer.Typer:
    """Return a group of commands, such as `hitl token`."""
    return _Commands(name=name, cls=kind, help=about, add_completion=False, context_settings=CONTEXT)
