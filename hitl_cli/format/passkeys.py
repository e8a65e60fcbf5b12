"""Passkeys as text: `ORIGIN CREDENTIAL KEY [COMMENT]`, as the settings have them.

The origin is that of the gateway on whose pages the passkey was made, and its host is the relying party's id.
The credential's id and the COSE public key are base64url without padding, as in WebAuthn.
"""

from __future__ import annotations

import base64
import binascii
import re
from importlib.util import find_spec
from urllib.parse import urlsplit

from msgspec import Struct

from hitl_cli.errors import BadInput

ORIGIN = r"https://[a-z0-9.-]+(:\d{1,5})?|http://([a-z0-9-]+\.)*localhost(:\d{1,5})?"
"""Where browsers use passkeys: with https, and on localhost; never for an IP address."""

CREDENTIAL_BYTES = range(16, 1024)
"""Lengths of a credential's id (WebAuthn, section 4)."""

KEY_BYTES = range(32, 4096)
"""Lengths of a public key: one of Ed25519 has 44, of ES256 77, of RS256 272, of ML-DSA-87 some 2,600."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Passkey(Struct, frozen=True, kw_only=True):
    """A passkey of a person. `comment` says which it is."""

    origin: str
    credential: str
    key: bytes
    comment: str = ""

    @property
    def rp_id(self) -> str:
        """The id of the relying party: the host of the origin."""
        return urlsplit(self.origin).hostname or ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public key, written as OpenSSH does."""
        from hashlib import sha256

        return "SHA256:" + base64.b64encode(sha256(self.key).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The passkey as text."""
        return " ".join(filter(None, (self.origin, self.credential, to_base64url(self.key), self.comment)))


def passkey(text: str) -> Passkey:
    """Return the passkey in a text. Raises BadInput if the text is not a passkey."""
    origin, credential, key, *comment = [*text.split(), "", "", ""] if text.isprintable() else ["", "", ""]
    id, public = from_base64url(credential), from_base64url(key)
    if not re.fullmatch(ORIGIN, origin) or len(id) not in CREDENTIAL_BYTES or len(public) not in KEY_BYTES:
        raise BadInput(
            f"{text[:60]!r} is not a passkey: copy the line that the page Passkeys of the gateway shows."
        )
    return Passkey(origin=origin, credential=credential, key=public, comment=" ".join(filter(None, comment)))


def are_verified_here() -> bool:
    """Whether the extra is installed that verifies signatures of passkeys."""
    return find_spec("webauthn") is not None


def origin_of(url: str) -> str | None:
    """Return the origin of a gateway's URL; None if browsers allow no passkeys there.

    A loopback address becomes localhost: a passkey is for a name, never for an address.
    """
    parts = urlsplit(url)
    try:
        host = (parts.hostname or "").encode("idna").decode()
    except UnicodeError:
        return None
    host = "localhost" if host in LOOPBACK else host
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    port = f":{parts.port}" if parts.port not in (None, usual) else ""
    origin = f"{parts.scheme}://{host}{port}"
    is_address = host.rpartition(".")[2].isdecimal()
    return origin if re.fullmatch(ORIGIN, origin) and not is_address else None


def to_base64url(raw: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding; empty if the text is anything else."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if to_base64url(raw) == text else b""
