"""`hitl hook codex`: whatever happens, Codex runs only what a person has approved."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.agents.fake_responses import FakeResponses
from tests.agents.test_hook import hook, request
from tests.conftest import HITL, PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

CODEX = os.environ.get("HITL_CODEX")

WITH_CODEX = pytest.mark.skipif(CODEX is None, reason="HITL_CODEX names no codex of @openai/codex")


@pytest.mark.parametrize("then", ["ask", "deny"])
def test_without_an_answer_the_call_is_refused_because_codex_would_run_it(hitl: Hitl, then: str) -> None:
    refused = hook(hitl, "--then", then, agent="codex")
    assert refused["permissionDecision"] == "deny"
    assert refused["permissionDecisionReason"]


def test_an_approval_names_the_input_to_run_also_a_changed_one(hitl: Hitl) -> None:
    command = {"command": "git push origin main"}
    hook(hitl, agent="codex", tool_input=command)
    hitl.ok("approve", request(hitl)["id"], "--as", "lead")
    allowed = hook(hitl, agent="codex", tool_input=command)
    assert (allowed["permissionDecision"], allowed["updatedInput"]) == ("allow", command)
    hook(hitl, agent="codex", tool_input=command, tool_use_id="next")
    hitl.ok("approve", request(hitl)["id"], "--set", "input.command=git push origin topic")
    changed = hook(hitl, agent="codex", tool_input=command, tool_use_id="next")
    assert changed["updatedInput"] == {"command": "git push origin topic"}


@pytest.fixture
def model() -> Iterator[FakeResponses]:
    running = FakeResponses("touch made")
    yield running
    running.stop()


def started(
    hitl: Hitl, model: FakeResponses, event: str, hook_command: str, *args: str, **streams: Any
) -> subprocess.Popen[str]:
    """Start Codex in the test's folder, with a home of its own and no network but the model."""
    home = hitl.folder / "codex"
    home.mkdir()
    provider = {"name": "fake", "base_url": model.url, "wire_api": "responses", "env_key": "FAKE_KEY"}
    lines = ['model = "fake"', 'model_provider = "fake"', "[model_providers.fake]"]
    lines += [f"{name} = {json.dumps(text)}" for name, text in provider.items()]
    lines += [f"[[hooks.{event}]]", f"[[hooks.{event}.hooks]]", 'type = "command"', "timeout = 60"]
    lines += [f"command = {json.dumps(hook_command)}"]
    (home / "config.toml").write_text("\n".join(lines))
    assert CODEX is not None
    return subprocess.Popen(
        [CODEX, *args],
        cwd=hitl.folder,
        env={**os.environ, **hitl.env, "CODEX_HOME": str(home), "FAKE_KEY": "none"},
        text=True,
        stdout=subprocess.PIPE,
        **streams,
    )


def begin(hitl: Hitl, model: FakeResponses, hook_command: str) -> subprocess.Popen[str]:
    """Start Codex without a user, whose calls the hook PreToolUse is asked about."""
    options = ["--skip-git-repo-check", "--dangerously-bypass-hook-trust", "-s", "danger-full-access"]
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    return started(hitl, model, "PreToolUse", hook_command, "exec", *options, "do it", **streams)


def asking(*options: str) -> str:
    return f"{shlex.join([HITL, 'hook', 'codex', *options])} || exit 2"


@pytest.mark.heavy
@WITH_CODEX
@pytest.mark.parametrize(
    ("answer", "made"),
    [
        (("approve",), ["made"]),
        (("approve", "--set", "input.command=touch changed"), ["changed"]),
        (("reject", "--reason", "not now"), []),
    ],
)
def test_codex_does_what_a_person_decided(
    hitl: Hitl, model: FakeResponses, answer: tuple[str, ...], made: list[str]
) -> None:
    hitl.create()
    process = begin(hitl, model, asking("--wait", "50s"))
    wait_until(lambda: hitl.json("pending", "--all"))
    verb, *more = answer
    hitl.ok(verb, request(hitl)["id"], *more)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert [name for name in ("made", "changed") if (hitl.folder / name).exists()] == made
    assert ("not now" in "".join(model.told)) == (verb == "reject")


@pytest.mark.heavy
@WITH_CODEX
@pytest.mark.parametrize(
    "command",
    [
        asking("--wait", "50ms"),
        asking("--wait", "50ms", "-S", "http://127.0.0.1:1"),
        asking("--wait", "nonsense"),
        "/no/such/hitl hook codex || exit 2",
    ],
)
def test_codex_runs_nothing_where_nobody_has_approved(hitl: Hitl, model: FakeResponses, command: str) -> None:
    said: Any = begin(hitl, model, command).communicate(timeout=PATIENCE_S)
    assert model.told, said
    assert not (hitl.folder / "made").exists()


# PermissionRequest: Codex asks the hook where it would ask its user, who sits at an editor here.


def turn(hitl: Hitl, model: FakeResponses, hook_command: str) -> Iterator[dict[str, Any]]:
    """Have Codex do a turn for an editor, and yield what it says; the editor declines what it is asked."""
    streams = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = started(hitl, model, "PermissionRequest", hook_command, "app-server", **streams)
    assert process.stdin is not None
    assert process.stdout is not None

    def send(**message: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()

    limits = {"approvalPolicy": "on-request", "sandbox": "read-only", "config": {"bypass_hook_trust": True}}
    send(id=1, method="initialize", params={"clientInfo": {"name": "test", "version": "1"}})
    send(id=2, method="thread/start", params={"cwd": str(hitl.folder), **limits})
    try:
        for line in process.stdout:
            said = json.loads(line)
            if said.get("id") == 2 and "result" in said:
                given = [{"type": "text", "text": "do it"}]
                thread = said["result"]["thread"]["id"]
                send(id=3, method="turn/start", params={"threadId": thread, "input": given})
            elif "id" in said and "method" in said:
                send(id=said["id"], result={"decision": "decline"})
            yield said
            if said.get("method") == "turn/completed":
                return
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def escalating() -> Iterator[FakeResponses]:
    """A model that wants to run a command outside of the sandbox, which needs approval."""
    running = FakeResponses("touch made")
    more = {"sandbox_permissions": "require_escalated", "justification": "It writes"}
    running.call["arguments"] = json.dumps({"cmd": "touch made", **more})
    yield running
    running.stop()


@pytest.mark.heavy
@WITH_CODEX
@pytest.mark.parametrize(("verb", "more"), [("approve", ()), ("reject", ("--reason", "not now"))])
def test_where_codex_would_ask_its_user_a_person_decides(
    hitl: Hitl, escalating: FakeResponses, verb: str, more: tuple[str, ...]
) -> None:
    hitl.create()
    asked: list[str] = []
    for said in turn(hitl, escalating, asking("--wait", "50s")):
        asked += [said["method"]] if "id" in said and "method" in said else []
        if said.get("method") == "hook/started":
            wait_until(lambda: hitl.json("pending", "--all"))
            item = request(hitl)
            arguments = hitl.json("show", item["id"])["arguments"]
            assert (arguments["tool"], arguments["input"]["command"]) == ("Bash", "touch made")
            hitl.ok(verb, item["id"], "--as", "lead", *more)
    assert (hitl.folder / "made").exists() == (verb == "approve")
    assert ("not now" in "".join(escalating.told)) == (verb == "reject")
    assert asked == []


@pytest.mark.heavy
@WITH_CODEX
@pytest.mark.parametrize(
    ("command", "asks_its_user"),
    [
        (asking("--wait", "50ms"), True),
        (asking("--wait", "50ms", "--then", "deny"), False),
        (asking("--wait", "50ms", "-S", "http://127.0.0.1:1"), False),
        ("/no/such/hitl hook codex || exit 2", False),
    ],
)
def test_where_nobody_decides_codex_asks_its_user_or_refuses(
    hitl: Hitl, escalating: FakeResponses, command: str, asks_its_user: bool
) -> None:
    said = list(turn(hitl, escalating, command))
    assert any("requestApproval" in one.get("method", "") for one in said) is asks_its_user
    assert not (hitl.folder / "made").exists()
