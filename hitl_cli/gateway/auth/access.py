"""Who makes a request, and what they may do. Nothing else decides that (docs/explanation/security.md).

A visitor is known by the first authenticator that identifies them: those of plugins, then hitl's own
(hitl_cli/gateway/auth/authenticators.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeGuard
from urllib.parse import quote, urlsplit

from aiohttp import web
from msgspec import Struct

from hitl_cli import plugins
from hitl_cli.auth import signed_token
from hitl_cli.auth.signing_keys import Keys
from hitl_cli.engine.http.hosts import host_of, is_loopback
from hitl_cli.errors import Unreachable
from hitl_cli.gateway.auth.bearer_tokens import BearerTokens
from hitl_cli.gateway.auth.redirects import HOME, local_path
from hitl_cli.gateway.auth.sessions import Cookies
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.options import Options
from hitl_cli.people.actor import Actor, Permission, check_person

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.plugins import Plugin

logger = logging.getLogger(__name__)

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

KEPT = ("/r/{id}", "/runs/{id}/cancel", "/sign-out")
"""Whose forms are taken from a browser whose session has ended: it is asked to sign in, and they are kept."""

FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip", "x-original-")
"""What the headers begin with that a proxy adds to the requests that it passes on."""


class Visitor(Struct, frozen=True, kw_only=True):
    """Who makes a request, and what they may do.

    `session` is what the forms of their browser are bound to, so that other sites cannot send one: any text
    that stays the same. It is None only for a program, whose credentials no browser sends by itself.
    `signed_in` tells whether by a session that they can end.
    """

    actor: Actor
    session: str | None
    signed_in: bool = False

    @property
    def person(self) -> str:
        """Their name."""
        return self.actor.person

    @property
    def via(self) -> str:
        """What goes on the record of what they do."""
        return self.actor.via


class AuthContext(Struct, frozen=True, kw_only=True):
    """What an authenticator is made with: `keys` are those that are good now, `clock` ms since the epoch.

    `is_open` tells whether nobody need sign in: the gateway listens on this machine alone.
    """

    options: Options
    is_open: bool
    keys: Callable[[], Keys]
    bearers: BearerTokens
    cookies: Cookies
    clock: Callable[[], int]

    def visitor(
        self,
        person: str,
        via: str,
        *,
        session: str | None,
        may: frozenset[Permission] = PERSON,
        signed_in: bool = False,
    ) -> Visitor:
        """Return a person as a visitor, by the name and with the groups that the settings know."""
        actor = Actor(person=person, via=via, may=may, groups=self.options.people.members)
        return Visitor(actor=actor, session=session, signed_in=signed_in)


class Authenticator(Protocol):
    """Tells who makes a request.

    A class, or a function, that takes an `AuthContext` and returns one is registered as an entry point of the
    group `hitl.authenticators`.
    """

    async def identify(self, request: Request) -> Visitor | None:
        """Return who makes a request; None if this one does not know. Raises HttpError to refuse it."""


type _MakeAuthenticator = Callable[[AuthContext], Authenticator]

_OWN_ORDER = ("token", "loopback", "proxy-header", "session")
"""In this order hitl's own are asked: what a request says explicitly counts first."""


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
        self._authenticators = _authenticators(
            AuthContext(
                options=options,
                is_open=self.open,
                keys=keys,
                bearers=bearers,
                cookies=cookies,
                clock=clock,
            )
        )

    @web.middleware
    async def admit(
        self, request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
    ) -> StreamResponse:
        """Let a request through if it is known who makes it, or if that does not matter."""
        self._check_host(request)
        self._check_site(request)
        request[VISITOR] = await self._identify(request)
        kept = request.method == "POST" and self._pattern_of(request) in KEPT
        if request[VISITOR] is None and not kept and not self._is_public(request):
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
        groups = self._options.people.members
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
                "this page was loaded before you signed in last. Press the button once more.",
                code="form-expired",
            )

    def keep_mark(self, person: str, subject: str) -> str:
        """Return what the form of a page carries so that what it says is shown again, to that person alone.

        It outlives their session, and does nothing but that.
        """
        return signed_token.mark(self._kept_by(person, subject), self._keys())

    def is_keep_mark(self, given: str, person: str, subject: str) -> bool:
        """Whether a form is one that a person was shown for a subject, in whatever session."""
        return signed_token.is_mark(given, self._kept_by(person, subject), self._keys())

    def _kept_by(self, person: str, subject: str) -> str:
        """Return what the mark of a form that outlives its session is made of, however a name is spelled."""
        return f"hitl.kept\0{self._options.people.members.key(person)}\0{subject}"

    async def _identify(self, request: Request) -> Visitor | None:
        for authenticator in self._authenticators:
            visitor = await authenticator.identify(request)
            if visitor is not None:
                return visitor
        return None

    def _is_public(self, request: Request) -> bool:
        """Whether a route is answered to anybody."""
        pattern = self._pattern_of(request)
        return any(
            pattern == public or (public.endswith("/") and pattern.startswith(public)) for public in PUBLIC
        )

    def _pattern_of(self, request: Request) -> str:
        """Return the path of the route that a request is for."""
        resource = request.match_info.route.resource
        return self._options.without_base(resource.canonical) if resource is not None else ""

    def _turn_away(self, request: Request) -> None:
        """Send a browser to where one signs in; refuse a program. Raises."""
        if request.method in SAFE and "text/html" in request.headers.get("Accept", ""):
            wanted = local_path(self._options.without_base(request.raw_path))
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


def _authenticators(context: AuthContext) -> list[Authenticator]:
    """Return those of plugins, by name, and hitl's own. One that is broken is left out."""
    added = (_added(plugin, context) for plugin in plugins.added("hitl.authenticators"))
    own = (plugins.every("hitl.authenticators")[name] for name in _OWN_ORDER)
    makers = (plugins.load(plugin, _makes_one) for plugin in own)
    return [*filter(None, added), *(make(context) for make in makers if make is not None)]


def _added(plugin: Plugin, context: AuthContext) -> Authenticator | None:
    """Return the authenticator of a plugin; None where that is broken."""
    make = plugins.load(plugin, _makes_one)
    try:
        return None if make is None else _Guarded(plugin.name, make(context))
    except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
        plugins.report(plugin, plugins.reason_of(error))
        return None


def _makes_one(found: object) -> TypeGuard[_MakeAuthenticator]:
    return callable(found)


class _Guarded:
    """An authenticator of a plugin: what fails in it identifies nobody, and whom it names can be a person."""

    def __init__(self, name: str, inner: Authenticator) -> None:
        self._name = name
        self._inner = inner

    async def identify(self, request: Request) -> Visitor | None:
        """Return who makes a request. Raises HttpError."""
        try:
            visitor = await self._inner.identify(request)
            if visitor is not None:
                check_person(visitor.person)
        except HttpError:
            raise
        except Exception:
            logger.exception("the authenticator %s failed; it identified nobody", self._name)
            return None
        return visitor


def _netloc_of(origin: str) -> str:
    """Return the host and port in an Origin header; nothing of one that makes no sense."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
