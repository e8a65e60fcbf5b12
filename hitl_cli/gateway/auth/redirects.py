"""Redirects lead only to pages of this gateway, whatever a request asks for."""

from __future__ import annotations

import re
from urllib.parse import unquote

LONGEST = 2_000

HOME = "/"

_LOCAL = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A slash, then visible ASCII, without a second slash or a backslash, which browsers treat as a slash."""


def local_path(text: str) -> str:
    """Return a path with its query; the inbox if it is not a page of this gateway, or is for signing in."""
    path = re.split("[?#]", text, maxsplit=1)[0]
    up = any(unquote(part) in (".", "..") for part in path.split("/"))  # it leads out of the base path
    local = len(text) <= LONGEST and _LOCAL.fullmatch(text) and "//" not in path and not up
    return HOME if not local or text.startswith(("/sign-in", "/sign-out")) else text
