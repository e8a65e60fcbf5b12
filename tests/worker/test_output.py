"""Printing never fails a step: in any encoding, without a reader, on a full disk."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import HITL
from tests.worker.watching import begin, result_of, waiting

if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Hitl

APP = """
import sys
from hitl_cli import ask, workflow

def chatter(ctx):
    for _ in range(3):
        print("→ 😀 \\udc80 chatter", "x" * 10_000, flush=True)
        print("→ 😀 \\udc80 chatter", "x" * 10_000, file=sys.stderr, flush=True)
    return "printed"

@workflow
async def talks(ctx, id):
    return await ctx.run(chatter)

@workflow
async def reminds(ctx, id):
    decision = await ask(ctx, "Ship → 😀?", remind="100ms")
    return decision.approved
"""


def worker(hitl: Hitl, **options: Any) -> forked.Popen[bytes]:
    """Start a worker whose output goes where the options say."""
    (hitl.folder / "app.py").write_text(APP)
    command = [HITL, "worker", "--app", "app.py"]
    return forked.Popen(command, cwd=hitl.folder, env=hitl.env, **options)


@pytest.mark.parametrize("where", ["full", "closed", "none"])
def test_what_nobody_can_read_fails_no_step(hitl: Hitl, where: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - no file of the test's
        if where == "full":
            process = worker(hitl, stdout=full, stderr=full)
        elif where == "closed":
            process = worker(hitl, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()
        else:
            process = worker(hitl, preexec_fn=lambda: os.closerange(1, 3))
    try:
        with hitl.client() as client:
            begin(client, "t", "talks", "id")
            assert result_of(client, "t") == "printed"
            begin(client, "r", "reminds", "id")
            [asked] = waiting(client)
            hitl.ok("approve", asked)
            assert result_of(client, "r") is True
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_full_disk_is_said_once(hitl: Hitl) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = worker(hitl, stdout=full, stderr=subprocess.PIPE)
    with hitl.client() as client:
        begin(client, "r", "talks", "id")
        assert result_of(client, "r") == "printed"
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.count(b"No space left") == 1


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict"])
def test_what_an_encoding_lacks_is_escaped_and_fails_no_step(hitl: Hitl, encoding: str) -> None:
    (hitl.folder / "app.py").write_text(APP)
    hitl.env["PYTHONIOENCODING"] = encoding
    started = hitl.worker("--app", "app.py", "--log-json")
    with hitl.client() as client:
        begin(client, "t", "talks", "id")
        assert result_of(client, "t") == "printed"
        assert started.said("\\u2192 \\ud83d\\ude00 \\udc80 chatter")
        assert started.complained("\\u2192 \\ud83d\\ude00 \\udc80 chatter")
        begin(client, "→", "reminds", "id")
        [asked] = waiting(client)
        assert started.said("has been waiting for anyone")
        hitl.ok("approve", asked)
        assert result_of(client, "→") is True
    events = [json.loads(line) for line in started.lines if line.startswith("{")]
    assert "→" in {event.get("workflow") for event in events}
    for command in ("pending", "status", "history"):
        hitl.ok(command)
    assert hitl.json("show", asked)["prompt"] == "Ship → 😀?"
    assert "\\u2192" in hitl.ok("history", "--csv")
    assert "\\u2192" in hitl.fails(3, "show", "→→")
