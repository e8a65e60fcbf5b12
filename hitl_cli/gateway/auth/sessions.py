"""The session of a browser: who signed in, in a signed cookie. Nothing of it is kept here.

A session ends 12 hours after signing in, used or not: a working day. All end with `hitl key rotate --forget`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from hitl_cli import defaults
from hitl_cli.auth import signed_token
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.people.actor import Permission  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse

    from hitl_cli.auth.signing_keys import Keys

SALT = "hitl.session"

LIFE_MS = 12 * 3_600_000

ID_BYTES = 16

LONGEST_VISIT = 64


class Session(TokenFields, frozen=True, kw_only=True):
    """Who signed in, what they may do, until when (ms since the epoch), and an id that forms are bound to.

    `place` is the gateway's, of those on its host; None in sessions of the version before.
    """

    person: str
    can: frozenset[Permission]
    ends_at: int
    id: str
    place: str | None = None


def begin(person: str, can: frozenset[Permission], now: int, ends_at: int | None = None) -> Session:
    """Return a new session of a person, which ends at `ends_at` or after its life, whichever comes first."""
    end = now + LIFE_MS if ends_at is None else min(now + LIFE_MS, ends_at)
    return Session(person=person, can=can, ends_at=end, id=fresh_id())


def fresh_id() -> str:
    """Return an id that nobody can guess."""
    return secrets.token_urlsafe(ID_BYTES)


def sign(session: Session, keys: Keys) -> str:
    """Return a session as the text of its cookie."""
    return signed_token.sign(session, SALT, keys)


def read(text: str, keys: Keys, now: int) -> Session | None:
    """Return the session that a cookie's text is; None if it is not one of ours, or has ended."""
    session = signed_token.read(text, Session, SALT, keys)
    return session if session is not None and now < session.ends_at else None


class Cookies:
    """The cookies of a gateway: over https none but itself can set or read them.

    Under a path they are sent to that path alone, which a browser does not allow for `__Host-`. A browser
    sends them to all ports of a host, so that their names have the port, unless it is the usual one.
    """

    def __init__(self, *, https: bool, base: str = "", port: int | None = None) -> None:
        self._https = https
        self._path = base or "/"
        self._base = base
        self.name(port)

    def name(self, port: int | None) -> None:
        """Name the cookies by the port at which the gateway is reached."""
        usual = (None, 443) if self._https else (defaults.GATEWAY_PORT,)
        suffix = "" if port in usual else f"-{port or 80}"
        prefix = ("__Secure-" if self._base else "__Host-") if self._https else ""
        self.place = f"{suffix}{self._base}"
        self.session_before = f"{prefix}hitl-session"
        self.session = f"{self.session_before}{suffix}"
        self.visit = f"{prefix}hitl-visit{suffix}"

    def session_in(self, request: Request, keys: Keys, now: int) -> Session | None:
        """Return the session that a browser shows; of the version before, one of any gateway on the host."""
        for name in dict.fromkeys((self.session, self.session_before)):
            session = read(request.cookies.get(name, ""), keys, now)
            if session is not None and session.place in (None, self.place):
                return session
        return None

    def put(self, response: StreamResponse, name: str, text: str, life_ms: int | None = None) -> None:
        """Have a browser keep a cookie, until it is closed where no life is given."""
        response.set_cookie(
            name,
            text,
            max_age=None if life_ms is None else life_ms // 1_000,
            path=self._path,
            secure=self._https,
            httponly=True,
            samesite="Lax",
        )

    def drop(self, response: StreamResponse, name: str) -> None:
        """Have a browser forget a cookie."""
        self.put(response, name, "", 0)

    def visit_of(self, request: Request) -> str | None:
        """Return what tells apart browsers that have not signed in; None for one that was not here yet."""
        text = request.cookies.get(self.visit, "")
        return text if text.isascii() and 0 < len(text) <= LONGEST_VISIT else None
