"""`hitl key list` and `hitl key rotate`: the keys that sign links and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.auth import signing_keys
from hitl_cli.cli.context import named_server
from hitl_cli.cli.options import AsJson, Server, family, flag
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import Column, print_table
from hitl_cli.engine.server import now_ms
from hitl_cli.format.times import local_minute
from hitl_cli.settings import Settings
from hitl_cli.views.auth import key_document

if TYPE_CHECKING:
    from pathlib import Path

app = family("key", "The keys that sign links and sessions.")


@app.command()
def rotate(
    ctx: typer.Context,
    forget: Annotated[
        bool, flag("End every link and session: believe no older key any more.", "--forget")
    ] = False,
    server: Server = None,
) -> None:
    """Have a new key sign from now on. What was signed before is good until it ends."""
    path = _key_file(ctx, server)
    kept = signing_keys.rotate(path, now_ms(), forget=forget).keys
    old = len(kept) - 1
    said = f"{old} older {'key is' if old == 1 else 'keys are'} believed until what they signed has ended"
    print(f"a new key signs, {kept[0].name}; {said if old else 'nothing that was signed before is good'}")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False, server: Server = None) -> None:
    """Show the keys that are believed, never their secrets: the first one signs."""
    found = signing_keys.load_keys(_key_file(ctx, server), now_ms()).keys
    if as_json:
        print_json([key_document(key) for key in found])
        return
    print_table(
        [
            Column("key", [key.name for key in found], whole=True),
            Column("created", [local_minute(key.created_at) for key in found], whole=True),
            Column(
                "valid until",
                ["signs now" if key.ends_at is None else local_minute(key.ends_at) for key in found],
                whole=True,
            ),
        ]
    )


def _key_file(ctx: typer.Context, server: str | None) -> Path:
    """Return the file of the keys for a server."""
    settings = Settings()
    url, _ = named_server(ctx, settings, server, None)
    return settings.keys(url.value)
