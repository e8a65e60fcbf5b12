"""Claude Code itself, on a stand-in for its model, asks with the tools and lets them permit its calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.requests.decision_input import DecisionInput
from tests.agents.fake_model import FakeModel
from tests.agents.test_hook import CLAUDE, begin
from tests.conftest import HITL, PATIENCE_S, wait_until
from tests.gateway.visiting import Visited
from tests.mcp.scene import Scene
from tests.mcp.test_http import token_of

if TYPE_CHECKING:
    from tests.conftest import Hitl

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(CLAUDE is None, reason="HITL_CLAUDE names no claude of @anthropic-ai/claude-code"),
]

NO = DecisionInput(verdict="reject", reason="not today")


def run_claude(
    hitl: Hitl,
    tool: str,
    tool_input: dict[str, Any],
    said: DecisionInput,
    *args: str,
    server: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run the agent, decide its only request, and return what it prints."""
    hitl.create()
    scene = Scene(hitl.url)
    server = server or {
        "command": HITL,
        "args": ["mcp", "--wait", "60s"],
        "env": {**hitl.env, "HITL_AS": "agent"},
    }
    (hitl.folder / "mcp.json").write_text(json.dumps({"mcpServers": {"hitl": server}}))
    model = FakeModel(tool, tool_input)
    # Or else it begins before its MCP servers have started.
    hitl.env["MCP_CONNECTION_NONBLOCKING"] = "0"
    try:
        agent = begin(hitl, model, "-p", "do it", "--mcp-config", "mcp.json", *args)
        [id] = wait_until(scene.open_ids)
        scene.decide(id, said)
        printed, _ = agent.communicate(timeout=PATIENCE_S * 2)
        told: dict[str, Any] = json.loads(printed)
        return told
    finally:
        model.stop()


@pytest.mark.parametrize(("said", "approved"), [(DecisionInput(verdict="approve"), True), (NO, False)])
def test_it_asks_and_hears_the_answer(hitl: Hitl, said: DecisionInput, *, approved: bool) -> None:
    asked = {"prompt": "Deploy?", "arguments": {"version": "1.4.2"}}
    told = run_claude(hitl, "mcp__hitl__ask", asked, said, "--allowedTools", "mcp__hitl__ask")
    answer = json.loads(json.loads(told["result"]))
    assert answer["approved"] is approved


def test_it_asks_a_gateway(hitl: Hitl) -> None:
    hitl.create()
    gateway = Visited(hitl, sign_in=True)
    try:
        bearer = {"Authorization": f"Bearer {token_of(hitl, 'agent', 'ask')}"}
        server = {"type": "http", "url": f"{gateway.address}/mcp", "headers": bearer}
        yes = DecisionInput(verdict="approve")
        allowed = ("--allowedTools", "mcp__hitl__ask")
        told = run_claude(hitl, "mcp__hitl__ask", {"prompt": "Deploy?"}, yes, *allowed, server=server)
        assert json.loads(json.loads(told["result"]))["approved"] is True
    finally:
        gateway.stop()


@pytest.mark.parametrize(("said", "made"), [(DecisionInput(verdict="approve"), True), (NO, False)])
def test_a_call_runs_only_if_a_person_permits_it(hitl: Hitl, said: DecisionInput, *, made: bool) -> None:
    command = {"command": "touch made", "description": "Make a file"}
    prompt = ("--permission-prompt-tool", "mcp__hitl__approval_prompt")
    told = run_claude(hitl, "Bash", command, said, *prompt)
    assert (hitl.folder / "made").exists() == made
    assert len(told["permission_denials"]) == (not made)


def test_a_person_changes_what_it_runs(hitl: Hitl) -> None:
    command = {"command": "touch made", "description": "Make a file"}
    other = command | {"command": "touch other"}  # of a command, only its text may be changed
    said = DecisionInput(verdict="approve", data={"tool": "Bash", "cwd": str(hitl.folder), "input": other})
    run_claude(hitl, "Bash", command, said, "--permission-prompt-tool", "mcp__hitl__approval_prompt")
    assert [(hitl.folder / name).exists() for name in ("made", "other")] == [False, True]
