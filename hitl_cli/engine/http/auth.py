"""Authorization with JSON Web Tokens, as in the Resonate Server (its src/auth.rs).

A token is signed with a key whose public half the server has, and expires. A token with the claim `role`:
"admin" may do everything. Any other token needs the claim `prefix`: the ids in its requests must begin with
it. An empty prefix allows every id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from hitl_cli.engine import machine, records
from hitl_cli.engine.errors import KeyUnusable

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.engine.records import Reply

LEEWAY_S = 60
"""Allowed difference between clocks, as in the Resonate Server."""

ALGORITHMS: dict[type, tuple[str, ...]] = {
    RSAPublicKey: ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    EllipticCurvePublicKey: ("ES256", "ES384"),
    Ed25519PublicKey: ("EdDSA",),
}
"""The algorithms of each kind of key. Tokens with another algorithm are refused."""

KEPT = 1_000
"""Verified tokens that are cached, so that a worker's token is not verified for each request."""


class _Claims(Struct, frozen=True):
    """The claims of a valid token."""

    expires: float
    admin: bool
    prefix: str | None


class Verifier:
    """Verifies tokens."""

    def __init__(self, key: Path, issuer: str | None = None, audience: str | None = None) -> None:
        """Read a public key in PEM. Raises KeyUnusable."""
        try:
            self._key: Any = load_pem_public_key(key.read_bytes())
        except OSError as error:
            raise KeyUnusable(f"the public key {key} cannot be read: {error.strerror}.") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusable(f"{key} does not contain a public key in PEM.") from error
        self._algorithms = next(
            (names for kind, names in ALGORITHMS.items() if isinstance(self._key, kind)), ()
        )
        if not self._algorithms:
            raise KeyUnusable(f"{key} is not an RSA, EC or Ed25519 key.")
        self._issuer = issuer
        self._audience = audience
        self._kept: dict[str, _Claims] = {}

    def verify(self, token: str | None, now_s: float) -> _Claims | None:
        """Return the claims of a token; None if it is invalid or expired."""
        if not token:
            return None
        claims = self._kept.get(token)
        if claims is None:
            claims = self._read(token)
            if claims is None:
                return None
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[token] = claims
        if claims.expires + LEEWAY_S <= now_s:
            self._kept.pop(token, None)
            return None
        return claims

    def _read(self, token: str) -> _Claims | None:
        required = ["exp"] + ["iss"] * bool(self._issuer) + ["aud"] * bool(self._audience)
        try:
            said = jwt.decode(
                token,
                self._key,
                algorithms=list(self._algorithms),
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": required, "verify_aud": self._audience is not None},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        role, prefix = said.get("role"), said.get("prefix")
        return _Claims(
            expires=float(said["exp"]),
            admin=isinstance(role, str) and role.lower() == "admin",
            prefix=prefix if isinstance(prefix, str) else None,
        )


def refusal(claims: _Claims | None, kind: str, data: Any) -> Reply | None:
    """Return why a request is refused; None if it is allowed. `data` is that of the decoded request."""
    if claims is None:
        return machine.refuse(401, "unauthorized: the token is missing, not good, or has expired")
    if claims.admin or claims.prefix == "":
        return None
    if claims.prefix is None:
        return machine.refuse(403, "forbidden: the token has neither the role admin nor a prefix")
    named = _names(data)
    if named is None:
        return machine.refuse(403, f"forbidden: {kind} is not for a token that is bound to a prefix")
    if not all(id.startswith(claims.prefix) for id in named):
        return machine.refuse(403, f"forbidden: the token is bound to ids that begin with {claims.prefix!r}")
    return None


def _names(data: Any) -> list[str] | None:
    """Return the ids that a request reads or changes; None if it may touch any, as a search does.

    This is stricter than the Resonate Server, which does not check requests inside other requests.
    """
    match data:
        case records.TaskCreate():
            return [data.action.data.id]
        case records.TaskFence():
            return [data.id, data.action.data.id]
        case records.TaskSuspend():
            return [data.id, *(action.data.awaited for action in data.actions)]
        case records.TaskHeartbeat():
            return [task.id for task in data.tasks]
        case records.PromiseRegisterCallback():
            return [data.awaited, data.awaiter]
        case records.PromiseRegisterListener():
            return [data.awaited]
        case records.ScheduleCreate():
            return [data.promise_id]
        case records.Single():
            return [data.id]
    return None
