"""Where somebody is sent: to pages of this gateway and to no other place, whatever an address says."""

from __future__ import annotations

import re

LONGEST = 2_000

HOME = "/"

_LOCAL = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A slash, then visible ASCII but for a second slash or a backslash, which browsers take for a slash."""


def local_path(text: str) -> str:
    """Return a path with its query, if it is one of this gateway's and no page to sign in; else the inbox."""
    local = len(text) <= LONGEST and _LOCAL.fullmatch(text) and "//" not in text.partition("?")[0]
    return HOME if not local or text.startswith(("/sign-in", "/sign-out")) else text
