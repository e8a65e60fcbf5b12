"""`hitl people remove`: end everything with which a person can act."""

from __future__ import annotations

from typing import Annotated

import typer

from hitl_cli.auth.removal import remove as remove_person
from hitl_cli.cli.completion import complete_person
from hitl_cli.cli.context import open_client
from hitl_cli.cli.options import AsJson, Server, Token, argument
from hitl_cli.cli.output import note, print_json
from hitl_cli.format.shell import quoted
from hitl_cli.format.terminal import printable
from hitl_cli.people.actor import check_person
from hitl_cli.people.groups import unknown_people
from hitl_cli.settings import Settings


def remove(
    ctx: typer.Context,
    name: Annotated[str, argument("NAME", "The person.", complete=complete_person)],
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """End a person's sessions, tokens and links at all gateways, within seconds."""
    settings = Settings()
    groups = settings.groups()
    person = groups.name(check_person(name))
    with open_client(ctx, server, token, settings, creates=True) as client:
        revoked = remove_person(client, person, groups, by=settings.person().value, via="cli")
    if as_json:
        print_json({"person": person, "tokens": [one.id for one in revoked]})
    else:
        count = f"{len(revoked)} {'token' if len(revoked) == 1 else 'tokens'} revoked"
        print(printable(f"{person}: {count}; sessions and links of before have ended"))
    if groups.unknown([person]):
        note(printable(unknown_people([person], groups)))
        return
    note(
        printable(
            f"{person} can sign in again until you remove them from {settings.path or 'hitl.toml'} and"
            " disable their account at your sign-in provider. Their requests:"
            f" hitl pending --to {quoted(person)}"
        )
    )
