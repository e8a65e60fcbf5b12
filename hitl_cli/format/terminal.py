"""Makes untrusted text safe for a terminal: control characters are shown, not executed."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""The only invisible characters that text needs: in emoji, Persian and Hindi."""

FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks in Unicode that are invisible."""

TAB = 4


def printable(text: str) -> str:
    """Return text on one line, with control and invisible characters as escapes."""
    if _is_harmless(text):
        return text
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def printable_lines(text: str) -> str:
    """Return text with its line breaks, and control and invisible characters as escapes."""
    return "\n".join(map(printable, text.replace("\r\n", "\n").expandtabs(TAB).split("\n")))


def visible(text: str, *, tabs: bool = False) -> str:
    """Return text on one line in which no two characters look like a plain space, for commands and code.

    All other spaces are escapes, tabs too unless `tabs`: then they are expanded.
    """
    text = text.expandtabs(TAB) if tabs else text
    return "".join(char if _is_harmless(char) else _escape(char) for char in text)


def in_order(text: str) -> str:
    """Return a text in which no character reorders others, for a browser. Right-to-left letters are kept."""
    return text if text.isascii() else text.translate(_REORDERING)


def printable_json(text: str) -> str:
    """Return equivalent JSON, with JSON escapes for control and invisible characters."""
    if _is_harmless(text.replace("\n", "")):
        return text
    lines = text.split("\n")
    return "\n".join(line if _is_harmless(line) else "".join(map(_escaped, line)) for line in lines)


def cut(text: str, limit: int) -> str:
    """Return a text, or its beginning with `…`, in at most `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def cells(text: str) -> int:
    """Return the width of a printable text, in columns of a terminal."""
    if text.isascii():
        return len(text)
    import wcwidth  # slow to import, and not needed for ASCII

    return wcwidth.wcswidth(text)


_REORDERING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that embed, override or isolate a direction of writing, with their escapes (UAX 9)."""


def _is_harmless(text: str) -> bool:
    """Whether a text has only visible characters."""
    return text.isprintable() and (text.isascii() or FILLERS.isdisjoint(text))


def _shown(char: str) -> str:
    """Return a character, a space for other blanks, or its escape."""
    if _is_harmless(char) or char in JOINERS:
        return char
    if char in "\n\t" or unicodedata.category(char) == "Zs":
        return " "
    return _escape(char)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _escaped(char: str) -> str:
    """Return a character of JSON, or its escapes of 16 bits each."""
    if _is_harmless(char) or char in JOINERS:
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


OTHERS_IN_IDNA_2008 = frozenset("\u00df\u03c2\u200c\u200d")
"""Characters that Python's IDNA 2003 maps to others (`ß` to `ss`), and so to a different host."""


def ascii_host(name: str) -> str:
    """Return a host name in ASCII. Raises UnicodeError if it is invalid, or differs in IDNA 2008."""
    if not OTHERS_IN_IDNA_2008.isdisjoint(name):
        raise UnicodeError(f"{name!r} must be written in its ASCII form, xn--…")
    return name.encode("idna").decode()
