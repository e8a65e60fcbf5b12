"""Headers of a mail, written here: Python's email package decodes encoded words in text that it is given.

In some versions (3.12.1) a line break in such a word then ends the header, and what follows is another one.
"""

from __future__ import annotations

import re

from msgspec import Struct

from hitl_cli.format.terminal import ascii_host, printable

_CHARS = r"[^@\s<>,;:\"()\[\]\\]"
EMAIL_ADDRESS = rf"(?!\S*=\?){_CHARS}{{1,64}}@{_CHARS}{{1,255}}"
"""Without `=?`, which mail programs decode: nobody has such an address."""

MAILBOX = rf'(?:(?P<name>"(?:[^"\\]|\\.)*"\s*|[^<>"]*)<(?P<named>{EMAIL_ADDRESS})>|(?P<bare>{EMAIL_ADDRESS}))'

ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:[ .][A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
"""What needs no quotes: words of a name, or the parts of what stands before an @ (RFC 5322)."""

LABEL_CHARS = 63
"""How long a part of a domain is at most (RFC 1035)."""

LINE_CHARS = 78
"""How long a line of a header should be at most (RFC 5322)."""

PLAIN_CHARS = 900
"""Longer text is encoded, which cuts it: no line may have more than 998 characters, even without spaces."""

WORD_BYTES = 39
"""Bytes in an encoded word: with the longest name of a header before it, 76 characters (RFC 2047)."""


class Mailbox(Struct, frozen=True):
    """An e-mail address, and the name that is shown for it, if any."""

    name: str
    address: str


def mailbox(text: str) -> Mailbox | None:
    """Return what `a@example.org` or `Name <a@example.org>` means; None for what is neither.

    All that stands before the `<` is the name, with or without quotes around it.
    """
    found = re.fullmatch(MAILBOX, text.strip())
    if found is None or not is_address(address := found["named"] or found["bare"]):
        return None
    name = (found["name"] or "").strip()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return None if re.search(r"[\x00-\x1f\x7f-\x9f]", name) else Mailbox(name, address)


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address to which mail could be sent."""
    if re.fullmatch(EMAIL_ADDRESS, text) is None or printable(text) != text:
        return False
    return all(0 < len(label) <= LABEL_CHARS for label in text.rpartition("@")[2].split("."))


def ascii_domain(address: str) -> str:
    """Return an address with its domain as servers that know only ASCII take it, where it has such a form."""
    user, _, domain = address.rpartition("@")
    try:
        return f"{user}@{ascii_host(domain)}"
    except UnicodeError:
        return address


def text_header(name: str, text: str) -> str:
    """Return a header that says a text, and nothing else: its lines end with CRLF but for the last."""
    text = printable(text)
    if not text.isascii() or "=?" in text or text != text.strip() or len(text) > PLAIN_CHARS:
        return f"{name}: {encoded_words(text)}"
    lines = [f"{name}: {text}"]
    while (at := lines[-1].rfind(" ", len(name) + 2, LINE_CHARS)) > 0 and len(lines[-1]) > LINE_CHARS:
        lines[-1:] = [lines[-1][:at], lines[-1][at:]]
    return "\r\n".join(lines)


def mailbox_header(name: str, box: Mailbox) -> str:
    """Return a header that names a mailbox."""
    user, _, domain = ascii_domain(box.address).rpartition("@")
    if not re.fullmatch(ATOMS, user) and user.isascii():
        user = _quoted(user)
    address = f"{user}@{domain}"
    return f"{name}: {_phrase(printable(box.name))} <{address}>" if box.name else f"{name}: {address}"


def encoded_words(text: str) -> str:
    """Return a text as encoded words (RFC 2047), a line each, of whole characters."""
    import base64

    chunks = [b""]
    for char in text:
        piece = char.encode()
        if len(chunks[-1]) + len(piece) > WORD_BYTES:
            chunks.append(b"")
        chunks[-1] += piece
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in chunks)


def _phrase(text: str) -> str:
    """Return a name as it stands before an address."""
    if not text.isascii() or "=?" in text or len(text) > LINE_CHARS:
        return encoded_words(text)
    return text if re.fullmatch(ATOMS, text) and "." not in text else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
