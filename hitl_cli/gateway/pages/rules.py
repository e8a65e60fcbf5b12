"""`/rules`: the standing rules of a visitor, which they can remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.rule_offers import in_words
from hitl_cli.rules.rules import Rules

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.rules.rule import Rule

ADDRESS = "/rules"


async def _index(request: Request) -> web.Response:
    """Show the valid rules of the visitor."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    actor = visitor.actor

    def look(client: Client) -> list[Rule]:
        return [rule for rule in Rules(client, actor).list() if actor.groups.same(rule.by, actor.person)]

    found = await gateway.bridge.run(look)
    return page(
        request,
        "rules.html",
        rules=[(rule, in_words(rule)) for rule in found],
        may_decide="decide" in actor.may,
    )


async def _remove(request: Request, visitor: Visitor, _form: Any) -> web.Response:
    """Remove a rule, and show the others."""
    id = request.match_info["id"]
    await gateway_of(request).bridge.run(lambda client: Rules(client, visitor.actor).remove(id))
    raise web.HTTPSeeOther(ADDRESS)


ROUTES = [web.get(ADDRESS, _index), form_route(ADDRESS + "/{id}/remove", _remove, "decide")]
