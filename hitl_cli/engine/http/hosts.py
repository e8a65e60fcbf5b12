"""Kinds of hosts and addresses: this machine only, public, and never to be called."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CARRIES_IPV4 = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are an IPv4 address (RFC 6052)."""

INSIDE = tuple(map(ipaddress.ip_network, ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10")))
"""IPv6 networks that Python calls global: IPv4 in other forms (RFC 4291, 2765, 8215), and site-local."""

METADATA = frozenset(
    map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"))
)
"""Servers of metadata that are not link-local: Azure's, Alibaba's, and over IPv6 Amazon's and Google's."""


def host_of(netloc: str) -> str:
    """Return the name or address in a Host header; empty if there is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


@lru_cache(256)
def is_here(netloc: str) -> bool:
    """Whether a Host header names this machine by a loopback name or address."""
    return is_loopback(host_of(netloc))


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """Whether a name or an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Whether an address is public: not of this machine, nor of a network behind it."""
    found = as_ipv4(address)
    inside = any(found in network for network in INSIDE)
    return found.is_global and not (inside or found.is_multicast or found in METADATA)


def is_callable(address: Address) -> bool:
    """Whether an address may be called if private ones may: link-local and cloud metadata ones may not."""
    found = as_ipv4(address)
    return not (found.is_link_local or found.is_multicast or found.is_unspecified or found in METADATA)


def as_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to; any other unchanged."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in CARRIES_IPV4:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
