"""Connections to public addresses only, for URLs that come from others.

The check is in the look-up that the connection itself uses: a name that leads elsewhere a moment later (DNS
rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hitl_cli.notify.messages import DeliveryFailed

CARRIES_IPV4 = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are an IPv4 address (RFC 6052)."""

INSIDE = tuple(map(ipaddress.ip_network, ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10")))
"""IPv6 networks that Python calls global: IPv4 in other forms (RFC 4291, 2765, 8215), and site-local."""

METADATA = ipaddress.ip_address("168.63.129.16")
"""Azure's, the only server of metadata whose address looks public."""


def connector_to(host: str) -> aiohttp.BaseConnector:
    """Return what connects to a host. Raises DeliveryFailed for an address that is not public."""
    try:
        if not is_outside(host.strip("[]")):
            _refuse(host)
    except ValueError:  # a name, which is looked up
        pass
    return aiohttp.TCPConnector(resolver=_Outside(), use_dns_cache=False)


def is_outside(address: str) -> bool:
    """Whether an IP address is public: not of this machine, nor of a network behind it. Raises ValueError."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in CARRIES_IPV4:
            inner = ipaddress.IPv4Address(found.packed[-4:])
        if inner is not None:
            return is_outside(str(inner))
        if any(found in network for network in INSIDE):
            return False
    return found.is_global and not found.is_multicast and found != METADATA


class _Outside(AbstractResolver):
    """Looks up names, and leaves out addresses that are not public."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a name. Raises DeliveryFailed if there are none."""
        found = await self._inner.resolve(host, port, family)
        return [one for one in found if is_outside(one["host"])] or _refuse(host)

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()


def _refuse(host: str) -> NoReturn:
    raise DeliveryFailed(f"{host} has an internal address. If it may, add it to callbacks.internal.")
