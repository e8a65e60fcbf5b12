"""The TypeScript example, in both of the SDK's APIs: started, listed and answered by our commands."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.typescript.conftest import Online

APIS = ["async", "generator"]


def start(online: Online, id: str) -> None:
    """Start a run of the example."""
    said = online.ok("start", id, "1.4.2", "--workflow", "deploy", "--group", "typescript")
    assert said == f"run {id} started\n"


def wait(online: Online, id: str) -> object:
    """Wait until a run of the example has completed, and return its result."""
    return json.loads(online.ok("wait", id, "--timeout", "30s"))


@pytest.mark.parametrize("api", APIS)
def test_a_run_is_started_blocks_is_listed_approved_and_completes(online: Online, api: str) -> None:
    worker = online.typescript(api)
    start(online, "release-1")
    assert online.blocked() == ["release-1:1"]

    [item] = online.json("pending")
    assert (item["id"], item["workflow"], item["function"]) == ("release-1:1", "release-1", "deploy")
    assert item["prompt"] == "Ship 1.4.2?"
    assert online.json("status", "release-1")["waits_for"] == ["release-1:1"]

    online.ok("approve", "release-1", "--data", '{"go": ["ahead", 1]}')

    assert wait(online, "release-1") == '1.4.2 is out, approved with {"go":["ahead",1]}'
    assert worker.lines.count("checking 1.4.2") == 1
    shown = online.ok("status", "release-1")
    assert "release-1:0  step check" in shown
    assert "release-1:1  request" in shown
    assert "release-1:2  step ship" in shown
    assert 'approved by ada: {"go":["ahead",1]}' in shown


@pytest.mark.parametrize("api", APIS)
def test_a_rejection_is_an_error_with_the_reason_that_the_workflow_handles(online: Online, api: str) -> None:
    online.typescript(api)
    start(online, "release-2")
    [id] = online.blocked()

    online.ok("reject", id, "--reason", "over büdget")

    assert wait(online, "release-2") == "1.4.2 stays here: over büdget"
    assert "already rejected by ada" in online.fails(4, "approve", "release-2", code="already-decided")


@pytest.mark.parametrize("api", APIS)
def test_either_program_goes_on_where_the_other_was_killed(online: Online, api: str) -> None:
    other = {"async": "generator", "generator": "async"}[api]
    first = online.typescript(api)
    start(online, "release-3")
    online.blocked()
    first.kill()
    online.ok("approve", "release-3")
    second = online.typescript(other)

    assert wait(online, "release-3") == "1.4.2 is out, approved with true"
    assert "checking 1.4.2" not in second.lines


def signed_token(public_key: Path) -> str:
    """Write a public key to a file, and return a token that its private half has signed."""
    key = Ed25519PrivateKey.generate()
    public_key.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return jwt.encode({"exp": time.time() + 3_600, "prefix": ""}, key, "EdDSA")


@pytest.mark.parametrize("api", APIS)
def test_a_worker_with_a_token_works_on_a_server_that_wants_one(online: Online, api: str) -> None:
    public_key = online.folder / "public.pem"
    token = signed_token(public_key)
    online.server.stop()
    online.serve("--auth-publickey", str(public_key))
    online.fails(6, "pending", code="token-refused")
    online.env["RESONATE_TOKEN"] = token
    online.typescript(api)
    start(online, "release-4")
    online.blocked()
    online.ok("approve", "release-4")

    assert wait(online, "release-4") == "1.4.2 is out, approved with true"


def test_a_question_with_a_form_and_two_who_must_approve_is_shown_and_answered_as_one_of_python(
    online: Online,
) -> None:
    online.typescript("ask")
    online.ok("start", "e", "laptop", "1900", "--workflow", "expense", "--group", "typescript")
    [id] = online.blocked()

    [item] = online.json("pending", "--to", "lead")
    assert (item["id"], item["prompt"], item["function"]) == (id, "Pay **1900 €** for laptop?", "expense")
    assert "amount" in online.ok("show", id)
    online.fails(7, "approve", "e", "--set", "amount=7", "--as", "clerk", code="not-assignee")
    assert "amount" in online.fails(
        2, "approve", "e", "--set", "amount=0", "--as", "lead", code="does-not-fit-form"
    )
    online.ok("approve", "e", "--set", "amount=1900", "--as", "lead")
    online.ok("approve", "e", "--set", "amount=1800", "--as", "finance")

    assert wait(online, "e") == "1800 € paid for laptop, approved by finance"


def test_two_who_say_no_of_three_are_a_no_in_typescript_too(online: Online) -> None:
    online.typescript("ask")
    online.ok("start", "e", "laptop", "1900", "--workflow", "expense", "--group", "typescript")
    online.blocked()
    online.ok("reject", "e", "--as", "lead")
    online.ok("reject", "e", "--as", "board", "--reason", "over büdget")

    assert wait(online, "e") == "laptop is not paid: over büdget"
