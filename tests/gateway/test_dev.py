"""`hitl dev`: all in one terminal; and `hitl open`, which shows it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.worker.run import GRACE_S
from tests.apps.steps import STEPS_GATE, STEPS_LOG, read_lines
from tests.conftest import APPS, wait_until
from tests.gateway.conftest import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.conftest import Hitl


STUCK_AT = 3
"""The step of `stuck_in_the_middle` that blocks."""


class DevProcess(GatewayProcess):
    """A `hitl dev` in a process of its own."""

    @property
    def url(self) -> str:
        return self.said("inbox on").split()[-1]


@pytest.fixture
def dev(hitl: Hitl) -> Iterator[Callable[..., DevProcess]]:
    """Start `hitl dev` with options; it ends with the test."""
    started: list[DevProcess] = []

    def start(*args: str, env: Mapping[str, str] | None = None) -> DevProcess:
        command = [*hitl.command, "dev", "--port", "0", *args]
        started.append(DevProcess(command, {**hitl.env, **(env or {})}, hitl.folder))
        return started[-1]

    yield start
    for one in started:
        one.clear_away()


def test_one_terminal_runs_the_workflows_and_shows_the_inbox_until_ctrl_c(
    hitl: Hitl, dev: Callable[..., DevProcess]
) -> None:
    (hitl.folder / "mine.py").write_text(
        "from hitl_cli import workflow\n@workflow\ndef mine(ctx):\n    return 7\n"
    )
    one = dev("--app", "mine.py")
    assert "mine" in one.said("serving")
    assert one.get("/ready").text == "ready\n"
    body = {"workflow_id": "m", "workflow": "mine", "kwargs": {}, "args": []}
    wait_until(lambda: one.post("/start-workflow", body).json == {"message": 7})
    assert one.post("/start-workflow", {"workflow_id": "hitl-001"}).status == 200
    wait_until(lambda: one.get("/unblock-workflow?promise_id=hitl-001:1").status == 200)
    one.said("hitl-001 completed")
    url = one.url
    assert one.stop(signal.SIGINT) == 0
    assert [line.rpartition(" by ")[0] for line in one.errors] == ["hitl: decision: hitl-001:1 approved"]
    hitl.fails(6, "open", "--url", url, code="server-unreachable")


def test_a_step_that_blocks_the_worker_does_not_hold_up_the_pages_and_a_second_ctrl_c_ends_it_at_once(
    hitl: Hitl, dev: Callable[..., DevProcess]
) -> None:
    log, gate = hitl.folder / "steps.log", hitl.folder / "gate"
    one = dev("--app", str(APPS / "steps.py"), env={STEPS_LOG: str(log), STEPS_GATE: str(gate)})
    one.post("/start-workflow", {"workflow_id": "r", "workflow": "stuck_in_the_middle"})
    wait_until(lambda: len(read_lines(log)) == STUCK_AT)
    assert one.get("/ready").text == "ready\n"
    threads = Path(f"/proc/{one.process.pid}/task")
    before = len(list(threads.iterdir()))
    one.process.send_signal(signal.SIGINT)
    wait_until(lambda: len(list(threads.iterdir())) > before)  # two signals that Python has not seen are one
    assert one.get("/ready").text == "ready\n"  # it waits for the step
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(timeout=GRACE_S / 2) == 0


def test_a_port_that_is_taken_is_said_and_no_worker_is_left(hitl: Hitl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        hitl.fails(2, "dev", "--port", str(port), code="cannot-listen")


def test_an_app_that_cannot_be_loaded_is_said_and_no_gateway_is_left(hitl: Hitl) -> None:
    (hitl.folder / "broken.py").write_text("1 / 0\n")
    assert "broken.py, line 1" in hitl.fails(2, "dev", "--port", "0", "--app", "broken.py", code="bad-app")


# hitl open


@pytest.fixture
def browser(hitl: Hitl) -> Callable[[], str]:
    """A browser that only notes where it was sent to."""
    seen, script = hitl.folder / "seen", hitl.folder / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {seen}.new && mv {seen}.new {seen}\n')
    script.chmod(0o700)
    hitl.env["BROWSER"] = f"{script} %s"
    return lambda: wait_until(lambda: seen.read_text().strip() if seen.exists() else "")


def test_the_inbox_and_a_request_are_opened_in_the_browser(
    hitl: Hitl, shared_gateway: GatewayProcess, browser: Callable[[], str]
) -> None:
    hitl.env["HITL_GATEWAY"] = shared_gateway.url
    assert hitl.ok("open", "hitl 001:1") == f"{shared_gateway.url}/r/hitl%20001%3A1\n"
    assert browser() == f"{shared_gateway.url}/r/hitl%20001%3A1"


def test_without_a_browser_the_address_is_printed(hitl: Hitl, shared_gateway: GatewayProcess) -> None:
    done = hitl.run("open", "--url", shared_gateway.url, env={"PATH": "/nowhere"})
    assert (done.returncode, done.stdout) == (0, f"{shared_gateway.url}/\n")
    assert "no browser found" in done.stderr


def test_where_no_gateway_answers_it_is_said_how_to_start_one(hitl: Hitl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    assert f"no gateway answers at {url}: start one with `hitl gateway`" in hitl.fails(
        6, "open", "--url", url, code="server-unreachable"
    )
    assert "is not a gateway's URL" in hitl.fails(2, "open", "--url", "nonsense", code="bad-setting")
