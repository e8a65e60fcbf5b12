"""URLs as people see them."""

from __future__ import annotations

from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return a URL's scheme and host. The rest may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/…"
