"""Ids derived from content: every process derives the same id.

These ids are stored in files and on other servers, so the results of these functions must never change.
"""

from __future__ import annotations


def stable_id(content: str | bytes, digits: int) -> str:
    """Return the first hexadecimal digits of the SHA-256 of a content, up to 64."""
    import hashlib

    return hashlib.sha256(_as_bytes(content)).hexdigest()[:digits]


def short_stable_id(content: str | bytes, digits: int = 16, purpose: bytes = b"") -> str:
    """Return an even number of hexadecimal digits, up to 128, that depend on the purpose (BLAKE2b)."""
    import hashlib

    return hashlib.blake2b(_as_bytes(content), digest_size=digits // 2, person=purpose).hexdigest()


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode(errors="surrogatepass") if isinstance(content, str) else content
