"""hitl's own authenticators: API token, loopback, proxy header, browser session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.auth.ended import TOKEN_SUBJECT, person_subject, token_subject
from hitl_cli.errors import BadInput
from hitl_cli.gateway.auth.rate_limit import is_within
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.people.actor import EVERYTHING, Credential, check_person

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.gateway.auth.access import AuthContext, Visitor


class TokenAuthenticator:
    """Authenticates API tokens (`Authorization: Bearer …`)."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context

    async def identify(self, request: Request) -> Visitor | None:
        """Return the person of a request's token. Raises HttpError (401, 429) for an invalid one."""
        token = await self._context.bearers.token(request)
        if token is None:
            return None
        context = self._context
        groups = None
        if token.groups:
            groups = context.memberships.groups(token.person, token.created_at, token.groups)
        credential = Credential(made_at=token.created_at, subjects=(token_subject(token.id), *token.subjects))
        return context.visitor(
            token.person, "api", session=None, may=token.can, groups=groups, credential=credential
        )


class LoopbackAuthenticator:
    """Treats every visitor as the same person, if the gateway listens only on this machine."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context

    async def identify(self, request: Request) -> Visitor | None:  # noqa: ARG002 - the same for all
        """Return the person of the settings; None if people must sign in."""
        context = self._context
        if not context.is_open:
            return None
        return context.visitor(context.options.person, "web", session="open", may=EVERYTHING)


class ProxyAuthenticator:
    """Trusts the header of an authenticating proxy, from the proxy's addresses only."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context
        self._header = context.options.trust_header
        self._networks = context.options.trust_from

    async def identify(self, request: Request) -> Visitor | None:
        """Return the person in the proxy's header. Raises HttpError (400) if it is not exactly one."""
        if self._header is None or not is_within(request.remote, self._networks):
            return None
        names = request.headers.getall(self._header, [])
        if not names:
            return None
        try:
            [name] = names
            check_person(name)
        except (ValueError, BadInput) as error:
            raise self._unknown() from error
        if name != name.strip() or not name.isprintable() or "," in name:  # two headers, joined
            raise self._unknown()
        return _with_role(self._context.visitor(name, "web", session="proxy"))

    def _unknown(self) -> HttpError:
        return HttpError(400, f"the proxy's {self._header} does not name one person.", code="proxy-unknown")


class SessionAuthenticator:
    """Authenticates browsers with a session cookie."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context

    async def identify(self, request: Request) -> Visitor | None:
        """Return the person who signed in with this browser."""
        context = self._context
        session = context.cookies.session_in(request, context.keys(), context.clock())
        if session is None:
            return None
        visitor = context.visitor(
            session.person,
            "web",
            session=session.id,
            may=session.can,
            signed_in=True,
            groups=context.memberships.groups(session.person, session.began_at, session.groups),
            credential=Credential(made_at=session.began_at, subjects=session.subjects),
        )
        person = person_subject(visitor.person, visitor.actor.groups)
        subjects = (person, session.subject, *session.subjects)
        if await context.endings.cover(subjects, session.began_at):
            return None
        by_token = any(subject.startswith(TOKEN_SUBJECT) for subject in session.subjects)
        return visitor if by_token else _with_role(visitor)


def _with_role(visitor: Visitor) -> Visitor:
    """Return a visitor who signed in without a token, with the permissions of their role."""
    actor = visitor.actor
    if not actor.operates or "start" in actor.may:
        return visitor
    return replace(visitor, actor=replace(actor, may=actor.may | {"start"}))
