"""The options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"]}
"""What all commands have in common."""

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-S",
        metavar="URL",
        help="sqlite:///path or http(s)://host. (HITL_SERVER or RESONATE_URL; else a file of your own)",
    ),
]

Token = Annotated[
    str | None,
    typer.Option("--token", "-T", metavar="TOKEN", help="Token for the server. (RESONATE_TOKEN)"),
]

Workflow = Annotated[
    str | None,
    typer.Option("--workflow", "-w", metavar="NAME", help="Which workflow. (HITL_WORKFLOW; else approval)"),
]

Kwarg = Annotated[
    list[str] | None, typer.Option("--kwarg", "-k", metavar="NAME=VALUE", help="An argument by name.")
]

Group = Annotated[
    str | None,
    typer.Option(
        "--group", "-g", metavar="NAME", help="The group of workers that runs it. (HITL_GROUP; else default)"
    ),
]

Port = Annotated[
    int, typer.Option("--port", "-p", min=0, max=65_535, metavar="PORT", help="0 takes any free one.")
]

Matching = Annotated[
    str | None,
    typer.Option("--workflow", "-w", metavar="GLOB", help="Only of runs or functions with such a name."),
]

Every = Annotated[bool, typer.Option("--all", "-a", help="Show all.")]

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

Who = Annotated[
    str | None,
    typer.Option("--as", metavar="WHO", help="Who acts. (HITL_AS; else your login name)"),
]


def family(name: str, about: str, kind: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """Return what the commands of a family, such as `hitl token`, are added to."""
    return typer.Typer(
        name=name, cls=kind, help=about, no_args_is_help=True, add_completion=False, context_settings=CONTEXT
    )
