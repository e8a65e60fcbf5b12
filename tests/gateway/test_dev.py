"""`hitl dev`: all in one terminal; and `hitl open`, which shows it."""

from __future__ import annotations

import json
import os
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

    def start(*args: str, env: Mapping[str, str] | None = None, reloads: bool = False) -> DevProcess:
        command = [*hitl.command, "dev", "--port", "0", *args, *([] if reloads else ["--no-reload"])]
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


# When a file changes

ASKS = """
from hitl_cli import ask, workflow
import helper

@workflow
async def asks(ctx):
    decision = await ask(ctx, helper.PROMPT)
    return helper.RESULT
"""


@pytest.fixture
def app(hitl: Hitl) -> Callable[[str, str], None]:
    """Write an app of two files, which says what it is told."""

    def write(prompt: str, result: str) -> None:
        (hitl.folder / "helper.py").write_text(f"PROMPT, RESULT = {prompt!r}, {result!r}\n")
        (hitl.folder / "asks.py").write_text(ASKS)

    return write


@pytest.mark.heavy
def test_a_change_restarts_the_worker_and_waiting_runs_go_on_with_the_new_code(
    hitl: Hitl, dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    app("A?", "old")
    (hitl.folder / "asyncio.py").write_text("1 / 0\n")  # is not Python's
    one = dev("--app", "asks.py", reloads=True)
    one.said("serving")
    hitl.ok("start", "r", "--workflow", "asks", "--no-args")
    hitl.waiting()
    (hitl.folder / "helper.py").write_text("PROMPT, RESULT = 'A?', 'new'\n")
    one.complained("helper.py changed")
    wait_until(lambda: sum("serving" in line for line in one.lines) == 2)
    hitl.ok("approve", "r")
    assert hitl.ok("wait", "r") == '"new"\n'
    assert one.stop(signal.SIGINT) == 0
    assert one.errors == ["hitl: helper.py changed: reloading the code."]
    assert not [*hitl.folder.rglob("*.pyc")]  # which Python takes for current, if only the second is the same


@pytest.mark.heavy
def test_code_that_cannot_be_loaded_is_said_and_the_old_code_goes_on(
    hitl: Hitl, dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    def serve(count: int) -> None:
        wait_until(lambda: sum("serving" in line for line in one.lines) == count)

    app("A?", "old")
    one = dev("--app", "asks.py", reloads=True)
    serve(1)
    (hitl.folder / "asks.py").write_text("def (\n")
    one.complained("asks.py, line 1")
    one.complained("continues with the previous code")
    hitl.ok("start", "old", "--workflow", "asks", "--no-args")
    hitl.ok("approve", hitl.waiting()[0]["id"])
    assert hitl.ok("wait", "old") == '"old"\n'
    (hitl.folder / "asks.py").write_text("import other\n" + ASKS)  # a module that is not there yet
    one.complained("No module named 'other'")
    (hitl.folder / "other.py").write_text("1 / 0\n")  # one that was never loaded
    one.complained("ZeroDivisionError")
    (hitl.folder / "other.py").write_text("")
    serve(2)
    (hitl.folder / "asks.py").write_text("while True: pass\n")  # never ends
    one.complained("asks.py changed")
    app("A?", "new")
    serve(3)
    hitl.ok("start", "new", "--workflow", "asks", "--no-args")
    hitl.ok("approve", hitl.waiting()[0]["id"])
    assert hitl.ok("wait", "new") == '"new"\n'
    assert one.stop(signal.SIGINT) == 0


@pytest.mark.heavy
def test_settings_are_read_again_and_what_the_page_needs_is_said(
    hitl: Hitl, dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    app("A?", "a")
    one = dev(reloads=True)
    assert "asks" not in one.said("serving")
    (hitl.folder / "hitl.toml").write_text('app = "asks.py"\n')
    one.said("asks, email")
    (hitl.folder / "hitl.toml").write_text('app = "asks.py"\nnonsense = 1\n')
    one.complained("continues with the previous code")
    (hitl.folder / "hitl.toml").write_text('app = "asks.py"\nworkflow = "asks"\n')
    one.complained("restart `hitl dev`")
    assert one.stop() == 0


@pytest.mark.heavy
def test_it_is_said_that_the_page_stays_with_its_server(
    hitl: Hitl, dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    app("A?", "a")
    settings = hitl.folder / "hitl.toml"
    settings.write_text('app = "asks.py"\nserver = "sqlite:///one.db"\n')
    hitl.env.pop("HITL_SERVER", None)
    one = dev(reloads=True)
    one.said("serving")
    settings.write_text('app = "asks.py"\nserver = "sqlite:///other.db"\n')
    one.complained("restart `hitl dev`")
    assert one.stop() == 0


@pytest.mark.heavy
def test_steps_end_before_the_old_worker_does(hitl: Hitl, dev: Callable[..., DevProcess]) -> None:
    log, gate = hitl.folder / "steps.log", hitl.folder / "gate"
    app = hitl.folder / "mine.py"
    app.write_text((APPS / "steps.py").read_text())
    one = dev("--app", "mine.py", env={STEPS_LOG: str(log), STEPS_GATE: str(gate)}, reloads=True)
    one.said("serving")
    hitl.ok("start", "r", "r", "--workflow", "gate_in_the_middle")
    wait_until(lambda: len(read_lines(log)) == STUCK_AT)
    app.write_text(app.read_text() + "\n")
    wait_until(lambda: sum("serving" in line for line in one.lines) == 2)
    gate.touch()
    assert json.loads(hitl.ok("wait", "r")) == [line.mark for line in read_lines(log)]  # each ran once
    assert one.stop() == 0


@pytest.mark.heavy
def test_the_worker_ends_with_hitl_dev_however_it_ends(
    dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    app("A?", "a")
    one = dev("--app", "asks.py", reloads=True)
    one.said("serving")
    child = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().strip()
    assert child
    one.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.heavy
def test_code_that_never_ends_loading_ends_with_hitl_dev(hitl: Hitl, dev: Callable[..., DevProcess]) -> None:
    pid = hitl.folder / "pid"
    (hitl.folder / "endless.py").write_text(
        f"import os, pathlib\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nwhile True: pass\n"
    )
    one = dev("--app", "endless.py", reloads=True)
    child = wait_until(lambda: pid.exists() and pid.read_text())
    one.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.heavy
def test_hitl_dev_ends_with_a_worker_that_dies_by_itself(
    dev: Callable[..., DevProcess], app: Callable[[str, str], None]
) -> None:
    app("A?", "a")
    one = dev("--app", "asks.py", reloads=True)
    one.said("serving")
    child = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().strip()
    os.kill(int(child), signal.SIGKILL)
    assert "Killed" in one.complained("hitl dev")
    assert one.end() == 128 + signal.SIGKILL


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
    hitl.ok("ask", "?", "--id", "hitl 001", "--key", "mine", "--no-wait")
    assert hitl.ok("open", "mine") == f"{shared_gateway.url}/r/hitl%20001\n"
    assert browser() == f"{shared_gateway.url}/r/hitl%20001"
    hitl.fails(3, "open", "nope", code="not-found")


def test_a_request_is_opened_where_only_its_gateway_is_known(
    hitl: Hitl, shared_gateway: GatewayProcess, browser: Callable[[], str]
) -> None:
    (hitl.folder / "hitl.toml").write_text(f'gateway = "{shared_gateway.url}"\n')
    hitl.env["HITL_SERVER"] = f"sqlite:///{hitl.folder}/none.db"
    assert hitl.ok("open", "hitl 001") == f"{shared_gateway.url}/r/hitl%20001\n"
    assert browser() == f"{shared_gateway.url}/r/hitl%20001"


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
