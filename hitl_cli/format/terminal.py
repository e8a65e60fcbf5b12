"""Text from promises and from people, made fit for a terminal: shown, and never obeyed."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""The only characters without a shape that are needed to read: in emoji, Persian, Hindi."""

FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""What Unicode calls letters and marks, and nobody sees."""

TAB = 4


def printable(text: str) -> str:
    """Return text on one line; what a terminal would obey, or nobody would see, is shown as its escape."""
    if _is_harmless(text):
        return text
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def printable_lines(text: str) -> str:
    """Return the same of a text that may have several lines."""
    return "\n".join(map(printable, text.replace("\r\n", "\n").expandtabs(TAB).split("\n")))


def printable_json(text: str) -> str:
    """Return JSON that means the same, with JSON's own escapes for what `printable` would not leave."""
    if _is_harmless(text.replace("\n", "")):
        return text
    lines = text.split("\n")
    return "\n".join(line if _is_harmless(line) else "".join(map(_escaped, line)) for line in lines)


def cut(text: str, limit: int) -> str:
    """Return a text, or its beginning with `…`, in at most `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def cells(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    import wcwidth  # its tables take longer to load than a list of plain ASCII takes to print

    return wcwidth.wcswidth(text)


def _is_harmless(text: str) -> bool:
    """Whether all of a text can be seen, and does nothing else."""
    return text.isprintable() and (text.isascii() or FILLERS.isdisjoint(text))


def _shown(char: str) -> str:
    """Return a character, or what stands for it: a space, or its escape."""
    if _is_harmless(char) or char in JOINERS:
        return char
    if char in "\n\t" or unicodedata.category(char) == "Zs":
        return " "
    return char.encode("unicode_escape").decode()


def _escaped(char: str) -> str:
    """Return a character of JSON, or its escape: of 16 bits each, as JSON has them."""
    if _is_harmless(char) or char in JOINERS:
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


OTHERS_IN_IDNA_2008 = frozenset("\u00df\u03c2\u200c\u200d")
"""What Python's IDNA 2003 writes as something else, and so as somebody else's host: `ß` as `ss`."""


def ascii_host(name: str) -> str:
    """Return the name of a host in ASCII. Raises UnicodeError for none, or another one in IDNA 2008."""
    if not OTHERS_IN_IDNA_2008.isdisjoint(name):
        raise UnicodeError(f"{name!r} has to be written in its ASCII form, xn--…")
    return name.encode("idna").decode()
