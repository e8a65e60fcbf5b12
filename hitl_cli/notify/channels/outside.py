"""Connections to public addresses only, for untrusted URLs.

The check is in the name lookup of the connection itself, so a name that resolves to another address a moment
later (DNS rebinding) is checked, too.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hitl_cli.engine.http.hosts import is_public
from hitl_cli.notify.messages import DeliveryFailed


def connector_to(host: str) -> aiohttp.BaseConnector:
    """Return a connector to a host. Raises DeliveryFailed for an address that is not public."""
    try:
        if not is_outside(host.strip("[]")):
            _refuse(host)
    except ValueError:  # a name, which the resolver checks
        pass
    return aiohttp.TCPConnector(resolver=_Outside(), use_dns_cache=False)


def is_outside(address: str) -> bool:
    """Whether an IP address is public: not of this machine, nor of a network behind it. Raises ValueError."""
    return is_public(ipaddress.ip_address(address.partition("%")[0]))


class _Outside(AbstractResolver):
    """A resolver that leaves out addresses that are not public."""

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
