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


def begin(hitl: Hitl, model: FakeResponses, hook_command: str) -> subprocess.Popen[str]:
    """Start Codex in the test's folder, with a home of its own and no network but the model."""
    home = hitl.folder / "codex"
    home.mkdir()
    provider = {"name": "fake", "base_url": model.url, "wire_api": "responses", "env_key": "FAKE_KEY"}
    lines = ['model = "fake"', 'model_provider = "fake"', "[model_providers.fake]"]
    lines += [f"{name} = {json.dumps(text)}" for name, text in provider.items()]
    lines += ["[[hooks.PreToolUse]]", "[[hooks.PreToolUse.hooks]]", 'type = "command"', "timeout = 60"]
    lines += [f"command = {json.dumps(hook_command)}"]
    (home / "config.toml").write_text("\n".join(lines))
    options = ["--skip-git-repo-check", "--dangerously-bypass-hook-trust", "-s", "danger-full-access"]
    assert CODEX is not None
    return subprocess.Popen(
        [CODEX, "exec", *options, "do it"],
        cwd=hitl.folder,
        env={**os.environ, **hitl.env, "CODEX_HOME": str(home), "FAKE_KEY": "none"},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


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
