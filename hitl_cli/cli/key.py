"""`hitl key list` and `hitl key rotate`: the keys that sign links and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from hitl_cli.auth import signing_keys
from hitl_cli.cli.context import AtFile
from hitl_cli.cli.options import AsJson, family, flag
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import Column, print_table
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.format.times import local_minute
from hitl_cli.views.auth import key_document

if TYPE_CHECKING:
    from pathlib import Path

app = family("key", "Manage the keys that sign links and sessions of the inbox page.")


@app.command()
def rotate(
    ctx: AtFile,
    forget: Annotated[bool, flag("Revoke all older keys. Ends every link and session.", "--forget")] = False,
) -> None:
    """Create a new signing key. Existing links and sessions stay valid until they expire."""
    path = _key_file(ctx)
    kept = signing_keys.rotate(path, now_ms(), forget=forget).keys
    old = len(kept) - 1
    said = f"{old} older {'key stays' if old == 1 else 'keys stay'} valid until its signatures expire"
    print(f"new signing key: {kept[0].name}; {said if old else 'all earlier links and sessions are revoked'}")


@app.command("list")
def list_(ctx: AtFile, as_json: AsJson = False) -> None:
    """List valid signing keys (never the secrets). The first one signs."""
    found = signing_keys.load_keys(_key_file(ctx), now_ms()).keys
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


def _key_file(ctx: AtFile) -> Path:
    """Return the key file of a server."""
    return ctx.settings.keys(ctx.server()[0].value)
