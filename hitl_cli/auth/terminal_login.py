"""`hitl login`: a person allows a terminal to act as them, and the terminal gets a token.

Two ways lead from the page to the terminal. With a browser on the same machine, a signed code goes through a
redirect to 127.0.0.1, and is accepted only with the verifier of the terminal (PKCE). Otherwise the person
types a code that the terminal shows; the grant is a promise on the server until the terminal fetches it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.auth import signed_token, tokens
from hitl_cli.auth.ended import ends, is_ended, person_subject
from hitl_cli.auth.sign_in import use_once
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.client.protocol import get_promise, send
from hitl_cli.client.records import alone
from hitl_cli.client.wire import Audit, audit_in, decode_as, fresh_id, headers_of
from hitl_cli.errors import BadInput
from hitl_cli.people.actor import Permission  # noqa: TC001 - msgspec reads the annotation
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.auth.tokens import Token
    from hitl_cli.client.protocol import Client

PATH = "/terminal"

PREFIX = "hitl-login-"
"""Prefix of the ids of the promises that a person has allowed by a typed code."""

CODE_MS = 60_000
"""Validity of the code in a redirect, which a program reads at once."""

DEVICE_MS = 10 * 60_000
"""Validity of a code that a person types."""

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""The letters of a code that a person types. Without vowels it does not form a word."""

CODE_LETTERS = 8

_CODE_SALT = "hitl.login-code"
_DEVICE_SALT = "hitl.login-device"


class LoginRefused(BadInput):
    """The code of a login is invalid, expired or used."""

    code = "login-refused"


class Grant(TokenFields, frozen=True, kw_only=True):
    """A person's permission for a terminal to act as them until an instant (ms since the epoch).

    `groups` and `subjects` are those of the token (hitl_cli/auth/tokens.py), `name` is the terminal's.
    """

    person: str
    can: frozenset[Permission]
    until: int
    name: str
    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


class _Code(TokenFields, frozen=True, kw_only=True):
    """A code in a redirect: the grant, for the terminal that has the verifier of the challenge."""

    grant: Grant
    challenge: str
    made_at: int
    id: str


class _Device(TokenFields, frozen=True, kw_only=True):
    """What a terminal keeps while a person types its code."""

    typed: str
    ends_at: int


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def code_for(grant: Grant, challenge: str, now: int, keys: Keys) -> str:
    """Return the code for a redirect to the terminal that sent a challenge."""
    code = _Code(grant=grant, challenge=challenge, made_at=now, id=fresh_id())
    return signed_token.sign(code, _CODE_SALT, keys)


def device_code(now: int, keys: Keys) -> tuple[str, str]:
    """Return a secret for a terminal, and the code that a person types for it."""
    typed = "".join(secrets.choice(LETTERS) for _ in range(CODE_LETTERS))
    return signed_token.sign(_Device(typed=typed, ends_at=now + DEVICE_MS), _DEVICE_SALT, keys), typed


def shown(typed: str) -> str:
    """Return a code as people read it: `BCDF-GHJK`."""
    return f"{typed[:4]}-{typed[4:]}"


def read_typed(text: str) -> str | None:
    """Return the code that a person has typed, in any spelling; None if it cannot be one."""
    typed = "".join(letter for letter in text.upper() if letter.isalpha())
    return typed if len(typed) == CODE_LETTERS and not set(typed) - set(LETTERS) else None


def allow(client: Client, typed: str, grant: Grant, via: str) -> None:
    """Let the terminal that shows a code act. Raises LoginRefused if another login has this code."""
    audit = Audit(id=fresh_id(), by=grant.person, via=via, at=client.now())
    until = client.now() + DEVICE_MS
    create = alone(PREFIX + typed, msgspec.to_builtins(grant), audit.headers(), until=until)
    kept = send(client, create)
    if audit_in(headers_of(kept.param)).id != audit.id:
        raise LoginRefused("this code was already used: run `hitl login --device` again.")


def token_for_code(
    client: Client, text: str, verifier: str, keys: Keys, *, life_ms: int | None
) -> tuple[Token, str]:
    """Return the token for a code from a redirect. Raises LoginRefused."""
    code = signed_token.read(text, _Code, _CODE_SALT, keys)
    now = client.now()
    if code is None or not code.made_at <= now + CODE_MS or now >= code.made_at + CODE_MS:
        raise LoginRefused("the code of this login is invalid or has expired: run `hitl login` again.")
    if not hmac.compare_digest(code.challenge.encode(), challenge_of(verifier).encode()):
        raise LoginRefused("this login was begun by another terminal.")
    return _token(client, code.grant, code.id, code.made_at, life_ms)


def token_for_device(
    client: Client, text: str, keys: Keys, *, life_ms: int | None
) -> tuple[Token, str] | None:
    """Return the token for a terminal once its code was typed; None before.

    Raises LoginRefused.
    """
    device = signed_token.read(text, _Device, _DEVICE_SALT, keys)
    if device is None or client.now() >= device.ends_at:
        raise LoginRefused("nobody typed the code in time. Run `hitl login --device` again.")
    promise = get_promise(client, PREFIX + device.typed)
    if promise is None:
        return None
    grant = decode_as(promise.param, Grant)
    if grant is None:
        raise LoginRefused("this code was already used: run `hitl login --device` again.")
    return _token(client, grant, device.typed, promise.created_at, life_ms)


def _token(client: Client, grant: Grant, id: str, made_at: int, life_ms: int | None) -> tuple[Token, str]:
    """Make the token that was allowed, once."""
    now = client.now()
    left = grant.until - now
    if (
        is_ended(ends(client), [person_subject(grant.person, NO_GROUPS), *grant.subjects], made_at)
        or left <= 0
    ):
        raise LoginRefused("the session that allowed this login has ended: run `hitl login` again.")
    if not use_once(client, f"login-{id}", now + DEVICE_MS, grant.person):
        raise LoginRefused("this code was already used: run `hitl login` again.")
    return tokens.create(
        client,
        grant.person,
        grant.can,
        life_ms=left if life_ms is None else min(left, life_ms),
        by=grant.person,
        name=grant.name,
        groups=grant.groups,
        subjects=grant.subjects,
    )
