"""Who makes a request, and what they may do: the one place where that is decided (docs/security.md).

A visitor is known by an API token, by the session of a browser, by the header of a proxy that signs in, or,
where the gateway listens on this machine alone and nobody else is told of it, by being on this machine.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from aiohttp import web
from msgspec import Struct

from hitl_cli.auth import signed_token
from hitl_cli.engine.http.hosts import host_of, is_loopback
from hitl_cli.errors import BadInput, Unreachable
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.auth.redirects import HOME, local_path
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.people.actor import EVERYTHING, Actor, Permission, check_person

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.gateway.auth.bearer_tokens import BearerTokens
    from hitl_cli.gateway.auth.sessions import Cookies
    from hitl_cli.gateway.options import Network, Options

PERSON: frozenset[Permission] = frozenset(("read", "decide"))
"""What a person may do who signed in by mail, or at a proxy."""

VISITOR: web.RequestKey[object] = web.RequestKey("visitor", object)
"""Where a request keeps who makes it: a Visitor, or None."""

SAFE = ("GET", "HEAD", "OPTIONS")

PUBLIC = (
    "/health",
    "/ready",
    "/static/",
    "/l/",
    "/sign-in",
    "/sign-in/",
    "/hooks/",
    "/api/v1/openapi.json",
)
"""What is answered to anybody: each of these proves who asks by itself, or tells nothing.

These are routes, whatever an address looks like; one that ends with a slash stands for all below it.
"""

FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip", "x-original-")
"""What the headers begin with that a proxy adds to the requests that it passes on."""


class Visitor(Struct, frozen=True, kw_only=True):
    """Who makes a request, and what they may do.

    `session` is what their browser's forms are bound to; None for a program. `signed_in` tells whether by a
    session that they can end.
    """

    actor: Actor
    session: str | None = None
    signed_in: bool = False

    @property
    def person(self) -> str:
        """Their name."""
        return self.actor.person

    @property
    def via(self) -> str:
        """What goes on the record of what they do."""
        return self.actor.via


class Access:
    """Decides who makes a request."""

    def __init__(
        self,
        options: Options,
        keys: Callable[[], Keys],
        bearers: BearerTokens,
        cookies: Cookies,
        clock: Callable[[], int],
    ) -> None:
        """`keys` gives those that are good now, `clock` ms since the epoch."""
        self._options = options
        self._netloc = urlsplit(options.url).netloc
        self.open = options.is_local and options.trust_header is None and not options.sign_in
        """Whether nobody need sign in."""
        self._keys = keys
        self._bearers = bearers
        self._cookies = cookies
        self._clock = clock

    @web.middleware
    async def admit(
        self, request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
    ) -> StreamResponse:
        """Let a request through if it is known who makes it, or if that does not matter."""
        self._check_host(request)
        self._check_site(request)
        request[VISITOR] = await self._identify(request)
        if request[VISITOR] is None and not _is_public(request):
            self._turn_away(request)
        return await handler(request)

    async def still_known(self, request: Request) -> bool:
        """Whether it is known who made a request that goes on, as when it began; not if nobody can tell."""
        try:
            return await self._identify(request) is not None
        except (HttpError, Unreachable):
            return False

    def known(self, request: Request) -> Visitor | None:
        """Return who makes a request, None if nobody knows."""
        visitor = request.get(VISITOR)
        return visitor if isinstance(visitor, Visitor) else None

    def visitor(self, request: Request, needs: Permission) -> Visitor:
        """Return who makes a request that needs a permission. Raises HttpError (401), NotAllowed."""
        visitor = self.known(request)
        if visitor is None:
            self._turn_away(request)
            raise AssertionError
        visitor.actor.require(needs, visitor.actor.only)
        return visitor

    def actor(self, person: str, via: str, may: frozenset[Permission], only: str | None = None) -> Actor:
        """Return a person who acts through the gateway, with the groups that its settings know."""
        groups = self._options.directory.members
        return Actor(person=person, via=via, may=may, groups=groups, only=only)

    def csrf(self, visitor: Visitor) -> str:
        """Return what the forms of a visitor's pages carry, which no other site can know."""
        return signed_token.mark(_form_of(visitor), self._keys())

    def check_csrf(self, visitor: Visitor, given: str) -> None:
        """Raise Refused unless a form is one of ours, for this visitor."""
        if visitor.session is None:
            return  # a program, which no other site can make ask anything
        if not signed_token.is_mark(given, _form_of(visitor), self._keys()):
            raise HttpError(
                403,
                "this form has ended. Go back, load the page again, and send it once more.",
                code="form-expired",
            )

    async def _identify(self, request: Request) -> Visitor | None:
        token = await self._bearers.token(request)
        if token is not None:
            return Visitor(actor=self.actor(token.person, "api", token.can))
        if self.open:
            return Visitor(actor=self.actor(self._options.person, "web", EVERYTHING), session="open")
        return self._by_proxy(request) or self._by_session(request)

    def _by_proxy(self, request: Request) -> Visitor | None:
        """Return who a proxy says it is: its word counts from where it is alone. Raises Refused."""
        options = self._options
        if options.trust_header is None or not _is_within(request.remote, options.trust_from):
            return None
        names = request.headers.getall(options.trust_header, [])
        if not names:
            return None
        try:
            [name] = names
            check_person(name)
        except (ValueError, BadInput) as error:
            raise HttpError(
                400, f"the proxy's {options.trust_header} does not name one person.", code="proxy-unknown"
            ) from error
        if name != name.strip() or not name.isprintable() or "," in name:  # as proxies join two (RFC 9110)
            raise HttpError(
                400, f"the proxy's {options.trust_header} does not name one person.", code="proxy-unknown"
            )
        return Visitor(actor=self.actor(name, "web", PERSON), session="proxy")

    def _by_session(self, request: Request) -> Visitor | None:
        """Return who signed in with this browser."""
        text = request.cookies.get(self._cookies.session)
        session = sessions.read(text, self._keys(), self._clock()) if text else None
        if session is None:
            return None
        actor = self.actor(session.person, "web", session.can)
        return Visitor(actor=actor, session=session.id, signed_in=True)

    def _turn_away(self, request: Request) -> None:
        """Send a browser to where one signs in; refuse a program. Raises."""
        if request.method in SAFE and "text/html" in request.headers.get("Accept", ""):
            wanted = local_path(request.raw_path)
            raise web.HTTPSeeOther(
                "/sign-in" + (f"?next={quote(wanted, safe='/')}" if wanted != HOME else "")
            )
        raise HttpError(
            401, "say who you are: with a token, as Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
        )

    def _check_host(self, request: Request) -> None:
        """Refuse a name that is not ours, which a page elsewhere may have made point here (rebinding)."""
        if not self.open:
            return
        if not is_loopback(host_of(request.host)):
            raise HttpError(421, f"this is not {request.host!r}: ask for it as localhost, or by --url.")
        if any(name.lower().startswith(FORWARDED) for name in request.headers):
            raise HttpError(
                403,
                "this was passed on by a proxy, and whoever is on this machine acts here without signing in."
                " Start the gateway with --url, --sign-in or --trust-header.",
                code="proxy-unknown",
            )

    def _check_site(self, request: Request) -> None:
        """Refuse what another site's page sends, but for following a link."""
        site = request.headers.get("Sec-Fetch-Site", "none")
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in SAFE
        origin = request.headers.get("Origin", "null")
        foreign = site not in ("none", "same-origin") and not navigates
        ours = (request.host, self._netloc)
        if foreign or (request.method not in SAFE and origin != "null" and _netloc_of(origin) not in ours):
            raise HttpError(403, "this came from another site, and was not done.", code="cross-site")


def _form_of(visitor: Visitor) -> str:
    """Return what the mark in a visitor's forms is made of."""
    return f"hitl.csrf\0{visitor.person}\0{visitor.session}"


def _is_public(request: Request) -> bool:
    """Whether a route is answered to anybody."""
    resource = request.match_info.route.resource
    pattern = resource.canonical if resource is not None else ""
    return any(
        pattern == public or (public.endswith("/") and pattern.startswith(public)) for public in PUBLIC
    )


def _is_within(address: str | None, networks: Sequence[Network]) -> bool:
    """Whether an address is of one of the networks."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)


def _netloc_of(origin: str) -> str:
    """Return the host and port in an Origin header; nothing of one that makes no sense."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
