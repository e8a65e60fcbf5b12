"""Decides who makes an HTTP request, and what they may do (docs/explanation/security.md).

The first authenticator that identifies the visitor counts: those of plugins, then hitl's own
(hitl_cli/gateway/auth/authenticators.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast
from urllib.parse import quote, urlsplit

from aiohttp import web
from msgspec import Struct

from hitl_cli import plugins
from hitl_cli.auth import signed_token
from hitl_cli.auth.signing_keys import Keys
from hitl_cli.engine.http.hosts import host_of, is_loopback
from hitl_cli.errors import Unreachable, extra
from hitl_cli.format import log_fields
from hitl_cli.gateway.auth.bearer_tokens import BearerTokens
from hitl_cli.gateway.auth.endings import Endings
from hitl_cli.gateway.auth.memberships import Memberships
from hitl_cli.gateway.auth.redirects import HOME, local_path
from hitl_cli.gateway.auth.sessions import Cookies
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.options import Options
from hitl_cli.people.actor import Actor, Credential, Permission, check_person

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.people.groups import Groups
    from hitl_cli.plugins import Plugin

logger = logging.getLogger(__name__)

PERSON: frozenset[Permission] = frozenset(("read", "decide"))
"""Permissions of a person who signed in by mail or at a proxy."""

VISITOR: web.RequestKey[object] = web.RequestKey("visitor", object)
"""Key of the visitor in a request: a Visitor, or None."""

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
    "/api/v1/answers/",
    "/api/v1/login/",
)
"""Routes without authentication: each verifies its caller itself or exposes nothing.

They are compared with the pattern of the route. One that ends with a slash includes all routes below it.
"""

KEPT = ("/r/{id}", "/runs/{id}/cancel", "/away", "/passkeys", "/sign-out")
"""Routes that keep a form from a browser with an expired session until it has signed in."""

FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip", "x-original-")
"""Prefixes of the headers that a proxy adds."""


class Visitor(Struct, frozen=True, kw_only=True):
    """Who makes an HTTP request, and what they may do.

    `session` is a constant text to which the forms of their browser are bound, so that other sites cannot
    send a form. It is None only for a program, whose credentials no browser sends by itself. `signed_in`:
    they have a session that they can end.
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
        """The front end of their actions, for the record."""
        return self.actor.via


class AuthContext(Struct, frozen=True, kw_only=True):
    """The arguments of an authenticator. `keys` returns the valid keys, `clock` ms since the epoch.

    `is_open`: nobody needs to sign in, because the gateway listens only on this machine. `endings` tells
    whether a session was ended, `memberships` to which groups a sign-in adds its person.
    """

    options: Options
    is_open: bool
    keys: Callable[[], Keys]
    bearers: BearerTokens
    cookies: Cookies
    clock: Callable[[], int]
    endings: Endings
    memberships: Memberships

    def visitor(
        self,
        person: str,
        via: str,
        *,
        session: str | None,
        may: frozenset[Permission] = PERSON,
        signed_in: bool = False,
        groups: Groups | None = None,
        credential: Credential | None = None,
    ) -> Visitor:
        """Return a visitor with the person's name and groups from the settings, unless `groups` are given."""
        known = self.options.people.members if groups is None else groups
        actor = Actor(person=person, via=via, may=may, groups=known, credential=credential)
        return Visitor(actor=actor, session=session, signed_in=signed_in)


class Authenticator(Protocol):
    """Identifies the visitor of an HTTP request.

    To add one, register a class or function that takes an `AuthContext` and returns an authenticator as an
    entry point of the group `hitl.authenticators`.
    """

    async def identify(self, request: Request) -> Visitor | None:
        """Return the visitor of a request; None if this authenticator does not know.

        Raises HttpError to refuse.
        """


class SignIn(Protocol):
    """Optional methods of an authenticator: a way to sign in, with pages of its own.

    The sign-in page offers it. Its routes must be below /sign-in/. Their visitors are not authenticated, so
    each route must protect itself.
    """

    @property
    def label(self) -> str:
        """The text after "Sign in with"."""

    @property
    def path(self) -> str:
        """The path where sign-in begins. `?next=` is added to it."""

    @property
    def routes(self) -> Sequence[web.RouteDef]:
        """Its pages."""

    @property
    def sign_out(self) -> str | None:
        """The path that signs out there too."""


type _MakeAuthenticator = Callable[[AuthContext], Authenticator]

_OWN_ORDER = ("token", "loopback", "proxy-header", "session", "oidc")
"""The order of hitl's own authenticators: explicit credentials come first."""

_SIGN_IN = "/sign-in/"


class Access:
    """Identifies visitors, and protects forms."""

    def __init__(
        self,
        options: Options,
        keys: Callable[[], Keys],
        bearers: BearerTokens,
        cookies: Cookies,
        clock: Callable[[], int],
        endings: Endings,
    ) -> None:
        """`keys` returns the valid keys, `clock` ms since the epoch."""
        self._options = options
        self._netloc = urlsplit(options.url).netloc
        needs_no_more = options.trust_header is None and not options.sign_in
        self.open = options.is_local and needs_no_more and options.people.oidc is None
        """Whether nobody needs to sign in."""
        self._keys = keys
        self._authenticators = _authenticators(
            AuthContext(
                options=options,
                is_open=self.open,
                keys=keys,
                bearers=bearers,
                cookies=cookies,
                clock=clock,
                endings=endings,
                memberships=Memberships(lambda: options.people),
            )
        )

    @property
    def sign_ins(self) -> Sequence[SignIn]:
        """The ways to sign in that authenticators add."""
        return [found for one in self._authenticators if (found := _sign_in_of(one)) is not None]

    @web.middleware
    async def admit(
        self, request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
    ) -> StreamResponse:
        """Let a request through if its visitor is authenticated, or its route is public."""
        self._check_host(request)
        self._check_site(request)
        request[VISITOR] = await self._identify(request)
        kept = request.method == "POST" and self._pattern_of(request) in KEPT
        if request[VISITOR] is None and not kept and not self._is_public(request):
            self._turn_away(request)
        if (visitor := self.known(request)) is not None:
            log_fields.context.set({"person": visitor.person})
        return await handler(request)

    async def still_sees(self, request: Request, actor: Actor) -> bool:
        """Whether the visitor of a long request is still authenticated, and sees the same as before.

        False if that cannot be checked.
        """
        try:
            visitor = await self._identify(request)
        except (HttpError, Unreachable):
            return False
        return visitor is not None and visitor.actor.view == actor.view

    def known(self, request: Request) -> Visitor | None:
        """Return the visitor of a request, None if unauthenticated."""
        visitor = request.get(VISITOR)
        return visitor if isinstance(visitor, Visitor) else None

    def visitor(self, request: Request, *any_of: Permission) -> Visitor:
        """Return the visitor of a request that needs a permission. Raises HttpError (401), NotAllowed."""
        visitor = self.known(request)
        if visitor is None:
            self._turn_away(request)
            raise AssertionError
        visitor.actor.require(*any_of, request=visitor.actor.only)
        return visitor

    def actor(
        self,
        person: str,
        via: str,
        may: frozenset[Permission],
        only: str | None = None,
        credential: Credential | None = None,
    ) -> Actor:
        """Return a person who acts through the gateway, with their groups from the settings."""
        groups = self._options.people.members
        return Actor(person=person, via=via, may=may, groups=groups, only=only, credential=credential)

    def csrf(self, visitor: Visitor) -> str:
        """Return the CSRF token of a visitor's forms."""
        return signed_token.mark(_form_of(visitor), self._keys())

    def check_csrf(self, visitor: Visitor, given: str) -> None:
        """Raise HttpError unless a form has this visitor's CSRF token."""
        if visitor.session is None:
            return  # a program: no other site can send its credentials
        if not signed_token.is_mark(given, _form_of(visitor), self._keys()):
            raise HttpError(
                403,
                "this page was loaded before you last signed in. Press the button again.",
                code="form-expired",
            )

    def keep_mark(self, person: str, subject: str) -> str:
        """Return a mark for a page's form. With it, its fields can be shown again to the same person.

        It is valid beyond their session, and allows nothing else.
        """
        return signed_token.mark(self._kept_by(person, subject), self._keys())

    def is_keep_mark(self, given: str, person: str, subject: str) -> bool:
        """Whether a form was shown to a person for a subject, in any session."""
        return signed_token.is_mark(given, self._kept_by(person, subject), self._keys())

    def _kept_by(self, person: str, subject: str) -> str:
        """Return the text to sign for a keep mark. It does not depend on the spelling of a name."""
        return f"hitl.kept\0{self._options.people.members.key(person)}\0{subject}"

    async def _identify(self, request: Request) -> Visitor | None:
        for authenticator in self._authenticators:
            visitor = await authenticator.identify(request)
            if visitor is not None:
                return visitor
        return None

    def _is_public(self, request: Request) -> bool:
        """Whether a route needs no authentication."""
        pattern = self._pattern_of(request)
        return any(
            pattern == public or (public.endswith("/") and pattern.startswith(public)) for public in PUBLIC
        )

    def _pattern_of(self, request: Request) -> str:
        """Return the path pattern of a request's route."""
        resource = request.match_info.route.resource
        return self._options.without_base(resource.canonical) if resource is not None else ""

    def _turn_away(self, request: Request) -> None:
        """Redirect a browser to the sign-in page; refuse a program with 401. Always raises."""
        if request.method in SAFE and "text/html" in request.headers.get("Accept", ""):
            wanted = local_path(self._options.without_base(request.raw_path))
            raise web.HTTPSeeOther(
                "/sign-in" + (f"?next={quote(wanted, safe='/')}" if wanted != HOME else "")
            )
        raise HttpError(
            401, "not authenticated: send a token as Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
        )

    def _check_host(self, request: Request) -> None:
        """Refuse an unknown host name, which another site may have pointed here (DNS rebinding)."""
        if not self.open:
            return
        if not is_loopback(host_of(request.host)):
            raise HttpError(421, f"unknown host {request.host!r}: use localhost or the --url address.")
        if any(name.lower().startswith(FORWARDED) for name in request.headers):
            raise HttpError(
                403,
                "this request came through a proxy, but this gateway is open to everyone on this machine."
                " Start it with --url, --sign-in or --trust-header.",
                code="proxy-unknown",
            )

    def _check_site(self, request: Request) -> None:
        """Refuse requests from pages of other sites, except for following a link."""
        site = request.headers.get("Sec-Fetch-Site", "none")
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in SAFE
        origin = request.headers.get("Origin", "null")
        foreign = site not in ("none", "same-origin") and not navigates
        ours = (request.host, self._netloc)
        if foreign or (request.method not in SAFE and origin != "null" and _netloc_of(origin) not in ours):
            raise HttpError(403, "refused: this request came from another site.", code="cross-site")


def _form_of(visitor: Visitor) -> str:
    """Return the text to sign for a visitor's CSRF token."""
    return f"hitl.csrf\0{visitor.person}\0{visitor.session}"


def _authenticators(context: AuthContext) -> list[Authenticator]:
    """Return the authenticators of plugins, by name, then hitl's own. A broken plugin is left out."""
    added = (_added(plugin, context) for plugin in plugins.added("hitl.authenticators"))
    names = [name for name in _OWN_ORDER if name != "oidc" or context.options.people.oidc is not None]
    own = (plugins.every("hitl.authenticators")[name] for name in names)
    with extra("oidc"):
        makers = [plugins.load(plugin, _makes_one) for plugin in own]
    return [*filter(None, added), *(make(context) for make in makers if make is not None)]


def _added(plugin: Plugin, context: AuthContext) -> Authenticator | None:
    """Return the authenticator of a plugin; None if it is broken."""
    make = plugins.load(plugin, _makes_one)
    try:
        return None if make is None else _Guarded(plugin.name, make(context))
    except Exception as error:  # noqa: BLE001 - a broken plugin must not stop the others
        plugins.report(plugin, plugins.reason_of(error))
        return None


def _sign_in_of(one: Authenticator) -> SignIn | None:
    """Return an authenticator's way to sign in; None if it has none, or an unusable one."""
    inner = one.inner if isinstance(one, _Guarded) else one
    label, path, routes = (getattr(inner, name, None) for name in ("label", "path", "routes"))
    if not isinstance(label, str) or not isinstance(path, str) or not isinstance(routes, Sequence):
        return None
    below = [path, *(route.path for route in routes if isinstance(route, web.RouteDef))]
    if len(below) != len(routes) + 1 or not all(place.startswith(_SIGN_IN) for place in below):
        logger.error("ignoring the sign-in %r: its routes are not below %s", label, _SIGN_IN)
        return None
    return cast("SignIn", inner) if hasattr(inner, "sign_out") else None


def _makes_one(found: object) -> TypeGuard[_MakeAuthenticator]:
    return callable(found)


class _Guarded:
    """A plugin's authenticator. If it fails, it identifies nobody. The names that it returns are checked."""

    def __init__(self, name: str, inner: Authenticator) -> None:
        self._name = name
        self.inner = inner

    async def identify(self, request: Request) -> Visitor | None:
        """Return the visitor of a request. Raises HttpError."""
        try:
            visitor = await self.inner.identify(request)
            if visitor is not None:
                check_person(visitor.person)
        except HttpError:
            raise
        except Exception:
            logger.exception("authenticator %s failed; continuing without it", self._name)
            return None
        return visitor


def _netloc_of(origin: str) -> str:
    """Return the host and port of an Origin header; empty if it is invalid."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
