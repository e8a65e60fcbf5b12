"""Public SSH keys as text: `TYPE BASE64 [COMMENT]` (RFC 4253, section 6.6)."""

from __future__ import annotations

import base64
import binascii

from hitl_cli.errors import BadInput

KEY_TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
"""The types of keys that can sign."""

NAMESPACE = "hitl-decision"
"""The purpose of the signatures, so that one of a commit or a mail is not valid for a decision."""


def public_key(text: str) -> str:
    """Return a public key without its comment. Raises BadInput if the text is not a key."""
    kind, _, rest = text.strip().partition(" ")
    blob = rest.strip().partition(" ")[0]
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if kind not in KEY_TYPES or not raw[4:].startswith(kind.encode()) or "\n" in text.strip():
        raise BadInput(f"{text[:60]!r} is not a public SSH key, such as ssh-ed25519 AAAA….")
    return f"{kind} {blob}"


def fingerprint(key: str) -> str:
    """Return the fingerprint of a public key, as OpenSSH writes it."""
    blob = base64.b64decode(key.split()[1])
    from hashlib import sha256

    return "SHA256:" + base64.b64encode(sha256(blob).digest()).decode().rstrip("=")
