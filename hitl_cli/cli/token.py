"""`hitl token create`, `list` and `revoke`: API tokens for the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from hitl_cli.auth import tokens
from hitl_cli.cli.completion import offered
from hitl_cli.cli.context import AtServer
from hitl_cli.cli.options import AsJson, argument, family, value
from hitl_cli.cli.output import note, note_unknown, print_json
from hitl_cli.cli.render.table import Cell, Column, print_list
from hitl_cli.format.durations import format_age, parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local, local_minute
from hitl_cli.people.actor import PERMISSIONS
from hitl_cli.views.auth import permissions_of, token_document

app = family("token", "Manage the API tokens that programs use at the gateway.")


def _complete_token(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return offered(
        ctx,
        incomplete,
        lambda client, _: ((t.id, t.person) for t in tokens.list_tokens(client) if t.state == "valid"),
    )


@app.command()
def create(
    ctx: AtServer,
    person: Annotated[str, value("WHO", "Person that the token acts as.", "--as")],
    can: Annotated[
        list[str],
        value(
            "WHAT",
            "Permission: read, decide (includes read), start (includes ask) or ask (repeatable).",
            complete=lambda: list(PERMISSIONS),
        ),
    ],
    expires: Annotated[str, value("DURATION", "How long the token is valid.")] = "90d",
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. It is shown only once."""
    life_ms = parse_duration(expires)
    groups = ctx.settings.groups()
    with ctx.client(creates=True) as client:
        named = groups.name(person)
        made, text = tokens.create(client, named, can, life_ms=life_ms, by=ctx.settings.person().value)
    if "decide" in can:  # a program that only asks has a name of its own
        note_unknown([made.person], groups)
    if as_json:
        print_json({**token_document(made), "token": text})
        return
    print(text)
    note(f"It acts as {made.person} until {local(made.expires_at)}. Store it now: it is not shown again.")


@app.command("list")
def list_(ctx: AtServer, as_json: AsJson = False) -> None:
    """List tokens, oldest first. Secrets are never shown."""
    with ctx.client() as client:
        found = tokens.list_tokens(client)
        now = client.now()
    print_list(
        [token_document(one) for one in found],
        [
            Column("token", [one.id for one in found], whole=True),
            Column("as", [one.person for one in found]),
            Column("can", [", ".join(permissions_of(one)) for one in found]),
            Column("state", [Cell(one.state, "" if one.state == "valid" else "dim") for one in found]),
            Column("age", [format_age(max(now - one.created_at, 0)) for one in found], right=True),
            Column("expires", [local_minute(one.expires_at) for one in found]),
            Column("created by", [one.by or "-" for one in found]),
            *([Column("name", [one.name or "-" for one in found])] if any(one.name for one in found) else []),
        ],
        "No tokens. Create one: hitl token create --as reviewer --can decide",
        as_json=as_json,
    )


@app.command()
def revoke(
    ctx: AtServer, id: Annotated[str, argument("ID", "Id of the token.", complete=_complete_token)]
) -> None:
    """Revoke a token. Every gateway rejects it within seconds."""
    with ctx.client() as client:
        fresh = tokens.revoke(client, id, by=ctx.settings.person().value)
    shown = printable(id if len(id) <= tokens.ID_BYTES * 2 else id[5 : 5 + tokens.ID_BYTES * 2])
    print(f"token {shown} {'revoked' if fresh else 'was already revoked or expired'}")
