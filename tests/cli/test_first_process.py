"""SIGTERM and SIGHUP end every command, also as process 1, as in a container."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import HITL, WorkerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

ALONE = ["unshare", "--pid", "--fork", "--kill-child"]
"""Runs a command as process 1 of a namespace of its own."""

IN_GOOD_ORDER = ("worker", "gateway", "server", "dev")
"""Commands that stop as they do after Ctrl-C, and exit 0."""

AT_ONCE_S = 5.0
"""Far less than a command takes that ignores the signal; on an idle machine, it takes half a second."""


@pytest.fixture(params=["http", "postgresql"])
def mute(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"{request.param}://127.0.0.1:{listener.getsockname()[1]}/a"


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def refuses(host: str, port: int) -> bool:
    """Whether a port is free."""
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return True
    return False


def as_process_1(hitl: Hitl, *args: str) -> tuple[WorkerProcess, int]:
    """Start a command as process 1; return it, and its id as it is seen from here."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process of this user may have a namespace of its own")
    started = WorkerProcess([*ALONE, HITL, *args], hitl.env, hitl.folder)
    hitl.workers.append(started)
    children = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children")
    pid = int(wait_until(children.read_text).split()[0])
    wait_until(lambda: b"hitl" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return started, pid


@pytest.mark.parametrize(
    "args",
    [
        ("wait", "a"),
        ("pending", "--watch"),
        ("ask", "--id", "q", "--", "Ship?"),
        ("start", "b", "--wait"),
        ("worker",),
        ("gateway", "--port", "0"),
        pytest.param(
            ("server", "--port", "0"), marks=pytest.mark.only("file", reason="hitl server serves a file")
        ),
        ("dev", "--port", "0"),
        ("demo",),
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_sigterm_ends_a_command_that_is_process_1(hitl: Hitl, args: tuple[str, ...]) -> None:
    hitl.ok("start", "a")
    started, pid = as_process_1(hitl, *args)
    wait_until(lambda: handles(pid, signal.SIGTERM))
    if args[0] in IN_GOOD_ORDER:
        wait_until(lambda: started.lines)
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    assert started.end() == (0 if args[0] in IN_GOOD_ORDER else 128 + signal.SIGTERM)
    assert time.monotonic() - began < AT_ONCE_S
    assert "Traceback" not in "".join(started.errors)


@pytest.mark.parametrize(
    "args", [("wait", "a"), ("ask", "--id", "q", "--", "Ship?"), ("doctor",), ("worker",)]
)
def test_a_server_that_does_not_answer_holds_up_no_end(hitl: Hitl, mute: str, args: tuple[str, ...]) -> None:
    hitl.env["HITL_SERVER"] = mute
    started, pid = as_process_1(hitl, *args)
    wait_until(lambda: handles(pid, signal.SIGTERM))
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    assert started.end() == 128 + signal.SIGTERM
    assert time.monotonic() - began < AT_ONCE_S
    assert "Traceback" not in "".join(started.errors)


def test_sighup_ends_process_1_too(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    started, pid = as_process_1(hitl, "wait", "a")
    wait_until(lambda: handles(pid, signal.SIGHUP))
    os.kill(pid, signal.SIGHUP)
    assert started.end() == 128 + signal.SIGHUP


def test_a_demo_that_is_ended_leaves_nothing_running_and_no_folder(hitl: Hitl) -> None:
    hitl.env["TMPDIR"] = str(hitl.folder)
    demo = WorkerProcess([HITL, "demo", "email"], hitl.env, hitl.folder)
    hitl.workers.append(demo)
    demo.said("worker | serving")
    [folder] = hitl.folder.glob("hitl-demo-*")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.end() == 128 + signal.SIGTERM
    assert not folder.exists()


def test_a_gateway_that_waits_for_its_server_ends_at_the_second_signal(hitl: Hitl, mute: str) -> None:
    hitl.env["HITL_SERVER"] = mute
    gateway = WorkerProcess([HITL, "gateway", "--port", "0"], hitl.env, hitl.folder)
    hitl.workers.append(gateway)
    url = gateway.said("gateway for").split(" on ")[1].split()[0]
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as visitor:
        visitor.sendall(b"GET /runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(host, int(port)))
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0
