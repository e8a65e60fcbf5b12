"""Checks API tokens with the server, and caches the results for a moment."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.auth.tokens import Token, TokenRefused, check
from hitl_cli.gateway.http_error import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web import Request

    from hitl_cli.client.pool import ClientPool
    from hitl_cli.gateway.auth.rate_limit import RateLimit

BELIEVED_S = 2.0
"""How long a result is cached, and so how long a revoked token may still work."""

KEPT_MAX = 2_048
"""Cached tokens."""

INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class _Known(Struct, frozen=True):
    until: float
    token: Token | None
    why: str


class BearerTokens:
    """Reads the API tokens of requests. `clock` returns seconds."""

    def __init__(
        self, bridge: ClientPool, refused: RateLimit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`refused` counts the invalid tokens of each network."""
        self._bridge = bridge
        self._refused = refused
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def token(self, request: Request) -> Token | None:
        """Return the token of a request; None if it has none. Raises HttpError (401, 429)."""
        shown = request.headers.getall("Authorization", [])
        if not any(one.lower().startswith("bearer") for one in shown):
            return None  # other schemes are for a proxy
        scheme, _, text = shown[0].partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer":
            raise HttpError(401, "send exactly one token, as Authorization: Bearer …", INVALID)
        known = await self._look(text.strip())
        if known.token is None:
            self._refused.check(request, "too many invalid tokens from your network. Try again in a minute.")
            raise HttpError(401, known.why, INVALID, code="token-refused")
        return known.token

    async def find(self, text: str) -> Token | None:
        """Return a token by its text; None if it is not valid."""
        return (await self._look(text)).token

    def forget(self) -> None:
        """Forget what is cached: a token was revoked here."""
        self._known.clear()

    async def _look(self, text: str) -> _Known:
        # The cache is keyed by a hash, so that a memory dump does not contain all tokens.
        mark = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        known = self._known.get(mark)
        if known is None or known.until < self._clock():
            try:
                token, why = await self._bridge.run(check, text), ""
            except TokenRefused as error:
                token, why = None, str(error)
            known = _Known(self._clock() + BELIEVED_S, token, why)
            self._known[mark] = known
            if len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
        return known
