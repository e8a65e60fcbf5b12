"""API tokens: with one, a program acts as a person at the gateways of a server.

A token is a promise on the server, so that all gateways know it. It has the hash of the secret, never the
secret. The promise's deadline is the token's expiry; revoking settles it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hitl_cli import defaults
from hitl_cli.auth.ended import end, ends, is_ended, person_subject, token_subject
from hitl_cli.client import records
from hitl_cli.client.protocol import get_promise, search, send
from hitl_cli.client.wire import Audit, audit_in, decode_as, headers_of
from hitl_cli.errors import BadUsage, HitlError, NotFound
from hitl_cli.people.actor import PERMISSIONS, Permission, check_person
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

type TokenState = Literal["valid", "expired", "revoked"]

TOKEN_TAG = "hitl:token"  # noqa: S105 - the name of a tag

PREFIX = "hitl-token-"
"""Prefix of the ids of tokens' promises."""

ID_BYTES = 8
SECRET_BYTES = 32

FORM = re.compile(r"hitl_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
"""The form of a token: its id and its secret."""


class TokenRefused(HitlError):
    """The token is unknown, expired or revoked."""

    code = "token-refused"


class Token(Struct, frozen=True, kw_only=True):
    """A token without its secret. Instants are ms since the epoch; `by` is who made it.

    `name` says which program or terminal has it. `groups` are the groups that a sign-in provider has named.
    An end of one of its `subjects` ends the token (hitl_cli/auth/ended.py).
    """

    id: str
    person: str
    can: frozenset[Permission]
    state: TokenState
    created_at: int
    expires_at: int
    by: str | None
    name: str | None = None
    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


class _Said(Struct, frozen=True, omit_defaults=True, rename={"person": "as"}):
    """The data of a token's promise: person, permissions, and the SHA-256 of its secret in hex."""

    person: str
    can: tuple[Permission, ...]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    name: str | None = None
    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


def create(
    client: Client,
    person: str,
    can: Iterable[str],
    *,
    life_ms: int,
    by: str,
    name: str | None = None,
    groups: tuple[str, ...] = (),
    subjects: tuple[str, ...] = (),
) -> tuple[Token, str]:
    """Create a token with which a program acts as a person. Returns it with its text, which is not stored.

    Raises BadInput.
    """
    import secrets

    person = check_person(person)
    allowed = _with_implied(can)
    id, secret, now = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES), client.now()
    said = _Said(
        person=person,
        can=tuple(sorted(allowed)),
        hash=_digest(secret),
        name=name,
        groups=groups,
        subjects=subjects,
    )
    headers = Audit(by=by, at=now).headers()
    create = records.alone(
        PREFIX + id, msgspec.to_builtins(said), headers, until=now + life_ms, tags={TOKEN_TAG: "1"}
    )
    kept = _token_in(send(client, create))
    assert kept is not None
    return kept, f"hitl_{id}_{secret}"


def _with_implied(can: Iterable[str]) -> frozenset[Permission]:
    """Return permissions with those they imply: `decide` implies `read`. Raises BadInput."""
    given = set(can)
    known = frozenset(name for name in PERMISSIONS if name in given)
    allowed = f"use --can with one of {', '.join(PERMISSIONS)}."
    if unknown := sorted(given - known):
        raise BadUsage(f"unknown permission {unknown[0]!r}: {allowed}")
    if not given:
        raise BadUsage(f"a token needs a permission: {allowed}")
    return known | ({"read"} if "decide" in known else frozenset())


def _digest(secret: str) -> str:
    """Return the stored hash of a secret. The secret is long and random, so it needs no salt or slow hash."""
    from hashlib import sha256

    return sha256(secret.encode()).hexdigest()


def check(client: Client, text: str) -> Token:
    """Return a token by its text. Raises TokenRefused, Unreachable."""
    import hmac

    form = FORM.fullmatch(text)
    promise = get_promise(client, PREFIX + form[1]) if form is not None else None
    token = _token_in(promise) if promise is not None else None
    said = decode_as(promise.param, _Said) if promise is not None else None
    if form is None or token is None or said is None or not hmac.compare_digest(said.hash, _digest(form[2])):
        raise TokenRefused("this token is not known here.")
    subjects = (person_subject(token.person, NO_GROUPS), *token.subjects)
    if token.state == "valid" and is_ended(ends(client), subjects, token.created_at):
        token = msgspec.structs.replace(token, state="revoked")
    if token.state != "valid":
        how = "was revoked" if token.state == "revoked" else "has expired"
        raise TokenRefused(f"this token {how}: sign in again, or create another with hitl token create.")
    return token


def _token_in(promise: Promise) -> Token | None:
    """Return the token in a promise; None if it is not a valid one."""
    if promise.tags.get(TOKEN_TAG) != "1" or not promise.id.startswith(PREFIX) or promise.is_run:
        return None
    said = decode_as(promise.param, _Said)
    if said is None:
        return None
    ended: TokenState = "expired" if promise.state == "rejected_timedout" else "revoked"
    return Token(
        id=promise.id.removeprefix(PREFIX),
        person=said.person,
        can=frozenset(said.can),
        state="valid" if promise.state == "pending" else ended,
        created_at=promise.created_at,
        expires_at=promise.timeout_at,
        by=audit_in(headers_of(promise.param)).by,
        name=said.name,
        groups=said.groups,
        subjects=said.subjects,
    )


def list_tokens(client: Client) -> list[Token]:
    """Return all tokens, oldest first."""
    found = search(client, tags={TOKEN_TAG: "1"})
    tokens = [token for promise in found if (token := _token_in(promise)) is not None]
    return sorted(tokens, key=lambda token: token.created_at)


def revoke(client: Client, id: str, *, by: str) -> bool:
    """Revoke a token at all gateways, and end the sessions that began with it.

    Returns whether it was valid until now.

    Raises NotFound.
    """
    named = id.removeprefix("hitl_")[: ID_BYTES * 2] if FORM.fullmatch(id) else id
    promise = get_promise(client, PREFIX + named)
    token = _token_in(promise) if promise is not None else None
    if token is None:
        raise NotFound(f"no token {named!r}. To see all tokens, run `hitl token list`.")
    fresh = records.end(client, PREFIX + named, "revoked", by=by, via="cli")
    end(client, token_subject(named), life_ms=defaults.SESSION_MS, by=by, via="cli")
    return fresh
