"""`/l/TOKEN`: the page of one request for the person in a link, and for whoever else has it.

To look changes nothing, so that a mail scanner may; to send the page's form decides. Whoever comes by a link
sees this one request: they have no session, and their form is good for this link alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from hitl_cli.auth import links
from hitl_cli.auth.links import LinkExpired, LinkInvalid, LinkUsed
from hitl_cli.errors import HitlError, NotAllowed, NotFound
from hitl_cli.gateway.api import events
from hitl_cli.gateway.auth.access import PERSON, VISITOR, Visitor
from hitl_cli.gateway.auth.rate_limit import network_of
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import CODES
from hitl_cli.gateway.pages import request as request_page
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.pages.sign_in import kept_in

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.inbox.pending import RequestSummary

PAGES: dict[type[HitlError], tuple[int, str]] = {
    LinkInvalid: (403, "This link does not work"),
    LinkExpired: (410, "This link has ended"),
    LinkUsed: (410, "There is nothing left to answer"),
    NotFound: (404, "The request is gone"),
    NotAllowed: (403, "It is not yours to answer"),
}
"""The status and the heading of the page for a link that leads nowhere; the error's message is its text."""


async def _show(request: Request) -> web.Response:
    """Show the request that a link is for."""
    request[VISITOR] = None  # whoever else is signed in here: it is the link that counts
    try:
        visitor, item = await _opened(request)
    except tuple(PAGES) as error:
        return _nowhere(request, error)
    looked = await request_page.look(request, visitor, item)
    return request_page.show(request, visitor, looked, action=_path_of(request))


async def _take(request: Request) -> web.Response:
    """Answer the request that a link is for, in the name of its person.

    Where the form has a newer link, what it says goes on to the page of that one, which shows it.
    """
    request[VISITOR] = None
    try:
        newer = form_text(await request.post(), "newer").strip()
        if newer and (token := links.token_of(newer)) != request.match_info["token"]:
            raise web.HTTPTemporaryRedirect(links.PATH + quote(token, safe=""))
        visitor, item = await _opened(request)
    except tuple(PAGES) as error:
        return _nowhere(request, error, await request.post())
    return await request_page.take(request, item, visitor, lambda _id: _path_of(request))


async def _events(request: Request) -> web.StreamResponse:
    """Tell the page of a link what changes of its request, while the link is good."""
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
    actor = gateway.access.actor(link.person, "link", PERSON, only=link.request)
    item = await gateway.bridge.run(links.open_link, link, actor.groups, clock=gateway.clock)
    visitor = Visitor(actor=actor, session=token)
    request[VISITOR] = visitor
    return visitor, item


def _nowhere(request: Request, error: HitlError, form: Any = None) -> web.Response:
    """Return the page for a link that leads nowhere. Who tries many that were never ours has to wait.

    What a form said that came to nothing is on it, and goes on to where one answers without a link.
    """
    status, heading = next(PAGES[kind] for kind in type(error).__mro__ if kind in PAGES)
    message, code, headers, more = str(error), error.code, {}, dict[str, Any]()
    if form is not None:
        more["typed"] = request_page.typed_in(form)
    if isinstance(error, LinkInvalid):
        wait_ms = gateway_of(request).bad_links.count(network_of(request.remote))
        if wait_ms:
            status, headers = 429, {"Retry-After": str(wait_ms // 1_000 + 1)}
            heading, message = "Too many links that do not work", "wait a little before you try another one."
            code = CODES[429]
        else:
            message = (
                "a part is missing, or was changed. Open it from your message once more, or copy all of it."
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
            message += " You need not do anything."
        elif form is not None:
            heading = "Your answer did not count"
    said = {"heading": heading, "message": message, "code": code}
    response = page(request, "link_over.html", status=status, **said, **more)
    response.headers.update(headers)
    return response


def _path_of(request: Request) -> str:
    """Return the path of the link that was asked for."""
    return links.PATH + quote(request.match_info["token"])


ROUTES = [
    web.get("/l/{token}", _show),
    web.post("/l/{token}", _take),
    web.get("/l/{token}/events", _events, allow_head=False),
]
