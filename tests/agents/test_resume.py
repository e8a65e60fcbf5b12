"""`hitl hook resume`: a session that was deferred goes on once, when its request is decided."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import search
from hitl_cli.inbox.deferrals import DEFERRED_TAG
from tests import forked
from tests.agents.fake_model import FakeModel
from tests.agents.test_hook import CALL, CLAUDE, begin, hook, request
from tests.conftest import HITL, PATIENCE_S, wait_until
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Hitl


@pytest.fixture
def agent(hitl: Hitl) -> Path:
    """A program that records how it is started, with the output that a test expects."""
    program = hitl.folder / "agent"
    program.write_text('#!/bin/sh\necho "$PWD $*" >> "$AGENT_LOG"\necho said by the agent\nexit 3\n')
    program.chmod(0o755)
    hitl.env["AGENT_LOG"] = str(hitl.folder / "started")
    return program


def started(hitl: Hitl) -> list[str]:
    log = hitl.folder / "started"
    return log.read_text().splitlines() if log.exists() else []


def ended(hitl: Hitl, *args: str, **changed: Any) -> str:
    """Run the hook for a call from a process that ends then, as an agent does; return what it decides."""
    call = CALL | {"cwd": str(hitl.folder)} | changed
    line = f"{shlex.join([HITL, 'hook', 'claude', '--wait', '50ms', '--then', 'defer', *args])}; exit 0"
    done = subprocess.run(
        [named_claude(hitl), "-c", line],
        input=json.dumps(call),
        env={**os.environ, **hitl.env},
        cwd=hitl.folder,
        text=True,
        capture_output=True,
        check=True,
    )
    return str(json.loads(done.stdout)["hookSpecificOutput"]["permissionDecision"])


def named_claude(hitl: Hitl) -> Path:
    """Return a shell under another name."""
    name = hitl.folder / "claude"
    if not name.exists():
        name.symlink_to("/bin/sh")
    return name


def deferred(hitl: Hitl, session: str = "s-1", *args: str, **changed: Any) -> str:
    """Defer a call in the test's folder, and return the id of its request."""
    hitl.create()
    before = {one["id"] for one in hitl.json("pending", "--all")}
    assert ended(hitl, *args, session_id=session, tool_use_id=f"t-{session}", **changed) == "defer"
    [new] = {one["id"] for one in hitl.json("pending", "--all")} - before
    return str(new)


def once(hitl: Hitl, agent: Path, *more: str) -> str:
    said: str = hitl.ok(
        "hook", "resume", "--program", str(agent), "--logs", str(hitl.folder / "logs"), "--once", *more
    )
    return said


def open_deferrals(hitl: Hitl) -> int:
    with hitl.client() as client:
        return len(search(client, state="pending", tags={DEFERRED_TAG: "1"}))


def test_each_decided_session_is_resumed_once_in_its_folder(hitl: Hitl, agent: Path) -> None:
    approved, rejected, _waits = (deferred(hitl, f"s-{number}") for number in range(3))
    assert once(hitl, agent) == ""
    hitl.ok("approve", approved, "--as", "lead")
    hitl.ok("reject", rejected, "--as", "lead")
    said = once(hitl, agent, "--", "--model", "opus")
    assert sorted(started(hitl)) == [
        f"{hitl.folder} -p --resume s-0 --model opus",
        f"{hitl.folder} -p --resume s-1 --model opus",
    ]
    assert "approved by lead" in said
    log = hitl.folder / "logs" / "s-0.log"
    assert log.read_text() == "said by the agent\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert once(hitl, agent) == ""
    assert len(started(hitl)) == 2
    assert open_deferrals(hitl) == 1


def test_a_deadline_that_passed_resumes_the_session_too(hitl: Hitl, agent: Path) -> None:
    assert ended(hitl, "--deadline", "1s") == "defer"
    wait_until(lambda: "s-1" in once(hitl, agent))
    assert len(started(hitl)) == 1


def test_what_was_answered_in_time_is_not_resumed(hitl: Hitl, agent: Path) -> None:
    hitl.ok("rule", "add", "--tool", "Bash", "--match", "git push*", "--as", "lead")
    assert hook(hitl, "--then", "defer", cwd=str(hitl.folder))["permissionDecision"] == "allow"
    assert (
        hook(hitl, "--then", "deny", tool_use_id="x", tool_input={"command": "ls"})["permissionDecision"]
        == "deny"
    )
    assert open_deferrals(hitl) == 0
    assert once(hitl, agent) == ""


@pytest.mark.parametrize("changed", [{"session_id": "--help"}, {"session_id": "../x"}, {"cwd": None}])
def test_a_session_that_cannot_be_resumed_is_not_recorded(hitl: Hitl, changed: dict[str, Any]) -> None:
    assert hook(hitl, "--then", "defer", **changed)["permissionDecision"] == "defer"
    assert open_deferrals(hitl) == 0


def test_a_session_waits_for_its_folder_and_for_the_process_that_deferred(
    hitl: Hitl, agent: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    gone = hitl.folder / "gone"
    hitl.ok("approve", deferred(hitl, cwd=str(gone)))
    assert once(hitl, agent) == ""
    gone.mkdir()
    assert "s-1" in once(hitl, agent)
    # A shell runs the hook, as Claude Code does it; its parent lives on.
    other = {**CALL, "session_id": "s-2", "tool_use_id": "t-2", "cwd": str(hitl.folder)}
    line = f"sleep 0; {HITL} hook claude --wait 50ms --then defer"
    assert sleeper.stdin is not None
    sleeper.stdin.write(f"sh -c '{line}' <<'E'\n{json.dumps(other)}\nE\necho done\n".encode())
    sleeper.stdin.flush()
    assert sleeper.stdout is not None
    while sleeper.stdout.readline() != b"done\n":
        pass
    hitl.ok("approve", request(hitl)["id"])
    early = hitl.run("hook", "resume", "--program", str(agent), "--logs", str(hitl.folder / "logs"), "--once")
    assert (early.returncode, early.stdout) == (0, "")
    assert str(sleeper.pid) in early.stderr  # why nothing is resumed yet
    sleeper.stdin.close()
    sleeper.wait(PATIENCE_S)
    assert "s-2" in once(hitl, agent)


@pytest.fixture
def sleeper(hitl: Hitl) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs hooks and lives on: an agent. Its name is that of no shell."""
    with subprocess.Popen(
        [named_claude(hitl)],
        env={**os.environ, **hitl.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=hitl.folder,
    ) as process:
        yield process
        process.kill()


def test_it_resumes_as_soon_as_it_is_decided_and_ends_on_a_signal(hitl: Hitl, agent: Path) -> None:
    agent.write_text(
        '#!/bin/sh\necho "$*" >> "$AGENT_LOG"\n'
        'while [ -e "$AGENT_LOG" ] && [ ! -e "$AGENT_LOG.end" ]; do sleep 0.1; done\n'
    )
    id = deferred(hitl)
    process: forked.Popen[str] = forked.Popen(
        [HITL, "hook", "resume", "--program", str(agent), "--logs", str(hitl.folder / "logs")],
        env=hitl.env,
        cwd=hitl.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        hitl.ok("approve", id, "--as", "lead")
        assert "s-1 resumed" in process.stdout.readline()
        wait_until(lambda: started(hitl))
        process.send_signal(signal.SIGTERM)
        told, complaints = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complaints) == (0, "")
        assert "goes on" in told
    finally:
        (hitl.folder / "started.end").touch()
    assert once(hitl, agent) == ""


def test_through_a_gateway_an_agent_with_a_token_defers_and_goes_on(hitl: Hitl, agent: Path) -> None:
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        token = hitl.ok("token", "create", "--as", "agent", "--can", "ask").strip()
        place = ("--gateway", gateway.url)
        hitl.env["HITL_TOKEN"] = token
        id = deferred(hitl, "s-1", *place)
        assert once(hitl, agent, *place) == ""
        hitl.ok("approve", id, "--as", "lead")
        assert once(hitl, agent) == ""  # on the server, as another asker
        hitl.env["HITL_TOKEN"] = hitl.ok("token", "create", "--as", "other", "--can", "ask").strip()
        assert once(hitl, agent, *place) == ""
        hitl.env["HITL_TOKEN"] = token
        assert "approved by lead" in once(hitl, agent, *place)
        assert started(hitl) == [f"{hitl.folder} -p --resume s-1"]
        assert once(hitl, agent, *place) == ""
    finally:
        gateway.clear_away()


def test_a_program_that_is_missing_is_refused_and_takes_no_session(hitl: Hitl) -> None:
    hitl.ok("approve", deferred(hitl))
    hitl.fails(2, "hook", "resume", "--program", "no-such-agent", "--once", code="bad-file")
    assert open_deferrals(hitl) == 1


@pytest.mark.heavy
@pytest.mark.skipif(CLAUDE is None, reason="HITL_CLAUDE names no claude of @anthropic-ai/claude-code")
@pytest.mark.parametrize("at_gateway", [False, True])
def test_the_real_agent_goes_on_where_it_was(hitl: Hitl, *, at_gateway: bool) -> None:
    hitl.create()
    gateway = begin_gateway(hitl, "--sign-in") if at_gateway else None
    place = () if gateway is None else ("--gateway", gateway.url)
    hitl.env["HITL_TOKEN"] = hitl.ok("token", "create", "--as", "agent", "--can", "ask").strip()
    model = FakeModel("Bash", {"command": "touch made", "description": "Make a file"})
    assert CLAUDE is not None
    try:
        hitl.ok("hook", "install", "--matcher", "Bash", "--wait", "100ms", "--then", "defer", *place)
        first = begin(hitl, model, "-p", "do it")
        said = json.loads(first.communicate(timeout=PATIENCE_S * 2)[0])
        assert said["stop_reason"] == "tool_deferred"
        hitl.ok("approve", request(hitl)["id"], "--as", "lead")
        logs = hitl.folder / "logs"
        again = begin(
            hitl,
            model,
            "--program",
            CLAUDE,
            "--logs",
            str(logs),
            "--once",
            *place,
            "--",
            program=(HITL, "hook", "resume"),
        )
        assert again.wait(PATIENCE_S * 2) == 0
        assert (hitl.folder / "made").exists()
        assert json.loads((logs / f"{said['session_id']}.log").read_text())["is_error"] is False
    finally:
        model.stop()
        if gateway is not None:
            gateway.clear_away()
