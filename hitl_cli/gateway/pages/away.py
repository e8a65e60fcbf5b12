"""`/away`: the people who are away, and a form with which visitors record or end their own absence."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.times import moment
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import status_of
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.rendering import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web import Request

    from hitl_cli.errors import HitlError
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.http_error import HttpError
    from hitl_cli.inbox import Inbox

ADDRESS = "/away"


async def _index(request: Request) -> web.Response:
    """Show who is away, and the form."""
    return await _shown(request, gateway_of(request).access.visitor(request, "read"))


async def _take(request: Request, visitor: Visitor, form: Any) -> web.Response:
    """Record that the visitor is away or back, and show who is away now."""
    given = _texts_in(form)
    try:
        await gateway_of(request).inbox(visitor.actor, lambda inbox: _do(inbox, given))
    except (BadInput, NotAllowed) as error:
        return await _shown(request, visitor, given, error, status_of(error))
    raise web.HTTPSeeOther(ADDRESS)


async def _stale(request: Request, visitor: Visitor, form: Any, error: HttpError) -> web.Response:
    """Show the form again."""
    given = _texts_in(form)
    own = gateway_of(request).access.is_keep_mark(given.get("kept", ""), visitor.person, ADDRESS)
    return await _shown(request, visitor, given if own else None, error, status_of(error))


def _texts_in(form: Any) -> dict[str, str]:
    return {name: text.strip() for name, text in form.items() if isinstance(text, str)}


def _do(inbox: Inbox, given: Mapping[str, str]) -> None:
    person = given.get("person") or None
    if given.get("back"):
        inbox.come_back(person)
        return
    until = moment(given.get("until", ""), inbox.client.now(), code="bad-away", zone=UTC)
    inbox.go_away(until=until, to=given.get("to") or None, person=person, anyway="anyway" in given)


async def _shown(
    request: Request,
    visitor: Visitor,
    given: Mapping[str, str] | None = None,
    failed: HitlError | None = None,
    status: int = 200,
) -> web.Response:
    """Return the page; after an error, with the typed texts."""
    aways = await gateway_of(request).inbox(visitor.actor, lambda inbox: inbox.aways())
    actor = visitor.actor
    return page(
        request,
        "away.html",
        status=status,
        rows=[(one, actor.groups.same(one.person, actor.person)) for one in aways],
        sees_all=actor.sees_all,
        may="decide" in actor.may,
        kept=gateway_of(request).access.keep_mark(actor.person, ADDRESS),
        operates=actor.operates,
        given=given or {},
        failed=failed,
        code=failed and failed.code,
    )


ROUTES = [
    web.get(ADDRESS, _index),
    form_route(ADDRESS, _take, "decide", kept_for=lambda _: ADDRESS, stale=_stale),
]
