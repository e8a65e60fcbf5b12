"""Decisions signed by passkeys: what is verified, and each way in which another signature could pass."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.client.wire import Proof
from hitl_cli.errors import BadProof, BadSetting
from hitl_cli.format.passkeys import Passkey, from_base64url, origin_of, passkey, to_base64url
from hitl_cli.people.contacts import Contact, check
from hitl_cli.proof.passkeys import verify
from tests.proof.authenticator import BE, BS, ORIGIN, UP, UV, Authenticator

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "webauthn_vectors.json").read_text())
"""The test vectors of Web Authentication, Level 3, section 16."""

NOT_SUPPORTED = ("packed.Ed448", "packed.ES384")
"""The page asks for no such keys, and `webauthn` verifies none."""

CHALLENGE = b"c" * 32


def proof_of(assertion: dict[str, str], **changed: str) -> Proof:
    """Return an assertion as a decision has it."""
    fields = {"kind": "passkey", "decision": "d", "at": 1} | assertion | changed
    return msgspec.convert(fields, Proof)


@pytest.mark.parametrize("name", VECTORS)
def test_the_known_answers_of_the_specification(name: str) -> None:
    """Those without user verification or from a frame of another site are refused, the others verified."""
    vector = VECTORS[name]
    key = Passkey(
        origin="https://example.org", credential=vector["credential"], key=from_base64url(vector["key"])
    )
    challenge = from_base64url(vector["challenge"])
    proof = proof_of({name: vector[name] for name in vector if name not in ("key", "challenge")})
    verified = from_base64url(vector["authenticatorData"])[32] & UV
    alone = json.loads(from_base64url(vector["clientDataJSON"])).get("crossOrigin") is False
    if verified and alone and name not in NOT_SUPPORTED:
        assert verify(proof, challenge, [key.line]) == key.fingerprint
    else:
        with pytest.raises(BadProof):
            verify(proof, challenge, [key.line])


def test_a_signature_of_a_passkey_of_the_settings_is_proof_whatever_its_counter_says() -> None:
    other, own = Authenticator(), Authenticator()
    lines = [other.passkey.line, f"{own.passkey.line} the lead's phone"]
    for counter in (0, 7, 3):
        assert (
            verify(proof_of(own.sign(CHALLENGE, counter=counter)), CHALLENGE, lines)
            == own.passkey.fingerprint
        )


ATTACKS: dict[str, Callable[[Authenticator], dict[str, str]]] = {
    "another challenge": lambda own: own.sign(b"x" * 32),
    "a registration": lambda own: own.sign(CHALLENGE, kind="webauthn.create"),
    "another origin": lambda own: own.sign(CHALLENGE, origin="https://hitl.example.org.evil.test"),
    "another port": lambda own: own.sign(CHALLENGE, origin=f"{ORIGIN}:8443"),
    "another relying party": lambda own: own.sign(CHALLENGE, rp_id="example.org"),
    "a frame": lambda own: own.sign(CHALLENGE, cross_origin=True),
    "nobody verified": lambda own: own.sign(CHALLENGE, flags=UP | BE | BS),
    "nobody present": lambda own: own.sign(CHALLENGE, flags=UV | BE | BS),
    "impossible flags": lambda own: own.sign(CHALLENGE, flags=UP | UV | BS),
    "another key": lambda own: Authenticator().sign(CHALLENGE) | {"credential": own.passkey.credential},
    "an unknown credential": lambda _own: Authenticator().sign(CHALLENGE),
    "no credential": lambda own: {"signature": own.sign(CHALLENGE)["signature"]},
    "cut data": lambda own: own.sign(CHALLENGE) | {"authenticatorData": "AAAA"},
    "not base64url": lambda own: own.sign(CHALLENGE) | {"authenticatorData": "ä+/="},
    "not a signature": lambda own: own.sign(CHALLENGE) | {"signature": "AAAA"},
    "not JSON": lambda own: own.sign(CHALLENGE) | {"clientDataJSON": "AAAA"},
    "a list": lambda own: own.sign(CHALLENGE) | {"clientDataJSON": "W10"},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_any_other_signature_is_no_proof(attack: str) -> None:
    own = Authenticator()
    with pytest.raises(BadProof):
        verify(proof_of(ATTACKS[attack](own)), CHALLENGE, [own.passkey.line])


OWN = Authenticator()
SIGNED = OWN.sign(CHALLENGE)


@given(st.sampled_from(sorted(SIGNED)), st.integers(0, 10**6), st.integers(1, 255))
def test_any_changed_byte_is_noticed(field: str, at: int, change: int) -> None:
    raw = bytearray(from_base64url(SIGNED[field]))
    raw[at % len(raw)] ^= change
    with pytest.raises(BadProof):
        verify(proof_of(SIGNED | {field: to_base64url(bytes(raw))}), CHALLENGE, [OWN.passkey.line])


@pytest.mark.parametrize(
    "key",
    [
        b"k" * 77,
        bytes(77),
        b"\x80" * 77,
        cbor2.dumps({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}),
        cbor2.dumps({1: 2, 3: -7, -1: 1, -2: b"x" * 64}),
        cbor2.dumps({1: 99, 3: -7, -1: b"x" * 64}),
        cbor2.dumps({1: 1, 3: -8, -1: 6, -2: b"x" * 64}),
        cbor2.dumps({1: 3, 3: -257, -1: b"x" * 64, -2: "e"}),
        cbor2.dumps([1, 2, b"x" * 64]),
    ],
    ids=count(),
)
def test_a_key_of_the_settings_that_is_none_proves_nothing(key: bytes) -> None:
    own = Authenticator()
    broken = msgspec.structs.replace(own.passkey, key=key)
    with pytest.raises(BadProof):
        verify(proof_of(own.sign(CHALLENGE)), CHALLENGE, [broken.line])


# The line of the settings


def test_a_line_is_read_as_it_was_written() -> None:
    own = Authenticator("http://localhost:5001").passkey
    assert passkey(own.line) == own
    named = msgspec.structs.replace(own, comment="the lead's phone")
    assert passkey(named.line) == named
    assert named.rp_id == "localhost"


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:0],
        lambda line: line.replace("https://", "http://"),
        lambda line: line.replace("hitl.example.org", "hitl.example.org/pages"),
        lambda line: line.replace(" ", "\n", 1),
        lambda line: line.rpartition(" ")[0],
        lambda line: f"{line}="[:-4] + "+/==",
        lambda line: line.split()[0] + " AAAA " + line.split()[2],
    ],
)
def test_a_line_that_is_no_passkey_is_a_bad_setting(change: Any) -> None:
    line = change(Authenticator().passkey.line)
    with pytest.raises(BadSetting) as caught:
        check({"lead": Contact(passkeys=(line,))}, {}, None, {})
    assert "people.lead.passkeys" in str(caught.value)


def test_settings_with_passkeys_that_cannot_be_verified_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a worker without the extra does not start, and fails no run."""
    line = Authenticator().passkey.line
    check({"lead": Contact(passkeys=(line,))}, {}, None, {})
    monkeypatch.setitem(sys.modules, "webauthn", None)
    with pytest.raises(BadSetting) as caught:
        check({"lead": Contact(passkeys=(line,))}, {}, None, {})
    assert "pip install 'resonate-hitl[passkeys]'" in str(caught.value)
    check({"lead": Contact()}, {}, None, {})


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://hitl.example.org", "https://hitl.example.org"),
        ("https://Hitl.Example.org:443/tools/hitl", "https://hitl.example.org"),
        ("https://hitl.example.org:8443/x", "https://hitl.example.org:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://localhost:5001", "http://localhost:5001"),
        ("http://127.0.0.1:5001", "http://localhost:5001"),
        ("http://[::1]:80", "http://localhost"),
        ("http://hitl.localhost:5001", "http://hitl.localhost:5001"),
        ("http://hitl.example.org", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]", None),
    ],
)
def test_the_origin_is_that_of_the_gateways_own_url(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin
