"""`hitl show`: one request with all its details."""

from __future__ import annotations

import msgspec

from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.options import AsJson, Id
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.request import print_request
from hitl_cli.cli.render.suggested_commands import commands
from hitl_cli.people.gateway_file import page_of
from hitl_cli.views.request import request_details_document


def show(ctx: AsPerson, id: Id, as_json: AsJson = False) -> None:
    """Show one request with its details, votes and comments, and how to answer it."""
    named = ctx.given_server
    with ctx.opened(inbox_of) as (inbox, _):
        seen = inbox.show(id)
        document = request_details_document(seen, ctx.settings.contacts())
        if as_json:
            shown = msgspec.to_builtins(document)
            print_json({**shown, "answer_with": commands(seen, named)})
        else:
            gateway = ctx.gateway
            print_request(seen, named, document.without_contact, gateway and page_of(gateway, seen.item.id))
