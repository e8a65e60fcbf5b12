"""The page of one request: what is asked, the form by which it is answered, and what came of it.

The inbox and the links show the same page; `action` is the address that its form is sent to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.gateway.access import form_text
from hitl_cli.gateway.rendering import page
from hitl_cli.gateway.service import gateway_of
from hitl_cli.inbox.deciding import approval, decide, rejection
from hitl_cli.inbox.details import details
from hitl_cli.inbox.lookup import find

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web import Request

    from hitl_cli.client import Client
    from hitl_cli.gateway.access import Visitor
    from hitl_cli.inbox.details import Details
    from hitl_cli.people import Groups


async def show(request: Request, name: str, *, action: str, status: int = 200) -> web.Response:
    """Return the page of the request that a name means, for the visitor. Changes nothing."""
    gateway = gateway_of(request)
    seen = await gateway.bridge.run(seen_by_name, name, gateway.options.directory.members)
    return page(request, "request.html", status=status, seen=seen, action=action)


async def take(request: Request, name: str, visitor: Visitor, *, action: str) -> web.Response:
    """Answer a request as the form that was sent says, and return the page of what came of it."""
    gateway = gateway_of(request)
    form = await request.post()
    gateway.access.check_csrf(visitor, form_text(form, "csrf"))
    comment = form_text(form, "comment") or None
    if form_text(form, "verdict") == "reject":
        answer = rejection(
            by=visitor.person, via=visitor.via, reason=form_text(form, "reason") or None, comment=comment
        )
    else:
        answer = approval(by=visitor.person, via=visitor.via, comment=comment)
    await gateway.bridge.run(decide, name, answer, gateway.options.directory.members)
    return await show(request, name, action=action)


def seen_by_name(client: Client, name: str, groups: Groups) -> Details:
    """Return all that there is to know of the request that a name means. Raises NotFound, BadInput."""
    return details(client, find(client, name), groups)
