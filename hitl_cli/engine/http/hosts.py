"""Whether a request or an address means this machine only."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


def host_of(netloc: str) -> str:
    """Return the name or address in a Host header; empty if there is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


@lru_cache(256)
def is_here(netloc: str) -> bool:
    """Whether a Host header names this machine, in a way that only it can be reached by."""
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
