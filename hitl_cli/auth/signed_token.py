"""Signed tokens: the fields of a Struct in a URL or a cookie, and the marks in forms.

Each purpose has its own Struct and salt, so that a token is never accepted for another purpose.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from itsdangerous import URLSafeSerializer

    from hitl_cli.auth.signing_keys import Keys


class TokenFields(Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The content of a token. Fields are encoded by position, without names."""


def sign(said: TokenFields, salt: str, keys: Keys) -> str:
    """Return a token with these fields, signed with the first key."""
    return str(_serializer(salt, keys).dumps(msgspec.to_builtins(said, order="deterministic")))


def read[T: TokenFields](token: str, kind: type[T], salt: str, keys: Keys) -> T | None:
    """Return the content of a token; None unless one of the keys signed it for this purpose."""
    from itsdangerous import BadSignature

    try:
        return msgspec.convert(_serializer(salt, keys).loads(token), inspected(kind))
    except (BadSignature, msgspec.ValidationError, UnicodeError, RecursionError):
        return None


def _serializer(salt: str, keys: Keys) -> URLSafeSerializer:
    import hashlib

    from itsdangerous import URLSafeSerializer

    signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(keys.secrets, salt=salt, signer_kwargs=signer)


def mark(text: str, keys: Keys) -> str:
    """Return the HMAC-SHA256 of a text by the first key, in hex."""
    return _mark(text, keys.keys[0].secret)


def is_mark(given: str, text: str, keys: Keys) -> bool:
    """Whether one of the keys made a mark of a text."""
    return any(hmac.compare_digest(_mark(text, key.secret).encode(), given.encode()) for key in keys.keys)


def _mark(text: str, secret: str) -> str:
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()
