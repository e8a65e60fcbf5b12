"""Names of people and groups: how they are stored, and when two of them are equal."""

from __future__ import annotations

import re
from functools import lru_cache

INVISIBLE = (
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Control characters, bidirectional characters and other invisible ones (Default_Ignorable in Unicode).

Excluded are the two joiners, which Persian and Indian languages need.
"""

JOINERS = str.maketrans("", "", "\u200c\u200d")


@lru_cache(4_096)
def normalized(name: str) -> str:
    """Return a name as it is stored: NFC, single spaces between words, no invisible characters."""
    if name.isascii() and name.isprintable() and name == " ".join(name.split()):
        return name
    import unicodedata

    return " ".join(unicodedata.normalize("NFC", re.sub(INVISIBLE, "", name)).split())


@lru_cache(4_096)
def folded(name: str) -> str:
    """Return the key by which names are compared: case does not matter."""
    if name.isascii():
        return normalized(name).casefold()
    import unicodedata

    # Folding can undo the composition. Composing again gives a text that folding does not change.
    return unicodedata.normalize("NFC", normalized(name.translate(JOINERS)).casefold())


def skeleton(name: str) -> str:
    """Return a key that names have in common when they look alike."""
    import unicodedata

    shown = unicodedata.normalize("NFKC", normalized(name.translate(JOINERS))).translate(_CAPITALS)
    return unicodedata.normalize("NFC", shown.casefold().translate(_LOOKS_LIKE)).replace("rn", "m")


_CAPITALS = str.maketrans("I|1", "lll")
"""Characters that look like a lowercase l in most typefaces, before case folding."""

_LOOKS_LIKE = str.maketrans(
    "авгеһіјкӏмнорстухѕԁԛԝαεικνορτυχγɑɡı0‐‑‒–—―−_’ʼ`´",  # noqa: RUF001 - they do look alike
    "abrehijklmhopctyxsdqwaeikvoptuxyagio--------''''",
)
"""Cyrillic and Greek letters, digits and marks that look like ASCII: the common ones, not all."""
