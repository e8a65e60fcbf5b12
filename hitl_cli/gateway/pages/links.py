"""`/l/TOKEN`: the page of one request, for anyone who has the link.

GET changes nothing, so that a mail scanner may open the link; POST decides, as the link's person. A visitor
with a link sees this request only: they have no session, and their form is valid for this link only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from hitl_cli.auth import links
from hitl_cli.auth.links import LinkExpired, LinkInvalid, LinkUsed
from hitl_cli.errors import HitlError, NotAllowed, NotFound
from hitl_cli.gateway.api import events
from hitl_cli.gateway.auth.access import PERSON, VISITOR, Visitor
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import CODES
from hitl_cli.gateway.pages import request as request_page
from hitl_cli.gateway.pages.form_route import taken
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.pages.sign_in import kept_in
from hitl_cli.people.actor import Credential

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.inbox.request_summary import RequestSummary

PAGES: dict[type[HitlError], tuple[int, str]] = {
    LinkInvalid: (403, "This link is not valid"),
    LinkExpired: (410, "This link no longer works"),
    LinkUsed: (410, "This request is closed"),
    NotFound: (404, "Request not found"),
    NotAllowed: (403, "You cannot answer this request"),
}
"""The status and the heading of the page for a link that cannot be used; the error's message is its text."""


async def _show(request: Request) -> web.Response:
    """Show the request that a link is for."""
    request[VISITOR] = None  # the link's person acts, not the signed-in one
    try:
        visitor, item = await _opened(request)
    except tuple(PAGES) as error:
        return _nowhere(request, error)
    looked = await request_page.look(request, visitor, item)
    return await request_page.show(request, visitor, looked, action=_path_of(request))


async def _take(request: Request) -> web.StreamResponse:
    """Answer the request of a link, as the link's person.

    If the form has a newer link, redirect there with the form, which that page fills in.
    """
    request[VISITOR] = None
    try:
        newer = form_text(await request.post(), "newer").strip()
        if newer and (token := links.token_of(newer)) != request.match_info["token"]:
            raise web.HTTPTemporaryRedirect(links.PATH + quote(token, safe=""))
        visitor, item = await _opened(request)
    except tuple(PAGES) as error:
        return _nowhere(request, error, await request.post())
    where: dict[str, Any] = {"name": item, "address_of": lambda _id: _path_of(request)}
    return await taken(
        request, visitor, partial(request_page.take, **where), partial(request_page.stale, **where)
    )


async def _events(request: Request) -> web.StreamResponse:
    """Stream the changes of a link's request, while the link is valid."""
    request[VISITOR] = None
    try:
        visitor, _ = await _opened(request)
    except tuple(PAGES) as error:
        return _nowhere(request, error)

    async def is_good() -> bool:
        try:
            await _opened(request)
        except HitlError:
            return False
        return True

    return await events.tell(request, visitor.actor, is_good)


async def _opened(request: Request) -> tuple[Visitor, RequestSummary]:
    """Return the link's person as the visitor, and its request. Raises the errors of PAGES."""
    gateway = gateway_of(request)
    token = request.match_info["token"]
    link = links.link_in(token, gateway.keys())
    credential = Credential(made_at=link.made_at, link=link.id)
    actor = gateway.access.actor(link.person, "link", PERSON, only=link.request, credential=credential)
    item = await gateway.bridge.run(links.open_link, link, actor.groups, clock=gateway.clock)
    visitor = Visitor(actor=actor, session=token)
    request[VISITOR] = visitor
    return visitor, item


def _nowhere(request: Request, error: HitlError, form: Any = None) -> web.Response:
    """Return the page for a link that cannot be used. Too many invalid links from a network are refused.

    The page shows what was typed into the form, and offers to continue with it.
    """
    status, heading = next(PAGES[kind] for kind in type(error).__mro__ if kind in PAGES)
    message, code, headers, more = str(error), error.code, {}, dict[str, Any]()
    if form is not None:
        more["typed"] = request_page.typed_in(form)
    if isinstance(error, LinkInvalid):
        wait_ms = gateway_of(request).bad_links.count_from(request)
        if wait_ms:
            status, headers = 429, {"Retry-After": str(wait_ms // 1_000 + 1)}
            heading, message = "Too many invalid links", "wait a minute, then try again."
            code = CODES[429]
        else:
            message = (
                "it is incomplete or was changed. Open it again from your message, or copy the whole link."
            )
    elif isinstance(error, LinkExpired):
        link = links.link_in(request.match_info["token"], gateway_of(request).keys())
        more["inbox"] = f"/r/{quote(link.request, safe=':')}"
        more["kept"] = kept_in(form or {})
    elif isinstance(error, LinkUsed):
        more["at"] = error.at
        if error.replaced_by is not None:
            more["inbox"] = f"/r/{quote(error.replaced_by, safe=':')}"
        if form is None and error.replaced_by is None:
            message += " You do not need to do anything."
        elif form is not None:
            heading = "Your answer did not count"
    said = {"heading": heading, "message": message, "code": code}
    response = page(request, "link_over.html", status=status, **said, **more)
    response.headers.update(headers)
    return response


def _path_of(request: Request) -> str:
    """Return the path of the link in a request."""
    return links.PATH + quote(request.match_info["token"])


ROUTES = [
    web.get("/l/{token}", _show),
    web.post("/l/{token}", _take),
    web.get("/l/{token}/events", _events, allow_head=False),
]
