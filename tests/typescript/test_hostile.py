"""Answers as the npm SDK reads them: JSON or our own error, and nothing that it would decode."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.errors import BadInput
from tests.acting import approval, decide, rejection
from tests.typescript.node import project

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE: list[Any] = [
    {"__type": "error", "message": "no", "stack": "x", "name": "y"},
    {"a": [{"__type": "aggregate_error", "errors": [], "message": "no"}]},
    "__INF__",
    [{"deep": "__NEG_INF__"}],
]
PLAIN: list[Any] = [
    {"a": 1, "__proto__": {"polluted": True}, "constructor": {"prototype": 1}},
    [1, 2.5, "é\u202e\x1b[31m", None, True],
    "{}",
    '{"__type": "error"}',
]


def test_the_npm_sdk_reads_what_was_given(tmp_path: Path, node: str, packages: Path) -> None:
    values = []
    with EmbeddedClient(tmp_path / "hitl.db") as client:
        for data in HOSTILE:
            with pytest.raises(BadInput):
                approval(by="a", via="test", data=data)
        for n, data in enumerate(PLAIN):
            values.append(answered(client, f"yes{n}", approval(by="a", via="test", data=data)))
        reasons = [json.dumps(data) for data in HOSTILE] + ["\u202eno\x1b[31m", "no"]
        for n, reason in enumerate(reasons):
            values.append(answered(client, f"no{n}", rejection(by="a", via="test", reason=reason)))
    program = project(tmp_path / "decode", packages) / "decode.mjs"
    lines = "\n".join(msgspec.json.encode(value).decode() for value in values)
    done = subprocess.run(
        [node, str(program)], input=lines, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    approved, rejected = read[: len(PLAIN)], read[len(PLAIN) :]
    assert [one["kind"] for one in approved] == ["json"] * len(PLAIN)
    assert [json.loads(one["text"]) for one in approved] == PLAIN
    assert rejected == [{"kind": "error", "text": reason} for reason in reasons]


def answered(client: EmbeddedClient, id: str, answer: Any) -> Any:
    """Put a bare promise, answer it, and return its value as it travels."""
    create = {"id": id, "timeoutAt": client.now() + 1_000_000, "tags": {"resonate:external": "true"}}
    as_promise(client.call_many([ProtocolRequest("promise.create", create)])[0])
    return decide(client, id, answer).promise.value
