"""The meaning of `*` in patterns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WILD = "*"

PLAIN = "A-Za-z0-9_./:@%+=,-"
"""The characters that `*` stands for, as a class of a regular expression. None has a meaning to a shell."""

_ALL_PLAIN = re.compile(f"[{PLAIN}]*")

_UP = ".."
"""Leads out of a folder."""


def is_plain(text: str) -> bool:
    """Whether a `*` matches a text."""
    return _ALL_PLAIN.fullmatch(text) is not None and _UP not in text


def wild_fits(parts: Sequence[str], text: str) -> bool:
    """Whether a text consists of these parts, in order, with plain texts between them.

    It uses the first place for each part, so that it is fast for every text; at worst it misses a match.
    """
    first, *middle = parts
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    rest = text[len(first) : len(text) - len(last)]
    if not is_plain(rest) or _UP in text:
        return False
    for part in middle:
        _, found, rest = rest.partition(part)
        if not found:
            return False
    return True
