"""Who shows an API token: asked of the server, and believed for a moment."""

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
"""How long what the server said of a token is believed: as long it is good after it was revoked."""

KEPT_MAX = 2_048
"""Tokens that are remembered."""

INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class _Known(Struct, frozen=True):
    until: float
    token: Token | None
    why: str


class BearerTokens:
    """Reads the tokens that are shown to a gateway. `clock` gives seconds."""

    def __init__(
        self, bridge: ClientPool, refused: RateLimit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`refused` counts the bad tokens of each network."""
        self._bridge = bridge
        self._refused = refused
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def token(self, request: Request) -> Token | None:
        """Return the token that a request shows; None if it shows none. Raises Refused (401, 429)."""
        shown = request.headers.getall("Authorization", [])
        if not any(one.lower().startswith("bearer") for one in shown):
            return None  # another scheme is a proxy's business
        scheme, _, text = shown[0].partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer":
            raise HttpError(401, "show one token, as Authorization: Bearer …", INVALID)
        known = await self._look(text.strip())
        if known.token is None:
            self._refused.check(request, "too many bad tokens came from your address. Try again in a minute.")
            raise HttpError(401, known.why, INVALID, code="token-refused")
        return known.token

    async def find(self, text: str) -> Token | None:
        """Return the token that a text is; None if it is not a good one."""
        return (await self._look(text)).token

    async def _look(self, text: str) -> _Known:
        # By a hash, so that a dump of the memory shows no more of it than it must.
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
