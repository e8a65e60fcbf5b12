"""Who makes a request, and what they may do: the one place where that is decided (docs/security.md).

A visitor is known by an API token, by the session of a browser, by the header of a proxy that signs in, or,
where the gateway listens on this machine alone and nobody else is told of it, by being on this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web
from msgspec import Struct

from hitl_cli.gateway.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.service import Gateway

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ALL = frozenset({"read", "decide", "start"})

VISITOR: web.RequestKey[object] = web.RequestKey("visitor", object)
"""Where a request keeps who makes it: a Visitor, or None."""

SAFE = ("GET", "HEAD", "OPTIONS")

PUBLIC = ("/health", "/ready", "/static/", "/l/", "/sign-in", "/hooks/", "/api/v1/openapi.json")
"""What is answered to anybody: each of these proves who asks by itself, or tells nothing."""


class Visitor(Struct, frozen=True, kw_only=True):
    """Who makes a request: `can` is what of read, decide and start; `via` goes on the record of what they do.

    `session` is what their browser's forms are bound to; None for a program.
    """

    person: str
    via: str
    can: frozenset[str] = ALL
    session: str | None = None


class Access:
    """Decides who makes a request."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def open(self) -> bool:
        """Whether nobody need sign in: it listens on this machine alone, and gives out no other address."""
        options = self._gateway.options
        return (
            is_loopback(options.host)
            and is_loopback(urlsplit(options.url).hostname or "")
            and options.trust_header is None
            and not options.sign_in
        )

    @web.middleware
    async def admit(
        self, request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
    ) -> StreamResponse:
        """Let a request through if it is known who makes it, or if that does not matter."""
        self._check_host(request)
        self._check_site(request)
        request[VISITOR] = await self._identify(request)
        if request[VISITOR] is None and not request.path.startswith(PUBLIC):
            self._turn_away(request)
        return await handler(request)

    async def still_known(self, request: Request) -> bool:
        """Whether it is known who made a request that goes on, as when it began."""
        try:
            return await self._identify(request) is not None
        except Refused:
            return False

    def known(self, request: Request) -> Visitor | None:
        """Return who makes a request, None if nobody knows."""
        visitor = request.get(VISITOR)
        return visitor if isinstance(visitor, Visitor) else None

    def visitor(self, request: Request, needs: str) -> Visitor:
        """Return who makes a request that needs a permission. Raises Refused (401, 403)."""
        visitor = self.known(request)
        if visitor is None:
            self._turn_away(request)
            raise AssertionError
        if needs not in visitor.can:
            raise Refused(403, f"this token may not {needs}.")
        return visitor

    def csrf(self, visitor: Visitor) -> str:
        """Return what the forms of a visitor's pages carry, which no other site can know."""
        key = self._gateway.keys().keys[0].secret
        return self._mark(key, visitor)

    def check_csrf(self, visitor: Visitor, given: str) -> None:
        """Raise Refused unless a form is one of ours, for this visitor."""
        if visitor.session is None:
            return  # a program, which no other site can make ask anything
        marks = [self._mark(key.secret, visitor) for key in self._gateway.keys().keys]
        if not any(hmac.compare_digest(mark, given) for mark in marks):
            raise Refused(403, "this form has ended. Go back, load the page again, and send it once more.")

    @staticmethod
    def _mark(key: str, visitor: Visitor) -> str:
        said = f"hitl.csrf\0{visitor.person}\0{visitor.session}"
        return hmac.digest(key.encode(), said.encode(), "sha256").hex()

    async def _identify(self, request: Request) -> Visitor | None:
        if self.open and not request.headers.get("Authorization"):
            return Visitor(person=self._gateway.options.person, via="web", session="open")
        return None

    def _turn_away(self, request: Request) -> None:
        """Send a browser to where one signs in; refuse a program. Raises."""
        if request.method in SAFE and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther("/sign-in")
        raise Refused(
            401, "say who you are: with a token, as Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
        )

    def _check_host(self, request: Request) -> None:
        """Refuse a name that is not ours, which a page elsewhere may have made point here (rebinding)."""
        if not self.open:
            return
        if not is_loopback(host_of(request.host)):
            raise Refused(421, f"this is not {request.host!r}: ask for it as localhost, or by --url.")

    @staticmethod
    def _check_site(request: Request) -> None:
        """Refuse what another site's page sends, but for following a link."""
        site = request.headers.get("Sec-Fetch-Site", "none")
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in SAFE
        origin = request.headers.get("Origin", "null")
        foreign = site not in ("none", "same-origin") and not navigates
        if foreign or (
            request.method not in SAFE and origin != "null" and urlsplit(origin).netloc != request.host
        ):
            raise Refused(403, "this came from another site, and was not done.")


def host_of(netloc: str) -> str:
    """Return the host in a Host header."""
    return urlsplit(f"//{netloc}").hostname or ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def form_text(form: Any, name: str) -> str:
    """Return a text that a form carries; the empty text where it does not, or carries a file."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
