"""Names of people and groups as text: how one is stored, and what makes two of them the same."""

from __future__ import annotations

import re
from functools import lru_cache

INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Control and bidirectional characters, and what else Unicode has that shows nothing (Default_Ignorable).

Two are not among them: the joiners that Persian and the languages of India are spelled with.
"""

JOINERS = str.maketrans("", "", "\u200c\u200d")


def normalized(name: str) -> str:
    """Return a name as it is stored: NFC, one space between words, nothing that does not show."""
    if name.isascii() and name.isprintable() and name == " ".join(name.split()):
        return name
    import unicodedata

    return " ".join(unicodedata.normalize("NFC", INVISIBLE.sub("", name)).split())


@lru_cache(4_096)
def folded(name: str) -> str:
    """Return what a name has in common with all that mean the same person: capitals make no difference."""
    if name.isascii():
        return normalized(name).casefold()
    import unicodedata

    # Folding can undo the composition, and composing what is folded gives nothing that would fold again.
    return unicodedata.normalize("NFC", normalized(name.translate(JOINERS)).casefold())


def skeleton(name: str) -> str:
    """Return what a name looks like: names that are easily taken for each other have the same."""
    import unicodedata

    shown = unicodedata.normalize("NFKC", normalized(name.translate(JOINERS))).translate(_CAPITALS)
    return unicodedata.normalize("NFC", shown.casefold().translate(_LOOKS_LIKE)).replace("rn", "m")


_CAPITALS = str.maketrans("I|1", "lll")
"""What looks like a small l in most typefaces, before capitals are folded."""

_LOOKS_LIKE = str.maketrans(
    "авгеһіјкӏмнорстухѕԁԛԝαεικνορτυχγɑɡı0‐‑‒–—―−_’ʼ`´",  # noqa: RUF001 - they do look alike
    "abrehijklmhopctyxsdqwaeikvoptuxyagio--------''''",
)
"""Letters of Cyrillic and Greek, digits and marks that look like one of ASCII: the usual ones, not all."""
