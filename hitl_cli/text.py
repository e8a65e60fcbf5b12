"""Text from promises and from people, made fit for a line on a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Return text on one line, without what could move the cursor or change the colors."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def cells(text: str) -> int:
    """Return how many columns of a terminal the text takes (Unicode Standard Annex 11)."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
