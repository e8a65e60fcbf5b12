"""Tokens: who may ask what, as the Resonate Server has it."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - the fixtures' annotations
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hitl_cli.engine.errors import KeyUnusable
from hitl_cli.engine.http.auth import Verifier
from hitl_cli.engine.wall_clock import now_ms
from tests.server.conftest import EXTERNAL, LIFE_MS, envelope
from tests.server.test_sdk import run_sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conftest import Hitl
    from tests.server.conftest import Served

PRIVATE = ed25519.Ed25519PrivateKey.generate()


def token(claims: Mapping[str, Any] | None = None, key: Any = PRIVATE, algorithm: str = "EdDSA") -> str:
    """Return a token that expires in a minute, unless its claims say otherwise."""
    return jwt.encode({"exp": time.time() + 60, **(claims or {})}, key, algorithm)


def public(folder: Path, key: Any = PRIVATE) -> Path:
    """Write a public key."""
    path = folder / "public.pem"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


ADMIN = {"role": "Admin"}


@pytest.fixture
def guarded(serve: Callable[..., Served], tmp_path: Path) -> Served:
    """A server that wants tokens."""
    return serve("--auth-publickey", str(public(tmp_path)))


def ask(
    served: Served, kind: str, data: Mapping[str, Any], bearer: str | None, head: str | None = None
) -> int:
    """Send a request with a token in the HTTP header, in its own head, or none; return the status."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
    status, answer = served.post(envelope(kind, data, {"auth": head} if head else None), headers)
    assert status == answer["head"]["status"]
    assert answer["kind"] == kind
    return status


def test_a_good_token_opens_and_no_other(guarded: Served) -> None:
    get = {"id": "p"}
    now = time.time()
    other = ed25519.Ed25519PrivateKey.generate()
    assert ask(guarded, "promise.get", get, token(ADMIN)) == 404
    assert ask(guarded, "promise.get", get, None, token(ADMIN)) == 404
    for bad in (
        None,
        "",
        "x",
        "a.b.c",
        token(ADMIN, key=other),
        token({**ADMIN, "exp": now - 120}),
        jwt.encode(dict(ADMIN), PRIVATE, "EdDSA"),  # it never expires
        jwt.encode({**ADMIN, "exp": now + 60}, "", "none"),
        jwt.encode({**ADMIN, "exp": now + 60}, "secret" * 8, "HS256"),
        "é" * 10,
    ):
        assert ask(guarded, "promise.get", get, None, bad) == 401, bad
    assert ask(guarded, "promise.get", get, token(ADMIN, key=other)) == 401
    assert ask(guarded, "promise.nothing", {}, None) == 401
    assert ask(guarded, "promise.nothing", {}, token(ADMIN)) == 400
    assert guarded.raw("GET", "/poll/g/i")[0] == 401
    assert guarded.raw("GET", "/metrics")[0] == 401
    assert guarded.raw("GET", "/health")[0] == 200
    assert guarded.raw("GET", "/metrics", None, {"Authorization": f"Bearer {token()}"})[0] == 200


def test_a_token_is_bound_to_the_ids_that_begin_with_its_prefix(guarded: Served) -> None:
    def create(id: str, tags: Mapping[str, str] = EXTERNAL) -> dict[str, Any]:
        return {"id": id, "timeoutAt": now_ms() + LIFE_MS, "tags": dict(tags)}

    def inner(kind: str, data: Any) -> dict[str, Any]:
        return {"kind": kind, "head": {}, "data": data}

    admin, mine = token(ADMIN), token({"prefix": "a-"})
    target = {"resonate:target": "poll://any@g"}
    assert ask(guarded, "promise.create", create("b-1"), admin) == 200
    assert ask(guarded, "promise.create", create("a-1"), mine) == 200
    held = {"pid": "w", "ttl": 60_000, "action": inner("promise.create", create("a-2", target))}
    assert ask(guarded, "task.create", held, mine) == 200
    at = {"id": "a-2", "version": 1}
    settle = {"id": "b-1", "state": "resolved"}
    for kind, data in (
        ("promise.get", {"id": "b-1"}),
        ("promise.create", create("b-2")),
        ("promise.settle", settle),
        ("promise.search", {}),
        ("task.search", {}),
        ("schedule.search", {}),
        ("task.heartbeat", {"pid": "w", "tasks": [{"id": "b-1", "version": 1}]}),
        ("task.create", {**held, "action": inner("promise.create", create("b-3", target))}),
        ("task.fence", {**at, "action": inner("promise.settle", settle)}),
        ("task.fence", {**at, "action": inner("promise.create", create("b-4"))}),
        (
            "task.suspend",
            {**at, "actions": [inner("promise.register_callback", {"awaited": "b-1", "awaiter": "a-2"})]},
        ),
        ("promise.register_callback", {"awaited": "b-1", "awaiter": "a-2"}),
        ("promise.register_listener", {"awaited": "b-1", "address": "poll://any@g"}),
        ("debug.reset", {}),
    ):
        assert ask(guarded, kind, data, mine) == 403, kind
    assert ask(guarded, "promise.get", {"id": "b-1"}, token({"prefix": ""})) == 200
    assert ask(guarded, "promise.search", {}, token({"prefix": ""})) == 200
    for claims in ({}, {"prefix": None}, {"prefix": 1}, {"role": "user"}):
        assert ask(guarded, "promise.get", {"id": "a-1"}, token(claims)) == 403


def test_issuer_and_audience_are_checked(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve("--auth-publickey", str(public(tmp_path)), "--auth-iss", "us", "--auth-aud", "here")
    get = {"id": "p"}
    good = {**ADMIN, "iss": "us", "aud": ["there", "here"]}
    assert ask(served, "promise.get", get, token(good)) == 404
    for claims in ({"iss": "them"}, {"aud": ["there"]}, {"iss": None}, {"aud": None}):
        left = {key: value for key, value in {**good, **claims}.items() if value is not None}
        assert ask(served, "promise.get", get, token(left)) == 401, claims


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "EdDSA"])
def test_keys_of_all_kinds_are_taken(tmp_path: Path, algorithm: str) -> None:
    keys: dict[str, Any] = {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": PRIVATE,
    }
    key = keys.get(algorithm) or rsa.generate_private_key(65_537, 2_048)
    verifier = Verifier(public(tmp_path, key))
    claims = verifier.verify(token(ADMIN, key, algorithm), time.time())
    assert claims is not None
    assert claims.admin
    assert verifier.verify(token(ADMIN, key, algorithm), time.time() + 200) is None


def test_a_token_that_was_good_is_so_only_until_it_expires(tmp_path: Path) -> None:
    verifier = Verifier(public(tmp_path))
    good = token(ADMIN)
    assert verifier.verify(good, time.time()) is not None
    assert verifier.verify(good, time.time() + 200) is None


def test_a_private_key_and_what_is_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for text in (b"", PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        path.write_bytes(text)
        with pytest.raises(KeyUnusable):
            Verifier(path)


def test_the_sdks_own_client_and_our_commands_send_their_token(hitl: Hitl, guarded: Served) -> None:
    hitl.env |= {"HITL_SERVER": guarded.url, "RESONATE_TOKEN": token(ADMIN)}
    sdk = run_sdk(hitl, guarded.url, token(ADMIN))
    sdk.said("asking")
    [asked] = hitl.waiting()
    hitl.ok("approve", asked["id"])
    sdk.said("[")
    hitl.fails(6, "pending", code="token-refused", env={"RESONATE_TOKEN": "bad"})
    assert hitl.run("pending", env={"RESONATE_TOKEN": f"{token(ADMIN)}\n"}).returncode == 0
    hitl.fails(2, "pending", code="bad-setting", env={"RESONATE_TOKEN": "a\r\nX-Evil: b"})


def test_an_id_that_no_header_can_carry_is_not_found(hitl: Hitl, serve: Callable[..., Served]) -> None:
    hitl.fails(3, "show", "a\r\nX-Evil: b", "-S", serve().url, code="not-found")


def test_with_authentication_another_address_may_be_listened_at(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("--auth-publickey", str(public(tmp_path)), "--host", "0.0.0.0")
    assert served.raw("GET", "/health", None, {"Host": "example.org"})[0] == 200


def test_the_token_of_a_gateway_is_not_used_at_a_server(
    hitl: Hitl, guarded: Served, serve: Callable[..., Served]
) -> None:
    of_gateway = "hitl_0123456789abcdef_of-a-gateway"
    hitl.env |= {"HITL_SERVER": guarded.url, "HITL_TOKEN": of_gateway}
    hitl.fails(6, "pending", code="token-refused")
    assert hitl.run("pending", env={"RESONATE_TOKEN": token(ADMIN)}).returncode == 0
    assert hitl.run("pending", "-S", serve().url).returncode == 0
