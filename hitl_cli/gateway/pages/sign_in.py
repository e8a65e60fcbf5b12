"""Signing in, with a link by e-mail or an API token, and signing out.

Pages do not reveal whether a name is known. Opening a sign-in link changes nothing: the button on its page
signs in, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec.structs import replace

from hitl_cli.auth import sign_in
from hitl_cli.auth.ended import end, token_subject
from hitl_cli.auth.links import LinkExpired, LinkInvalid
from hitl_cli.errors import Unreachable, logged
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.auth.access import PERSON, VISITOR, Visitor
from hitl_cli.gateway.auth.redirects import HOME, local_path
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.notify.channels import registry
from hitl_cli.notify.messages import DeliveryFailed, Message
from hitl_cli.people.actor import Actor

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.gateway.auth.sessions import Session
    from hitl_cli.gateway.context import Gateway
    from hitl_cli.people.contacts import Address

logger = logging.getLogger(__name__)

type Kept = Sequence[tuple[str, str]]
"""The names and texts of a form that is kept until its person has signed in."""

OWN = ("csrf", "next", "who", "token", "newer")
"""The fields of the sign-in form."""

LONGEST_NAME = 320
"""Characters of a name or an e-mail address (RFC 5321: 64 + 1 + 255)."""

RETURNED_MS = 10_000
"""How long the sign-in page remembers that it has redirected a signed-in visitor to the page they wanted."""

SEND_S = 60.0
"""Timeout for sending a mail."""


async def keep(request: Request, wanted: str) -> web.Response:
    """Ask a browser with an expired session to sign in, and keep the form that it sent.

    The gateway does not store the form: it travels from page to page in hidden fields, and is only shown
    again (`Access.keep_mark`).
    """
    response = _form(request, wanted, status=401, kept=kept_in(await request.post()))
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def kept_in(form: Any) -> Kept:
    """Return the fields of a form, without those of the sign-in form."""
    return [(name, text) for name, text in form.items() if isinstance(text, str) and name not in OWN]


async def _show(request: Request) -> web.Response:
    """Show the sign-in page. A visitor who is signed in is redirected to the page they wanted, once.

    Another gateway of the server may refuse their session there, for example while only one of the two has
    read that it was ended. It sends them back here, and without this limit they would go in circles.
    """
    cookies = gateway_of(request).cookies
    wanted = local_path(request.query.get("next", HOME))
    if gateway_of(request).access.known(request) is None:
        return _form(request, wanted)
    if cookies.get(request, cookies.returned) == _digest(wanted):
        problem = "Your session was refused. Sign in again."
        return _form(request, wanted, problem=problem, status=403)
    response = _go_to(wanted)
    cookies.put(response, cookies.returned, _digest(wanted), RETURNED_MS, below="/sign-in")
    return response


async def _take(request: Request) -> web.Response:
    """Send a sign-in link to the named person, or sign in with a token."""
    gateway = gateway_of(request)
    given = await request.post()
    _check_visit(request, form_text(given, "csrf"))
    wanted = local_path(form_text(given, "next") or HOME)
    kept = kept_in(given)
    check_pace(request)
    if token := form_text(given, "token").strip():
        return await _by_token(request, token, wanted, kept)
    name = form_text(given, "who").strip()
    if not name or len(name) > LONGEST_NAME:
        problem = "Enter your user name or e-mail address."
        return _form(request, wanted, problem=problem, kept=kept)
    known = sign_in.person_known(gateway.options.people, name)
    if known is not None and not gateway.mails_to.count(known[0]):
        _send_link(gateway, *known, wanted)
    minutes = sign_in.LIFE_MS // 60_000
    return page(request, "sign_in_sent.html", minutes=minutes, wanted=wanted, kept=kept)


async def _by_token(request: Request, text: str, wanted: str, kept: Kept) -> web.Response:
    """Sign in with an API token, with its permissions and until it expires."""
    gateway = gateway_of(request)
    token = await gateway.bearers.find(text)
    if token is None:
        return _form(
            request,
            wanted,
            problem="This token is not valid: it is unknown, expired or revoked.",
            by_token=True,
            kept=kept,
        )
    if "read" not in token.can:
        return _form(
            request,
            wanted,
            problem="This token has no read permission, so you cannot sign in with it.",
            by_token=True,
            kept=kept,
        )
    session = sessions.begin(
        token.person, token.can, gateway.clock(), token.expires_at, subjects=(token_subject(token.id),)
    )
    return signed_in(gateway, session, wanted, again=bool(kept))


def _send_link(gateway: Gateway, person: str, address: Address, wanted: str) -> None:
    """Send a sign-in link in the background, so that timing does not reveal whether it was sent."""
    link = sign_in.link_for(person, gateway.clock(), wanted)
    url = f"{gateway.options.url}{sign_in.PATH}{sign_in.sign(link, gateway.keys())}"
    id = f"sign-in-{link.id}"
    message = Message(
        id=id, occasion="sign-in", to=person, subject="Sign in", thread=id, inbox=url, at=gateway.clock()
    )
    gateway.go_on(_send(gateway, message, address))


async def _send(gateway: Gateway, message: Message, address: Address) -> None:
    """Send a message.

    A failure is only logged, because the visitor must not learn whether a name is known.
    """
    try:
        async with asyncio.timeout(SEND_S):
            await registry.send(message, address, gateway.options.people)
    except (DeliveryFailed, TimeoutError) as error:
        logger.warning(
            "sign-in mail for %s was not sent: %s", printable(message.to), printable(logged(error))
        )


async def _show_link(request: Request) -> web.Response:
    """Show the page of a sign-in link, with its button."""
    gateway = gateway_of(request)
    request[VISITOR] = None
    try:
        link = sign_in.read(request.match_info["token"], gateway.keys(), gateway.clock())
        await gateway.bridge.run(sign_in.check_unused, link)
    except (LinkInvalid, LinkExpired) as error:
        return _nowhere(request, error)
    return _with_visit(request, "sign_in_link.html", person=link.person)


async def _take_link(request: Request) -> web.Response:
    """Sign in with a link."""
    gateway = gateway_of(request)
    request[VISITOR] = None
    _check_visit(request, form_text(await request.post(), "csrf"))
    try:
        link = sign_in.read(request.match_info["token"], gateway.keys(), gateway.clock())
        await gateway.bridge.run(sign_in.use, link)
    except (LinkInvalid, LinkExpired) as error:
        return _nowhere(request, error)
    return signed_in(gateway, sessions.begin(link.person, PERSON, gateway.clock()), local_path(link.wanted))


async def _sign_out(request: Request) -> web.Response:
    """Sign out: delete the browser's session cookie."""
    gateway = gateway_of(request)
    elsewhere = any(one.sign_out for one in gateway.access.sign_ins)
    response = _go_to("/sign-in?out=1" if elsewhere else "/sign-in")
    visitor = gateway.access.known(request)
    if visitor is None:
        return response
    gateway.access.check_csrf(visitor, form_text(await request.post(), "csrf"))
    gateway.cookies.drop(response, gateway.cookies.session)
    session = gateway.cookies.session_in(request, gateway.keys(), gateway.clock())
    if session is not None:
        with suppress(Unreachable):  # the browser has forgotten it in any case
            await gateway.bridge.run(
                end, session.subject, life_ms=sessions.LIFE_MS, by=visitor.person, via="web"
            )
    if session is not None and session.place is None:
        gateway.cookies.drop(response, gateway.cookies.session_before)
    return response


def signed_in(gateway: Gateway, session: Session, wanted: str, *, again: bool = False) -> web.Response:
    """Return the response that begins a session and redirects to the wanted page.

    With `again` it is a 307, with which the browser sends the kept form to that page.
    """
    response = _go_to(wanted, 307 if again else 303)
    text = sessions.sign(replace(session, place=gateway.cookies.place), gateway.keys())
    gateway.cookies.put(response, gateway.cookies.session, text, session.ends_at - gateway.clock())
    gateway.cookies.drop(response, gateway.cookies.visit)
    return response


def _go_to(path: str, status: int = 303) -> web.Response:
    """Return a redirect to a page of this gateway."""
    return web.Response(status=status, headers={"Location": path})


def _digest(path: str) -> str:
    """Return a short text for a path that fits into a cookie."""
    return sha256(path.encode()).hexdigest()[:16]


def _form(
    request: Request,
    wanted: str,
    problem: str = "",
    *,
    status: int | None = None,
    by_token: bool = False,
    kept: Kept = (),
) -> web.Response:
    """Return the sign-in page. `by_token` opens the token form; `kept` is the form to continue with."""
    gateway = gateway_of(request)
    by_mail = gateway.options.people.email is not None
    return _with_visit(
        request,
        "sign_in.html",
        status=status or (400 if problem else 200),
        kept=kept,
        wanted=wanted,
        problem=problem,
        by_mail=by_mail,
        by_token=by_token,
        sign_ins=gateway.access.sign_ins,
        signed_out="out" in request.query,
    )


def _nowhere(request: Request, error: LinkInvalid | LinkExpired) -> web.Response:
    """Return the page for an invalid, used or expired sign-in link."""
    status = 410
    if isinstance(error, LinkInvalid):
        check_pace(request)
        status = 403
    heading = "You cannot sign in with this link"
    said = {"heading": heading, "message": str(error), "code": error.code}
    return page(request, "link_over.html", status=status, again=True, **said)


# Protection of forms for visitors without a session


def _with_visit(request: Request, template: str, status: int = 200, **context: object) -> web.Response:
    """Return a page with a form that is valid only in this browser, which has not signed in."""
    gateway = gateway_of(request)
    known = gateway.cookies.visit_of(request)
    visit = known or sessions.fresh_id()
    mark = gateway.access.csrf(_visitor_of(visit))
    response = page(request, template, status=status, mark=mark, **context)
    if known is None:
        gateway.cookies.put(response, gateway.cookies.visit, visit)
    return response


def _check_visit(request: Request, mark: str) -> None:
    """Raise HttpError unless the gateway gave this form to this browser."""
    gateway = gateway_of(request)
    gateway.access.check_csrf(_visitor_of(gateway.cookies.visit_of(request) or sessions.fresh_id()), mark)


def _visitor_of(visit: str) -> Visitor:
    """Return a visitor without a name or permissions, for a browser that has not signed in."""
    return Visitor(actor=Actor(person="", via="sign-in", may=frozenset()), session=visit)


def check_pace(request: Request) -> None:
    """Raise HttpError (429) after too many attempts."""
    gateway_of(request).sign_ins.check(request, "too many attempts to sign in. Try again in 15 minutes.")


ROUTES = [
    web.get("/sign-in", _show),
    web.post("/sign-in", _take),
    web.get("/sign-in/{token}", _show_link),
    web.post("/sign-in/{token}", _take_link),
    web.post("/sign-out", _sign_out),
]
