"""`hitl show`: one request with all its details."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import inbox_of, opened, reached_gateway
from hitl_cli.cli.options import AsJson, Server, Token, argument
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.request import print_request
from hitl_cli.cli.render.suggested_commands import commands
from hitl_cli.people.gateway_file import page_of
from hitl_cli.settings import Settings
from hitl_cli.views.request import request_details_document


def show(
    ctx: typer.Context,
    id: Annotated[
        str,
        argument(
            "ID",
            "A request: its id, an id prefix, its key, or a run with one open request.",
            complete=complete_promise,
        ),
    ],
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show one request with its details, votes and comments, and how to answer it."""
    named = server or ctx.obj["server"]
    settings = Settings()
    with opened(inbox_of, ctx, server, token, settings=settings) as (inbox, _):
        seen = inbox.show(id)
        document = request_details_document(seen, settings.contacts())
        if as_json:
            shown = msgspec.to_builtins(document)
            print_json({**shown, "answer_with": commands(seen, named)})
        else:
            gateway = reached_gateway(ctx, server, settings)
            print_request(seen, named, document.without_contact, gateway and page_of(gateway, seen.item.id))
