"""Links that let one person answer one request: signed, expiring, revocable (docs/security.md).

A link holds no state: who it is for and until when is in it, signed. What has been revoked is kept on the
server, under the request, so that every gateway knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer
from msgspec import Struct

from hitl_cli.client import get_promise
from hitl_cli.errors import HitlError
from hitl_cli.inbox.votes import closing, under
from hitl_cli.keys import LONGEST_LIFE_MS
from hitl_cli.wire import Audit, child_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client import Client
    from hitl_cli.keys import Keys
    from hitl_cli.wire import Promise

SALT = "hitl.link"
REVOKED_TAG = "hitl:revoked"

DEFAULT_LIFE_MS = 30 * 86_400_000
"""How long a link is good where nobody says otherwise; never longer than its request can be answered."""

ID_BYTES = 9


class Link(Struct, frozen=True, kw_only=True):
    """What a link says: for which request and person, until when (ms since the epoch), and its own id."""

    request: str
    person: str
    ends_at: int
    id: str


class LinkInvalid(HitlError):  # noqa: N818
    """The link is not one of ours, or was changed."""


class LinkExpired(HitlError):  # noqa: N818
    """The link is good no longer: its time has passed, or it was revoked."""


def link_for(
    request: Promise,
    person: str,
    *,
    now: int,
    life_ms: int | None = None,
    new_id: Callable[[], str] | None = None,
) -> Link:
    """Return a link by which a person answers a request, good for `life_ms` and while it can be answered."""
    life = min(DEFAULT_LIFE_MS if life_ms is None else life_ms, LONGEST_LIFE_MS)
    ends_at = min(now + life, request.timeout_at)
    return Link(request=request.id, person=person, ends_at=ends_at, id=(new_id or fresh_link_id)())


def fresh_link_id() -> str:
    """Return an id that nobody else has."""
    return os.urandom(ID_BYTES).hex()


def sign(link: Link, keys: Keys) -> str:
    """Return the link as the text that stands in its URL."""
    return str(serializer(keys, SALT).dumps([link.request, link.person, link.ends_at, link.id]))


def url_of(gateway: str, token: str) -> str:
    """Return the URL of a signed link."""
    return f"{gateway}/l/{quote(token)}"


def read(token: str, keys: Keys, now: int) -> Link:
    """Return what a signed link says. Raises LinkInvalid, LinkExpired (by its own time alone)."""
    try:
        request, person, ends_at, id = msgspec.convert(
            serializer(keys, SALT).loads(token), tuple[str, str, int, str]
        )
    except (BadSignature, msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise LinkInvalid("this link is not a good one: it was changed, or cut short.") from error
    if now >= ends_at:
        raise LinkExpired("this link has ended. Ask for a new one, or sign in.")
    return Link(request=request, person=person, ends_at=ends_at, id=id)


def serializer(keys: Keys, salt: str) -> URLSafeSerializer:
    """Return what signs and reads texts of one purpose; `salt` tells purposes apart."""
    return URLSafeSerializer(
        keys.secrets, salt=salt, signer_kwargs={"key_derivation": "hmac", "digest_method": sha256()}
    )


def sha256() -> object:
    """Return the digest that signatures are made with."""
    import hashlib  # noqa: PLC0415 - 4 ms, only where something is signed

    return hashlib.sha256


# Revoking


def revoke(client: Client, request: Promise, id: str, audit: Audit) -> None:
    """Have the link with an id be good no longer, for all gateways of the server."""
    create = under(request, revocation_id(request.id, id), REVOKED_TAG, None, audit)
    client.call_many([create, closing(create)])


def is_revoked(client: Client, link: Link) -> bool:
    """Whether a link was revoked."""
    return get_promise(client, revocation_id(link.request, link.id)) is not None


def revocation_id(request: str, id: str) -> str:
    """Return the id of the promise that says that a link was revoked."""
    return child_id(request, f"r{id}")
