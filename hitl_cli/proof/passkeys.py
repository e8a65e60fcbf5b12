"""Signatures by passkeys (WebAuthn, section 7.2): the challenge is the SHA-256 of the statement.

The public keys are those of the settings. Verifying needs neither the gateway nor a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.errors import BadProof, extra
from hitl_cli.format.passkeys import Passkey, from_base64url, passkey, to_base64url
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Proof

UNREADABLE = (ValueError, LookupError, TypeError, RecursionError)
"""The exceptions of `webauthn` for invalid keys and messages, beside its own."""


class _ClientData(Struct, frozen=True, rename="camel"):
    """The browser's data about the page that requested the signature (WebAuthn, section 5.8.1)."""

    challenge: str
    cross_origin: bool = False


def verify(proof: Proof, challenge: bytes, lines: Sequence[str]) -> str:
    """Return the fingerprint of the passkey, among these `lines` of the settings, that signed a challenge.

    Raises BadProof, with the reason, and MissingExtra.
    """
    keys = [key for key in map(passkey, lines) if key.credential == proof.credential]
    if not keys:
        raise BadProof(f"the settings have no passkey {(proof.credential or '')[:12]!r} of this person")
    data = from_base64url(proof.client_data or "")
    try:
        client = msgspec.json.decode(data, type=inspected(_ClientData))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadProof("the browser's response cannot be read") from error
    if client.challenge != to_base64url(challenge):
        raise BadProof("the passkey signed something else: another request, answer or time")
    if client.cross_origin:
        raise BadProof("a page of another site asked for the signature")
    _verify(proof, challenge, keys[0])
    return keys[0].fingerprint


ALGORITHMS = (-7, -8, -257)
"""The algorithms of new keys: ES256, EdDSA and RS256, as COSE numbers."""


def created(credential: str, challenge: bytes, origin: str, comment: str) -> Passkey:
    """Return the passkey that a browser has made for a challenge, from its JSON.

    The authenticator is not attested: a person must add the passkey to the settings before it counts. Raises
    BadProof, MissingExtra.
    """
    with extra("passkeys"):
        from webauthn import verify_registration_response
        from webauthn.helpers.cose import COSEAlgorithmIdentifier
        from webauthn.helpers.exceptions import WebAuthnException
    key = Passkey(origin=origin, credential="", key=b"", comment=comment)
    try:
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=key.rp_id,
            expected_origin=origin,
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(number) for number in ALGORITHMS],
        )
    except (WebAuthnException, *UNREADABLE) as error:
        raise BadProof(f"the browser's passkey is not valid: {error}. Try again.") from error
    return replace(key, credential=to_base64url(made.credential_id), key=made.credential_public_key)


def _verify(proof: Proof, challenge: bytes, key: Passkey) -> None:
    """Raise BadProof unless a passkey made this signature for its origin, and verified the person."""
    with extra("passkeys"):
        from webauthn import verify_authentication_response
        from webauthn.helpers.exceptions import WebAuthnException
    credential = {
        "id": proof.credential,
        "rawId": proof.credential,
        "type": "public-key",
        "response": {
            "clientDataJSON": proof.client_data,
            "authenticatorData": proof.authenticator_data or "",
            "signature": proof.signature,
        },
    }
    try:
        verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=key.rp_id,
            expected_origin=key.origin,
            credential_public_key=key.key,
            credential_current_sign_count=0,  # the counter of a synced passkey may go back
            require_user_verification=True,
        )
    except (WebAuthnException, *UNREADABLE) as error:
        raise BadProof(f"the passkey's signature is not valid: {error}") from error
