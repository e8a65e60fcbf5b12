"""The provider: its endpoints (OpenID Connect Discovery), its keys, and the tokens for a code."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from hitl_cli.errors import certificate_fault
from hitl_cli.gateway.oidc.failures import ProviderAway, SignInRefused
from hitl_cli.inspected import inspected
from hitl_cli.people.oidc_settings import is_safe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hitl_cli.people.oidc_settings import OidcSettings

DISCOVERY = "/.well-known/openid-configuration"

ANSWER_S = 10.0
"""How long the provider may take for one response."""

ANSWER_BYTES = 1_000_000

KEPT_S = 3_600.0
"""How long its endpoints and keys are cached, so that a withdrawn key is not trusted for long."""

ASK_AGAIN_S = 10.0
"""Shortest time between two look-ups of unknown keys: anyone can send a token that names one."""


class Metadata(Struct, frozen=True, kw_only=True):
    """The provider's metadata (OpenID Connect Discovery, RFC 8414, RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Keys(Struct, frozen=True):
    keys: list[dict[str, Any]]


class Tokens(Struct, frozen=True, kw_only=True):
    """The tokens that the provider gives for a code."""

    id_token: str
    access_token: str
    token_type: str


class _Refusal(Struct, frozen=True):
    error: str = ""


class Provider:
    """A provider, with its endpoints and keys as last read. `clock` returns seconds."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None

    @property
    def signs_out(self) -> bool:
        """Whether it is known to have a page to sign out."""
        return self._metadata is not None and self._metadata[1].end_session_endpoint is not None

    async def metadata(self) -> Metadata:
        """Return its endpoints. Raises ProviderAway."""
        async with self._lock:
            if self._metadata is None or self._clock() - self._metadata[0] > KEPT_S:
                found = await self._get(self.settings.issuer.rstrip("/") + DISCOVERY, Metadata)
                self._metadata = (self._clock(), _checked(found, self.settings.issuer))
            return self._metadata[1]

    async def keys(self, kid: object) -> list[dict[str, Any]]:
        """Return the keys with an id, reading them again if there is none; without an id, all keys.

        Raises ProviderAway.
        """
        uri = (await self.metadata()).jwks_uri
        async with self._lock:
            for again in (False, True):
                at, known = self._keys or (0.0, [])
                age = self._clock() - at if self._keys is not None else float("inf")
                if age > (ASK_AGAIN_S if again else KEPT_S):
                    known = (await self._get(uri, _Keys)).keys
                    self._keys = (self._clock(), known)
                if found := [key for key in known if kid is None or key.get("kid") == kid]:
                    return found
            return []

    async def tokens(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return the tokens for a code. Raises SignInRefused, ProviderAway."""
        metadata = await self.metadata()
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        headers = {}
        id, secret = self.settings.client_id, self.settings.client_secret
        methods = metadata.token_endpoint_auth_methods_supported
        if secret is None:
            sent["client_id"] = id
        elif "client_secret_basic" in methods or "client_secret_post" not in methods:
            pair = f"{quote(id, safe='')}:{quote(secret, safe='')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            sent |= {"client_id": id, "client_secret": secret}
        return await self._send("POST", metadata.token_endpoint, Tokens, headers, sent)

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the claims of the provider's userinfo endpoint.

        Raises SignInRefused, ProviderAway.
        """
        endpoint = (await self.metadata()).userinfo_endpoint
        if endpoint is None:
            return {}
        return await self._send("GET", endpoint, dict[str, Any], {"Authorization": f"Bearer {access_token}"})

    async def _get[T](self, url: str, kind: type[T]) -> T:
        try:
            return await self._send("GET", url, kind)
        except SignInRefused as error:
            raise ProviderAway(f"{url} {_AWAY}: it refused the request.") from error

    async def _send[T](
        self,
        method: str,
        url: str,
        kind: type[T],
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        """Send one request, and follow no redirect, which would send a secret to another host."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session,
                session.request(
                    method,
                    url,
                    data=form,
                    headers={"Accept": "application/json", **(headers or {})},
                    allow_redirects=False,
                ) as response,
            ):
                raw = await response.content.read(ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = certificate_fault(error) or str(error) or f"no response within {ANSWER_S:g} s"
            raise ProviderAway(f"{url} {_AWAY}: {why}.") from error
        if 400 <= status < 500:  # noqa: PLR2004 - an error of the request
            raise SignInRefused(f"the sign-in provider refused the request ({_reason_in(raw) or status}).")
        try:
            if status != 200:  # noqa: PLR2004
                raise ProviderAway(f"{url} {_AWAY}: status {status}.")
            return msgspec.json.decode(raw, type=inspected(kind))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderAway(f"{url} {_AWAY}: {error}.") from error


_AWAY = "does not answer as a sign-in provider"


def _reason_in(raw: bytes) -> str:
    """Return the code of an OAuth error; empty if it has none."""
    try:
        code = msgspec.json.decode(raw, type=inspected(_Refusal)).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return code if code.isascii() and code.replace("_", "").isalnum() else ""


def _checked(found: Metadata, issuer: str) -> Metadata:
    """Return the endpoints of an issuer. Raises ProviderAway if they are of another issuer, or not safe."""
    if found.issuer != issuer:
        raise ProviderAway(
            f"the sign-in provider calls itself {found.issuer!r}: set oidc.issuer to exactly that."
        )
    urls = (
        found.authorization_endpoint,
        found.token_endpoint,
        found.jwks_uri,
        found.userinfo_endpoint,
        found.end_session_endpoint,
    )
    if bad := next((url for url in urls if url is not None and not is_safe_url(url)), None):
        raise ProviderAway(f"the sign-in provider has the endpoint {bad!r}, which is not an https:// URL.")
    return found
