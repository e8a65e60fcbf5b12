"""People approve the tool calls of an agent of the OpenAI Agents SDK, also in another process."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.agents.frameworks import START_S, need

need("agents")

from agents import Agent, Model, ModelResponse, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from resonate.context import Context

from hitl_cli import Hitl as AskingProgram
from hitl_cli import workflow
from hitl_cli.agents.openai_agents import FolderStates, editable, run_in_workflow, run_with_approval
from hitl_cli.errors import BadInput, TimedOut, TooLarge
from hitl_cli.testing import hitl_test
from tests.conftest import Hitl, wait_until
from tests.gateway.conftest import begin_gateway

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents" / "openai_agent.py"

type Call = tuple[str, str, str]
"""The name of a tool, its arguments as JSON, and the id of the call."""

DELETE: Call = ("delete", '{"path": "build"}', "call-1")


class Scripted(Model):
    """A model that makes calls in turns, and then says what they returned."""

    def __init__(self, *turns: list[Call]) -> None:
        self.turns = turns
        self.asked = 0

    async def get_response(self, *_: Any, input: Any, **__: Any) -> ModelResponse:  # noqa: A002
        self.asked += 1
        items = input if isinstance(input, list) else []
        results = [str(item["output"]) for item in items if "output" in item]
        for turn in self.turns:
            if not results or len(results) < sum(map(len, self.turns[: self.turns.index(turn) + 1])):
                calls = [
                    ResponseFunctionToolCall(type="function_call", call_id=id, name=name, arguments=arguments)
                    for name, arguments, id in turn
                ]
                return ModelResponse(output=list(calls), usage=Usage(), response_id=None)
        said = ResponseOutputText(type="output_text", text="; ".join(results), annotations=[])
        message = ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed", content=[said]
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Desk:
    """An agent with a tool that needs approval, and the calls that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: FolderStates | None = FolderStates(folder)
        self.calls: list[str] = []

    def agent(self, *turns: list[Call], may_edit: bool = False) -> Agent[Any]:
        calls = self.calls

        @function_tool(needs_approval=True)
        def delete(path: str) -> str:
            calls.append(path)
            return f"deleted {path}"

        tools = [editable(delete) if may_edit else delete]
        return Agent(name="cleaner", model=Scripted(*turns), tools=tools)

    def run(self, agent: Agent[Any], hitl: Any, **options: Any) -> Any:
        running = run_with_approval(agent, "Go", id="clean-1", states=self.states, hitl=hitl, **options)
        return asyncio.run(running).final_output


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    set_tracing_disabled(True)
    return Desk(tmp_path / "runs")


def test_an_approved_call_runs_and_the_person_saw_it_exactly(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        assert desk.run(desk.agent([DELETE]), hitl.async_client, to="reviewer") == "deleted build"
        [request] = hitl.decided()
        shown = hitl.client.show(request)
        assert (shown.arguments, shown.to) == ({"path": "build"}, ("reviewer",))
        assert shown.prompt == "`cleaner` wants to use `delete`: `build`"


def test_a_rejected_call_does_not_run_and_the_model_is_told_why(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").rejects("delete", reason="still needed")
        output = desk.run(desk.agent([DELETE]), hitl.client)
    assert output == "rejected by reviewer: still needed"
    assert desk.calls == []


def test_an_editable_tool_runs_with_the_arguments_as_the_person_has_changed_them(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", arguments={"path": "dist"})
        output = desk.run(desk.agent([DELETE], may_edit=True), hitl.async_client)
    assert output == 'A person has changed the arguments to {"path": "dist"}. Result: deleted dist'
    assert desk.calls == ["dist"]


def test_the_arguments_of_another_tool_cannot_be_changed(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", arguments={"path": "all"})
        with pytest.raises(BadInput):
            desk.run(desk.agent([DELETE]), hitl.async_client)
    assert desk.calls == []


def test_an_editable_tool_whose_arguments_were_approved_as_they_are_runs_as_it_is(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        assert desk.run(desk.agent([DELETE], may_edit=True), hitl.client) == "deleted build"


def test_several_are_asked_at_once_and_a_run_that_waits_is_kept_and_asks_each_once(desk: Desk) -> None:
    both = [DELETE, ("delete", '{"path": "dist"}', "call-2")]
    with hitl_test() as hitl:
        for _ in range(2):
            with pytest.raises(TimedOut):
                desk.run(desk.agent(both), hitl.async_client, timeout="5m")
        assert len(hitl.pending()) == 2
        hitl.person("reviewer").approve("dist")
        hitl.person("reviewer").reject("build", reason="no")
        assert desk.run(desk.agent(both), hitl.async_client) == "rejected by reviewer: no; deleted dist"
        assert len(hitl.decided()) == 2
    assert desk.calls == ["dist"]


def test_a_run_may_wait_several_times_and_is_forgotten_in_the_end(desk: Desk, tmp_path: Path) -> None:
    turns: list[list[Call]] = [[DELETE], [("delete", '{"path": "dist"}', "call-2")]]
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("build")
        with pytest.raises(TimedOut):
            desk.run(desk.agent(*turns), hitl.async_client, timeout="5m")
        [kept] = (tmp_path / "runs").iterdir()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        hitl.person("reviewer").approves("dist")
        assert desk.run(desk.agent(*turns), hitl.async_client) == "deleted build; deleted dist"
    assert desk.calls == ["build", "dist"]
    assert not list((tmp_path / "runs").iterdir())


def test_a_state_is_kept_on_the_server_for_who_asks(desk: Desk) -> None:
    turns: list[list[Call]] = [[DELETE], [("delete", '{"path": "dist"}', "call-2")]]
    desk.states = None
    with hitl_test() as hitl:
        with pytest.raises(TimedOut):
            desk.run(desk.agent(*turns), hitl.async_client, timeout="5m")
        hitl.person("reviewer").approve("build")
        with pytest.raises(TimedOut):
            desk.run(desk.agent(*turns), hitl.client, timeout="5m")
        assert hitl.client.states.load("clean-1") is not None
        hitl.person("reviewer").approve("dist")
        assert desk.run(desk.agent(*turns), hitl.client) == "deleted build; deleted dist"
        assert hitl.client.states.load("clean-1") is None
    assert desk.calls == ["build", "dist"]


def test_through_a_gateway_a_token_is_enough_to_go_on_and_another_one_begins_anew(
    desk: Desk, hitl: Hitl
) -> None:
    desk.states = None
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        tokens = [hitl.ok("token", "create", "--as", name, "--can", "ask").strip() for name in "ab"]
        own, other = (AskingProgram(gateway=gateway.url, token=token) for token in tokens)
        for asker in (own, other, own):
            with pytest.raises(TimedOut):
                desk.run(desk.agent([DELETE]), asker, timeout="10ms")
        requests = hitl.json("pending", "--all")
        assert len(requests) == 2
        hitl.ok("approve", own.pending()[0].id, "--as", "lead")
        assert desk.run(desk.agent([DELETE]), own, timeout="10s") == "deleted build"
        with pytest.raises(TooLarge):
            own.states.save("big", "x" * 2_200_000)
    finally:
        gateway.clear_away()


def test_another_run_asks_again_although_its_call_is_the_same(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("build", times=1)
        assert desk.run(desk.agent([DELETE]), hitl.async_client) == "deleted build"
        with pytest.raises(TimedOut):
            desk.run(desk.agent([DELETE]), hitl.async_client, timeout="5m")
    assert desk.calls == ["build"]


def test_arguments_that_are_no_json_are_shown_as_they_are(desk: Desk) -> None:
    with hitl_test() as hitl:
        with pytest.raises(TimedOut):
            desk.run(desk.agent([("delete", "{oops", "call-1")]), hitl.async_client, timeout="5m")
        [request] = hitl.pending()
        assert hitl.client.show(request.id).arguments == "{oops"


def test_in_a_workflow_no_process_waits_and_nothing_is_done_twice(desk: Desk) -> None:
    turns: list[list[Call]] = [[DELETE], [("delete", '{"path": "dist"}', "call-2")]]
    agent = desk.agent(*turns, may_edit=True)
    model = cast("Scripted", agent.model)

    @workflow
    async def clean(ctx: Context, what: str) -> str:
        return str(await run_in_workflow(ctx, agent, what, to="reviewer"))

    with hitl_test(clean) as hitl:
        run = hitl.start(clean, "Go")
        [request] = hitl.pending()
        assert (request.to, request.prompt) == (("reviewer",), "`cleaner` wants to use `delete`: `build`")
        hitl.advance("30d")
        hitl.person("reviewer").approve("build", arguments={"path": "build/cache"})
        hitl.person("reviewer").reject("dist", reason="no")
        result = run.result()
    assert "deleted build/cache" in result
    assert "rejected by reviewer: no" in result
    assert desk.calls == ["build/cache"]
    assert model.asked == 3


def test_an_approval_that_may_be_used_once_is_not_used_again_after_a_crash(desk: Desk) -> None:
    class Lost(FolderStates):
        """States that no process lives to remove."""

        def forget(self, run: str) -> None:
            pass

    desk.states = Lost(desk.folder)
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        once: Any = {"once": True}
        assert desk.run(desk.agent([DELETE]), hitl.async_client, options=once) == "deleted build"
        assert "already used" in desk.run(desk.agent([DELETE]), hitl.async_client, options=once)
    assert desk.calls == ["build"]


def test_another_process_goes_on_with_the_run_of_one_that_was_killed(hitl: Hitl) -> None:
    command = [sys.executable, str(EXAMPLE), "build"]
    first = subprocess.Popen(command, env=hitl.env, cwd=hitl.folder)
    wait_until(lambda: hitl.database.exists() and hitl.json("pending", "--all"), START_S)
    first.kill()
    first.wait()
    [request] = hitl.waiting()
    hitl.ok("approve", request["id"])
    done = subprocess.run(
        command, env=hitl.env, cwd=hitl.folder, capture_output=True, text=True, timeout=START_S, check=True
    )
    assert done.stdout == "deleted build\n"
