"""Limits on failed attempts, counted in the memory of each gateway."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.gateway.http_error import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.web import Request

    from hitl_cli.gateway.options import Network

MOST_KNOWN = 10_000
"""Clients to count; the oldest is forgotten first."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that identify one household or host, which can use all addresses below."""


class _Window(Struct):
    began_at: int
    count: int


class RateLimit:
    """Counts the attempts of each client within a time. `clock` returns ms since the epoch.

    Behind a proxy in a `trusted` network, the client is the address in X-Forwarded-For.
    """

    def __init__(
        self, most: int, within_ms: int, clock: Callable[[], int], trusted: Sequence[Network] = ()
    ) -> None:
        self._most = most
        self._trusted = trusted
        self._within_ms = within_ms
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def count(self, who: str) -> int:
        """Count an attempt. Returns 0, or the ms until the client may try again."""
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
        """Count an attempt from a request's network. Raises HttpError (429)."""
        wait_ms = self.count_from(request)
        if wait_ms:
            raise HttpError(429, refusal, {"Retry-After": str(wait_ms // 1_000 + 1)})

    def count_from(self, request: Request) -> int:
        """Count an attempt from a request's network. Returns the same as `count`."""
        return self.count(network_of(client_of(request, self._trusted)))


def client_of(request: Request, trusted: Sequence[Network]) -> str | None:
    """Return the address that a request comes from: the last one that is not of a trusted proxy."""
    address = request.remote
    for before in reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(",")):
        if not is_within(address, trusted):
            break
        address = before.strip() or address
    return address


def is_within(address: str | None, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)


def network_of(address: str | None) -> str:
    """Return the network of an address, for which attempts are counted."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
