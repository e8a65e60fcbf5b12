"""A passkey in software, and what a browser sends of it."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from hitl_cli.format.passkeys import Passkey, from_base64url, to_base64url

ORIGIN = "https://hitl.example.org"

UP, UV, BE, BS, AT = 1, 4, 8, 16, 64


class Authenticator:
    """A synced passkey for a gateway's origin. Its counter stays 0, as with those of phones."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        point = self._private.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
        key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        self.passkey = Passkey(origin=origin, credential=to_base64url(os.urandom(16)), key=key)

    def sign(
        self,
        challenge: bytes,
        *,
        kind: str = "webauthn.get",
        origin: str | None = None,
        rp_id: str | None = None,
        flags: int = UP | UV | BE | BS,
        counter: int = 0,
        cross_origin: bool = False,
    ) -> dict[str, str]:
        """Return the assertion for a challenge, as `hitl:proof` has it."""
        said = {"type": kind, "challenge": to_base64url(challenge), "origin": origin or self.passkey.origin}
        client_data = json.dumps(said | {"crossOrigin": cross_origin}).encode()
        rp = sha256((rp_id or self.passkey.rp_id).encode()).digest()
        data = rp + bytes([flags]) + counter.to_bytes(4, "big")
        signature = self._private.sign(data + sha256(client_data).digest(), ec.ECDSA(SHA256()))
        return {
            "credential": self.passkey.credential,
            "authenticatorData": to_base64url(data),
            "clientDataJSON": to_base64url(client_data),
            "signature": to_base64url(signature),
        }

    def register(self, challenge: str, *, flags: int = UP | UV | BE | BS) -> dict[str, object]:
        """Return what a browser sends of a new passkey: its JSON (WebAuthn, section 5.1)."""
        said = {"type": "webauthn.create", "challenge": challenge, "origin": self.passkey.origin}
        id = from_base64url(self.passkey.credential)
        data = sha256(self.passkey.rp_id.encode()).digest() + bytes([flags | AT]) + bytes(4)
        data += bytes(16) + len(id).to_bytes(2, "big") + id + self.passkey.key
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return {
            "id": self.passkey.credential,
            "rawId": self.passkey.credential,
            "type": "public-key",
            "response": {
                "clientDataJSON": to_base64url(json.dumps(said).encode()),
                "attestationObject": to_base64url(attestation),
            },
        }
