"""The options that commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = {"help_option_names": ["-h", "--help"]}
"""What all commands have in common."""


def argument(metavar: str, about: str, *, complete: Callable[..., Any] | None = None) -> Any:
    """Return an argument; `complete` returns what the Tab key offers for it."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=complete)


def value(metavar: str, about: str, *names: str, complete: Callable[..., Any] | None = None) -> Any:
    """Return an option that takes a value, called as its parameter unless it has other names."""
    return typer.Option(*names, metavar=metavar, help=about, autocompletion=complete)


def flag(about: str, *names: str) -> Any:
    """Return an option that takes no value."""
    return typer.Option(*names, help=about)


Server = Annotated[
    str | None,
    value(
        "URL",
        "sqlite:///path or http(s)://host. (HITL_SERVER or RESONATE_URL; else a file of your own)",
        "--server",
        "-S",
    ),
]

Token = Annotated[str | None, value("TOKEN", "Token for the server. (RESONATE_TOKEN)", "--token", "-T")]

Debug = Annotated[bool, flag("Show tracebacks.", "--debug")]

Workflow = Annotated[
    str | None, value("NAME", "Which workflow. (HITL_WORKFLOW; else approval)", "--workflow", "-w")
]

Args = Annotated[
    str | None,
    value(
        "JSON", "All arguments, exactly as written: a list, or one value for a function in Rust.", "--args"
    ),
]
Kwarg = Annotated[list[str] | None, value("NAME=VALUE", "An argument by name.", "--kwarg", "-k")]

Group = Annotated[
    str | None,
    value("NAME", "The group of workers that runs it. (HITL_GROUP; else default)", "--group", "-g"),
]

Port = Annotated[
    int, typer.Option("--port", "-p", min=0, max=65_535, metavar="PORT", help="0 takes any free one.")
]

Matching = Annotated[
    str | None, value("GLOB", "Only of runs or functions with such a name.", "--workflow", "-w")
]

Every = Annotated[bool, flag("Show all.", "--all", "-a")]

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show.")]

AsJson = Annotated[bool, flag("Print one JSON document.", "--json")]

Who = Annotated[str | None, value("WHO", "Who acts. (HITL_AS; else your login name)", "--as")]


class Family(TyperGroup):
    """Commands under one name, which alone shows their help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])


def family(name: str, about: str, kind: type[Family] = Family) -> typer.Typer:
    """Return what the commands of a family, such as `hitl token`, are added to."""
    return typer.Typer(name=name, cls=kind, help=about, add_completion=False, context_settings=CONTEXT)
