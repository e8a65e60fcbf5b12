"""`approval_prompt`: a call is asked once, and never allowed by mistake."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.mcp.server import McpOptions
from hitl_cli.requests.decision_input import DecisionInput
from tests.agents.test_hook import HOSTILE, QUESTIONS
from tests.mcp.scene import REVISIONS, Scene, run

if TYPE_CHECKING:
    from mcp.client import Client

    from tests.conftest import Hitl

CALL: dict[str, Any] = {
    "tool_name": "Bash",
    "input": {"command": "git push", "description": "Push"},
    "tool_use_id": "toolu_1",
}


@pytest.fixture
def scene(hitl: Hitl) -> Scene:
    return Scene(hitl.url)


def options(wait_s: float = 0.05) -> McpOptions:
    return McpOptions(to=("lead",), wait_s=wait_s, cwd="/srv/app")


async def prompt(client: Client, **changed: Any) -> dict[str, Any]:
    """Ask whether a call may run, and return the answer."""
    result = await client.call_tool("approval_prompt", CALL | changed)
    assert not result.is_error
    [block] = result.content
    answer: dict[str, Any] = json.loads(block.text)  # type: ignore[union-attr]
    assert set(answer) == (
        {"behavior", "updatedInput"} if answer["behavior"] == "allow" else {"behavior", "message"}
    )
    return answer


@pytest.mark.parametrize("mode", REVISIONS)
def test_a_call_is_asked_once_and_an_answer_counts_however_late(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode, options=options()) as client:
            for _ in range(2):
                assert (await prompt(client))["behavior"] == "deny"
            id = await scene.only_id()
            scene.decide(id)
            assert await prompt(client) == {"behavior": "allow", "updatedInput": CALL["input"]}
        async with scene.client(mode, options=options()) as again:  # the process was started again
            assert (await prompt(again))["behavior"] == "allow"

    run(work)


def test_an_answer_ends_the_wait(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client("legacy", options=options(wait_s=60)) as client:
            asked = asyncio.create_task(prompt(client))
            scene.decide(await scene.only_id(), DecisionInput(verdict="reject", reason="use a branch"))
            refused = await asked
            assert (refused["behavior"], "use a branch" in refused["message"]) == ("deny", True)

    run(work)


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_use_id": "toolu_2"},
        {"tool_use_id": None},
        {"input": {"command": "rm -rf /"}},
        {"tool_name": "Write"},
    ],
)
def test_a_yes_counts_for_its_own_call_only(scene: Scene, changed: dict[str, Any]) -> None:
    async def work() -> None:
        async with scene.client("legacy", options=options()) as client:
            await prompt(client)
            scene.decide(await scene.only_id())
            assert (await prompt(client, **changed))["behavior"] == "deny"

    run(work)


@pytest.mark.parametrize("mode", REVISIONS)
def test_a_person_changes_the_input_and_nothing_else(scene: Scene, mode: str) -> None:
    changed = {"command": "git push origin a-branch", "description": "Push"}

    async def work() -> None:
        async with scene.client(mode, options=options()) as client:
            await prompt(client)
            id = await scene.only_id()
            for other in ({"tool": "Write"}, {"cwd": "/"}, {"input": {"command": "ls", "timeout": 1}}):
                said = {"tool": "Bash", "cwd": "/srv/app", "input": changed} | other
                with pytest.raises(BadInput):
                    scene.decide(id, DecisionInput(verdict="approve", data=said))
            said = {"tool": "Bash", "cwd": "/srv/app", "input": changed}
            scene.decide(id, DecisionInput(verdict="approve", data=said))
            assert await prompt(client) == {"behavior": "allow", "updatedInput": changed}

    run(work)


def test_a_question_of_the_agent_is_answered_by_a_form(scene: Scene) -> None:
    call: dict[str, Any] = {"tool_name": "AskUserQuestion", "input": QUESTIONS}

    async def work() -> None:
        async with scene.client("legacy", options=options()) as client:
            await prompt(client, **call)
            said = {"q1": "Postgres", "q2": ["lint"]}
            scene.decide(await scene.only_id(), DecisionInput(verdict="approve", data=said))
            answered = await prompt(client, **call)
            assert answered["updatedInput"]["answers"] == {
                "Which database?": "Postgres",
                "Which checks?": "lint",
            }

    run(work)


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_name": 7},
        {"input": "ls"},
        {"input": {"n": 2**60}},
        {"tool_use_id": {}},
        {"input": {"command": "x" * 1_100_000}},
    ],
)
def test_what_cannot_be_asked_is_refused_and_creates_nothing(scene: Scene, changed: dict[str, Any]) -> None:
    async def work() -> None:
        async with scene.client("legacy", options=options()) as client:
            assert (await prompt(client, **changed))["behavior"] == "deny"
            assert scene.open_ids() == []

    run(work)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "sqlite:////nowhere/hitl.db"])
def test_a_server_that_cannot_be_reached_refuses(url: str) -> None:
    async def work() -> None:
        async with Scene(url).client("legacy", options=options()) as client:
            refused = await prompt(client)
            assert refused["behavior"] == "deny"
            assert refused["message"]

    run(work)


def test_what_an_agent_says_only_shows(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client("legacy", options=options()) as client:
            answer = await prompt(client, tool_name=HOSTILE, input={"command": HOSTILE})
            assert "\x1b" not in answer["message"]
            await scene.only_id()

    run(work)
