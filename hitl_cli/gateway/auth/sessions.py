"""Browser sessions, in signed cookies. The gateway stores nothing.

A session expires 12 hours after signing in, whether used or not. `hitl key rotate --forget` ends all,
`hitl people remove` those of a person (hitl_cli/auth/ended.py).
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

LIFE_MS = defaults.SESSION_MS

ID_BYTES = 16

LONGEST_VISIT = 64


class Session(TokenFields, frozen=True, kw_only=True):
    """A person's session: permissions, expiry (ms since the epoch), and an id to which forms are bound.

    `place` identifies the gateway on its host; None in sessions of earlier versions. `began_at` is when the
    person signed in. An end of one of the `subjects` ends the session (hitl_cli/auth/ended.py). `groups` are
    the groups of the settings that a sign-in provider has named.
    """

    person: str
    can: frozenset[Permission]
    ends_at: int
    id: str
    place: str | None = None
    began_at: int = 0
    subjects: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject that ends only this session."""
        return f"session:{self.id}"


def begin(
    person: str,
    can: frozenset[Permission],
    now: int,
    ends_at: int | None = None,
    *,
    subjects: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
) -> Session:
    """Return a new session, which expires at `ends_at` or after LIFE_MS, whichever comes first."""
    end = now + LIFE_MS if ends_at is None else min(now + LIFE_MS, ends_at)
    return Session(
        person=person,
        can=can,
        ends_at=end,
        id=fresh_id(),
        began_at=now,
        subjects=subjects,
        groups=groups,
    )


def fresh_id() -> str:
    """Return a random id."""
    return secrets.token_urlsafe(ID_BYTES)


def sign(session: Session, keys: Keys) -> str:
    """Return a session as the text of its cookie."""
    return signed_token.sign(session, SALT, keys)


def read(text: str, keys: Keys, now: int) -> Session | None:
    """Return the session in a cookie's text; None if it is invalid or expired."""
    session = signed_token.read(text, Session, SALT, keys)
    return session if session is not None and now < session.ends_at else None


class Cookies:
    """The cookies of a gateway. With https, only the gateway can set or read them.

    Under a base path they are limited to that path, which browsers do not allow with `__Host-`. Browsers send
    cookies to all ports of a host, so their names have the port, unless it is the default one.
    """

    def __init__(self, *, https: bool, base: str = "", port: int | None = None) -> None:
        self._https = https
        self._path = base or "/"
        self._base = base
        self.name(port)

    def name(self, port: int | None) -> None:
        """Set the names of the cookies for a port."""
        usual = (None, 443) if self._https else (defaults.GATEWAY_PORT,)
        suffix = "" if port in usual else f"-{port or 80}"
        prefix = ("__Secure-" if self._base else "__Host-") if self._https else ""
        self.place = f"{suffix}{self._base}"
        self.session_before = f"{prefix}hitl-session"
        self.session = f"{self.session_before}{suffix}"
        self.visit = f"{prefix}hitl-visit{suffix}"
        self.oidc = f"{prefix}hitl-oidc{suffix}"
        self.hint = f"{'__Secure-' if self._https else ''}hitl-oidc-hint{suffix}"
        self.look = f"{prefix}hitl-inbox{suffix}"
        self.held = f"{prefix}hitl-held{suffix}"
        self.returned = f"{'__Secure-' if self._https else ''}hitl-returned{suffix}"

    def session_in(self, request: Request, keys: Keys, now: int) -> Session | None:
        """Return the session of a browser. One of an earlier version is valid for any gateway on the host."""
        for name in dict.fromkeys((self.session, self.session_before)):
            session = read(self.get(request, name), keys, now)
            if session is not None and session.place in (None, self.place):
                return session
        return None

    def get(self, request: Request, name: str) -> str:
        """Return the text of a cookie; empty if it is missing or not ASCII, as all that are set here are."""
        text = request.cookies.get(name, "")
        return text if text.isascii() else ""

    def put(
        self, response: StreamResponse, name: str, text: str, life_ms: int | None = None, below: str = ""
    ) -> None:
        """Set a cookie; without `life_ms` it lasts until the browser is closed.

        `below` is the only path that gets it.
        """
        response.set_cookie(
            name,
            text,
            max_age=None if life_ms is None else life_ms // 1_000,
            path=f"{self._base}{below}" if below else self._path,
            secure=self._https,
            httponly=True,
            samesite="Lax",
        )

    def drop(self, response: StreamResponse, name: str, below: str = "") -> None:
        """Delete a cookie."""
        self.put(response, name, "", 0, below)

    def visit_of(self, request: Request) -> str | None:
        """Return the id of a browser that has not signed in; None for a new one."""
        text = self.get(request, self.visit)
        return text if 0 < len(text) <= LONGEST_VISIT else None
