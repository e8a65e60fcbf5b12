"""`hitl mcp` as an agent starts it: a process on stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from tests import forked
from tests.conftest import HITL, PATIENCE_S
from tests.mcp.scene import REVISIONS, Scene, call, refused, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Hitl


@asynccontextmanager
async def client_of(hitl: Hitl, mode: str, *args: str, **env: str) -> AsyncIterator[Client]:
    """Start `hitl mcp`, and connect the official client."""
    server = StdioServerParameters(
        command=HITL, args=["mcp", *args], env={**hitl.env, **env}, cwd=str(hitl.folder)
    )
    async with Client(server, mode=mode) as client:
        yield client


@pytest.mark.parametrize("mode", REVISIONS)
def test_an_asker_s_request_outlives_its_process(hitl: Hitl, mode: str) -> None:
    scene = Scene(hitl.url)
    hitl.ok("ask", "Theirs?", "--id", "theirs", "--no-wait", "--as", "other")
    hitl.ok("approve", "theirs", "--as", "lead")

    async def work() -> None:
        async with client_of(hitl, mode, "--as", "agent", "--to", "lead") as client:
            held = asyncio.create_task(client.call_tool("ask", {"prompt": "Deploy?", "id": "ask-d"}))
            assert await scene.only_id() == "ask-d"
            held.cancel()
        [item] = hitl.json("pending", "--all")
        assert (item["from"], item["to"]) == ("agent", ["lead"])
        hitl.ok("approve", "ask-d", "--as", "lead")
        async with client_of(hitl, mode, "--as", "agent") as client:
            assert (await call(client, "wait", id="ask-d"))["approved"] is True
            assert await refused(client, "show", id="theirs") == "not-found"

    run(work)
    [entry] = hitl.json("history", "ask-d")
    assert (entry["by"], entry["outcome"]) == ("lead", "approved")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--server", "nonsense"), "bad-server"),
        (("--gateway", "nonsense"), "bad-server"),
        (("--gateway", "http://127.0.0.1:1", "--as", "ada"), "bad-usage"),
        (("--deadline", "soon"), "bad-duration"),
        (("--as", "group:ops"), "bad-name"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start(hitl: Hitl, args: tuple[str, ...], code: str) -> None:
    hitl.fails(2, "mcp", *args, code=code)


def test_without_the_extra_it_says_how_to_install_it(hitl: Hitl) -> None:
    hidden = "import sys; sys.modules['mcp'] = None; from hitl_cli.cli import main; main()"
    done = forked.run(
        [sys.executable, "-c", hidden, "mcp"],
        env=hitl.env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        real=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'resonate-hitl[mcp]'" in done.stderr


def test_lines_that_are_no_messages_do_not_stop_it(hitl: Hitl) -> None:
    deep = "[" * 100_000
    odd = [
        "nonsense",
        "[]",
        "7",
        deep,
        '{"jsonrpc": "2.0", "id": {}}',
        '{"jsonrpc":"2.0","method":"\\ud800"}',
    ]
    served = begun(hitl, *odd, json.dumps(PING))
    _, told = served.communicate(timeout=PATIENCE_S)
    assert (served.returncode, told) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(hitl: Hitl, number: signal.Signals, code: int) -> None:
    served = begun(hitl, json.dumps(PING))
    served.send_signal(number)
    assert served.wait(PATIENCE_S) == code


PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def begun(hitl: Hitl, *lines: str) -> subprocess.Popen[str]:
    """Start it, send lines of which the last is PING, and return it once that is answered."""
    served = forked.Popen(
        [HITL, "mcp"],
        env=hitl.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdin is not None
    assert served.stdout is not None
    served.stdin.write("\n".join([*lines, ""]))
    served.stdin.flush()
    assert json.loads(served.stdout.readline())["id"] == 1
    return served
