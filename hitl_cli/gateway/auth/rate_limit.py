"""How often somebody may try: counted in memory, a gateway for itself, and never for those who are right."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.gateway.http_error import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web import Request

MOST_KNOWN = 10_000
"""Of how many it is known how often they tried. Whoever tried first is forgotten first."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that stand for one household or host, which has all of those below."""


class _Window(Struct):
    began_at: int
    count: int


class RateLimit:
    """Counts what each has tried within a while. `clock` gives ms since the epoch."""

    def __init__(self, most: int, within_ms: int, clock: Callable[[], int]) -> None:
        self._most = most
        self._within_ms = within_ms
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def count(self, who: str) -> int:
        """Count one more. Return 0, or how many ms it takes until they may try again."""
        now = self._clock()
        window = self._windows.get(who)
        if window is None or not window.began_at <= now < window.began_at + self._within_ms:
            self._windows.pop(who, None)
            window = self._windows[who] = _Window(now, 0)
            if len(self._windows) > MOST_KNOWN:
                self._windows.popitem(last=False)
        window.count += 1
        return window.began_at + self._within_ms - now if window.count > self._most else 0

    def check(self, request: Request, refusal: str) -> None:
        """Count an attempt from the network of a request's address. Raises HttpError (429)."""
        wait_ms = self.count(network_of(request.remote))
        if wait_ms:
            raise HttpError(429, refusal, {"Retry-After": str(wait_ms // 1_000 + 1)})


def network_of(address: str | None) -> str:
    """Return what attempts from an address are counted under."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
