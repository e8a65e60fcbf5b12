"""`hitl show`: one request, with all that there is to know of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from hitl_cli.cli.answering import commands
from hitl_cli.cli.request import print_request
from hitl_cli.cli.shared import AsJson, Server, Token, complete_promise, open_client, print_json
from hitl_cli.documents.request import request_document
from hitl_cli.inbox.details import details
from hitl_cli.inbox.lookup import find
from hitl_cli.settings import Settings


def show(
    ctx: typer.Context,
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A promise, a key, the beginning of an id, or a workflow that asks one thing.",
            autocompletion=complete_promise,
        ),
    ],
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show all of one request: what is asked, of whom, what was said so far, and how to answer it."""
    settings = Settings()
    named = server or (ctx.obj or {}).get("server")
    with open_client(ctx, server, token, settings) as client:
        seen = details(client, find(client, id), settings.groups())
        if as_json:
            shown = msgspec.to_builtins(request_document(seen))
            print_json({**shown, "answer_with": commands(seen, named)})
        else:
            print_request(seen, named)
