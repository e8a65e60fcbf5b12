"""Verifies what a provider signs: ID tokens (OpenID Connect Core, 3.1.3.7) and logout tokens."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from hitl_cli.gateway.oidc.failures import SignInRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from hitl_cli.gateway.oidc.provider import Provider

ALGORITHMS = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""The accepted algorithms, each with the type and curve of its keys. With none can a public key sign."""

SKEW_S = 120
"""How far the clocks of the provider and the gateway may differ."""

FRESH_S = 600
"""How old an ID token may be: it was made for the code that was just exchanged."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

LONGEST = 65_536
"""Characters of a token."""


async def id_token_claims(
    provider: Provider, text: str, *, nonce: str, access_token: str, now_s: int
) -> dict[str, Any]:
    """Return the claims of an ID token for this client and this sign-in.

    Raises SignInRefused, ProviderAway.
    """
    claims, algorithm = await _verified(provider, text, now_s)
    if claims.get("nonce") != nonce:
        _refuse("it belongs to another sign-in")
    if "exp" not in claims:
        _refuse("it never expires")
    said = claims.get("at_hash")
    if said is not None and said != _half_digest(access_token, algorithm):
        _refuse("its access token is another one")
    return claims


async def logout_claims(provider: Provider, text: str, *, now_s: int) -> dict[str, Any]:
    """Return the claims of a logout token (OpenID Connect Back-Channel Logout, 2.6).

    Raises SignInRefused, ProviderAway.
    """
    claims, _ = await _verified(provider, text, now_s, needs_sub=False)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        _refuse("it is not a logout token")
    if "nonce" in claims or not (claims.get("sub") or claims.get("sid")):
        _refuse("it is not a logout token")
    return claims


async def _verified(
    provider: Provider, text: str, now_s: int, *, needs_sub: bool = True
) -> tuple[dict[str, Any], str]:
    """Return the claims of a token that the provider signed for this client, and the algorithm."""
    header = _header_of(text)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        _refuse(f"its algorithm {str(algorithm)[:20]!r} is not accepted")
    if "crit" in header:
        _refuse("it has critical headers")
    keys = [key for key in await provider.keys(header.get("kid")) if _fits(key, algorithm)]
    if len(keys) != 1:
        _refuse("its key is not one of the provider's")
    client = provider.settings.client_id
    rules = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=SKEW_S,
        iss={"essential": True, "value": provider.settings.issuer},
        aud={"essential": True, "value": client},
        iat={"essential": True},
        sub={"essential": needs_sub},
    )
    try:
        claims = jwt.decode(text, JWKRegistry.import_key(keys[0]), algorithms=[algorithm]).claims
        rules.validate(claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SignInRefused(f"the provider's token was refused: {_said(error)}.") from error
    audience = claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    if claims.get("azp", None if several else client) != client:
        _refuse("it was made for another application")
    if claims["iat"] < now_s - FRESH_S - SKEW_S:
        _refuse("it is too old")
    return claims, algorithm


def _header_of(text: str) -> Mapping[str, Any]:
    """Return the header of a token, which is not verified yet."""
    first, *rest = text[:LONGEST].split(".")
    try:
        if len(rest) != 2 or len(text) > LONGEST:  # noqa: PLR2004 - header, claims, signature
            _refuse("it is not a JWT")
        return msgspec.json.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)), type=dict)
    except (ValueError, RecursionError) as error:
        raise SignInRefused("the provider's token was refused: it is not a JWT.") from error


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key of the provider is for signatures with an algorithm."""
    kind, curve = ALGORITHMS[algorithm]
    return (
        key.get("kty") == kind
        and key.get("crv") == curve
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _half_digest(text: str, algorithm: str) -> str:
    """Return the left half of the hash of a text, as in `at_hash`."""
    name = "sha512" if algorithm == "Ed25519" else f"sha{algorithm[2:]}"
    digest = hashlib.new(name, text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def _said(error: Exception) -> str:
    """Return why a token is not valid, as a phrase."""
    return str(getattr(error, "description", "") or error).strip(". ") or type(error).__name__


def _refuse(why: str) -> NoReturn:
    raise SignInRefused(f"the provider's token was refused: {why}.")
