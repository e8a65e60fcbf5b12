"""Which machine a request or an address names: this one alone, or others too."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_of(netloc: str) -> str:
    """Return the name or address in a Host header; the empty text where there is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, and reached from here alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
