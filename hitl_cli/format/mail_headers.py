"""E-mail headers, made without Python's email package, which decodes encoded words in its input.

In some versions (3.12.1) a line break in such a word then ends the header and starts another: an injection.
"""

from __future__ import annotations

import re

from msgspec import Struct

from hitl_cli.format.terminal import ascii_host, printable

_CHARS = r"[^@\s<>,;:\"()\[\]\\]"
EMAIL_ADDRESS = rf"(?!\S*=\?){_CHARS}{{1,64}}@{_CHARS}{{1,255}}"
"""Excludes `=?`, which mail programs decode; no real address contains it."""

MAILBOX = rf'(?:(?P<name>"(?:[^"\\]|\\.)*"\s*|[^<>"]*)<(?P<named>{EMAIL_ADDRESS})>|(?P<bare>{EMAIL_ADDRESS}))'

ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:[ .][A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
"""Text that needs no quotes: words of a name, or the parts before an @ (RFC 5322)."""

LABEL_CHARS = 63
"""Maximum length of a label of a domain (RFC 1035)."""

LINE_CHARS = 78
"""Recommended maximum length of a header line (RFC 5322)."""

PLAIN_CHARS = 900
"""Longer text is encoded, which splits it: a line may have at most 998 characters, even without spaces."""

WORD_BYTES = 39
"""Bytes in an encoded word, so that a line with the longest header name has 76 characters (RFC 2047)."""


class Mailbox(Struct, frozen=True):
    """An e-mail address and its display name, if any."""

    name: str
    address: str


def mailbox(text: str) -> Mailbox | None:
    """Parse `a@example.org` or `Name <a@example.org>`; None if it is neither.

    Everything before the `<` is the name, with or without quotes.
    """
    found = re.fullmatch(MAILBOX, text.strip())
    if found is None or not is_address(address := found["named"] or found["bare"]):
        return None
    name = (found["name"] or "").strip()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return None if re.search(r"[\x00-\x1f\x7f-\x9f]", name) else Mailbox(name, address)


def is_address(text: str) -> bool:
    """Whether a text is a valid e-mail address."""
    if re.fullmatch(EMAIL_ADDRESS, text) is None or printable(text) != text:
        return False
    return all(0 < len(label) <= LABEL_CHARS for label in text.rpartition("@")[2].split("."))


def ascii_domain(address: str) -> str:
    """Return an address with its domain in ASCII (IDNA), or unchanged if that is impossible."""
    user, _, domain = address.rpartition("@")
    try:
        return f"{user}@{ascii_host(domain)}"
    except UnicodeError:
        return address


def text_header(name: str, text: str) -> str:
    """Return a text as exactly one header, folded with CRLF."""
    text = printable(text)
    if not text.isascii() or "=?" in text or text != text.strip() or len(text) > PLAIN_CHARS:
        return f"{name}: {encoded_words(text)}"
    lines = [f"{name}: {text}"]
    while (at := lines[-1].rfind(" ", len(name) + 2, LINE_CHARS)) > 0 and len(lines[-1]) > LINE_CHARS:
        lines[-1:] = [lines[-1][:at], lines[-1][at:]]
    return "\r\n".join(lines)


def mailbox_header(name: str, box: Mailbox) -> str:
    """Return a header with a mailbox."""
    user, _, domain = ascii_domain(box.address).rpartition("@")
    if not re.fullmatch(ATOMS, user) and user.isascii():
        user = _quoted(user)
    address = f"{user}@{domain}"
    return f"{name}: {_phrase(printable(box.name))} <{address}>" if box.name else f"{name}: {address}"


def encoded_words(text: str) -> str:
    """Return a text as encoded words (RFC 2047), one per line, of whole characters."""
    import base64

    chunks = [b""]
    for char in text:
        piece = char.encode()
        if len(chunks[-1]) + len(piece) > WORD_BYTES:
            chunks.append(b"")
        chunks[-1] += piece
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in chunks)


def _phrase(text: str) -> str:
    """Return a display name, quoted or encoded if needed."""
    if not text.isascii() or "=?" in text or len(text) > LINE_CHARS:
        return encoded_words(text)
    return text if re.fullmatch(ATOMS, text) and "." not in text else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
