"""People approve the tool calls of a pydantic-ai agent."""

from types import ModuleType
from typing import Any

import pytest

from tests.agents.frameworks import need

need("pydantic_ai")

from pydantic_ai import Agent
from pydantic_ai.exceptions import ApprovalRequired, ModelRetry, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests, RunContext

from hitl_cli.agents.pydantic_ai import HumanApproval, durable_agent
from hitl_cli.errors import BadInput
from hitl_cli.testing import HitlTest, StillWaiting, hitl_test

DELETE = ("delete", {"path": "build"}, "call-1")
LIST = ("look", {"path": "."}, "call-0")


def scripted(*turns: list[tuple[str, dict[str, Any], str]]) -> FunctionModel:
    """A model that calls tools in turns, and then says what they returned."""

    def answer(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        said = [part for message in messages for part in message.parts]
        returned = [str(part.content) for part in said if isinstance(part, ToolReturnPart)]
        made = sum(isinstance(message, ModelResponse) for message in messages)
        if made < len(turns):
            return ModelResponse([ToolCallPart(name, args, id) for name, args, id in turns[made]])
        return ModelResponse([TextPart("; ".join(returned))])

    return FunctionModel(answer)


class Folder:
    """Tools, and the calls that were made."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def delete(self, path: str) -> str:
        self.calls.append(f"delete {path}")
        return f"deleted {path}"

    def look(self, path: str) -> str:
        self.calls.append(f"look {path}")
        return f"saw {path}"

    def agent(self, *turns: list[tuple[str, dict[str, Any], str]], **options: Any) -> Agent[None, str]:
        agent = Agent(scripted(*turns), name="cleaner", **options)
        agent.tool_plain(requires_approval=True)(self.delete)
        agent.tool_plain(self.look)
        return agent


@pytest.fixture
def folder() -> Folder:
    return Folder()


def ran(agent: Agent[None, str], prompt: str = "Clean up", **options: Any) -> Any:
    return agent.run_sync(prompt, **options).output


def test_an_approved_call_runs_and_the_person_saw_it_exactly(folder: Folder) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        agent = folder.agent(
            [DELETE], capabilities=[HumanApproval(hitl.async_client, to="reviewer", deadline="1d")]
        )
        assert ran(agent, conversation_id="chat-1") == "deleted build"
        [request] = hitl.decided()
        shown = hitl.client.show(request)
        assert shown.arguments == {"path": "build"}
        assert shown.to == ("reviewer",)
        assert shown.prompt == "`cleaner` wants to use `delete`: `build`"


def test_a_rejected_call_does_not_run_and_the_model_is_told_why(folder: Folder) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").rejects("delete", reason="still needed")
        agent = folder.agent([DELETE], capabilities=[HumanApproval(hitl.client)])
        assert ran(agent) == "rejected by reviewer: still needed"
    assert folder.calls == []


def test_a_call_runs_with_the_arguments_as_the_person_has_changed_them(folder: Folder) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", arguments={"path": "build/cache"})
        agent = folder.agent([DELETE], capabilities=[HumanApproval(hitl.async_client)])
        assert ran(agent) == "deleted build/cache"


def test_only_what_fits_the_tool_may_be_changed_and_nothing_if_the_author_says_so(folder: Folder) -> None:
    with hitl_test() as hitl:
        agent = folder.agent(
            [DELETE], capabilities=[HumanApproval(hitl.client, timeout="1m", editable=False)]
        )
        with pytest.raises(UserError):
            ran(agent, conversation_id="fixed")
        with pytest.raises(BadInput):
            hitl.person("reviewer").approve("delete", arguments={"path": "all"})
        other = folder.agent([DELETE], capabilities=[HumanApproval(hitl.client, timeout="1m")])
        with pytest.raises(UserError):
            ran(other, conversation_id="chat")
        with pytest.raises(BadInput):
            hitl.person("reviewer").approve(id=hitl.pending()[1].id, arguments={"path": 7})


def test_several_calls_are_asked_at_once(folder: Folder) -> None:
    both = [DELETE, ("delete", {"path": "dist"}, "call-2")]
    with hitl_test() as hitl:
        agent = folder.agent(both, capabilities=[HumanApproval(hitl.async_client)])
        with pytest.raises(StillWaiting):
            ran(agent, conversation_id="chat-1")
        assert len(hitl.pending()) == 2
        hitl.person("reviewer").approve("dist")
        hitl.person("reviewer").reject("build", reason="no")
        assert ran(agent, conversation_id="chat-1") == "rejected by reviewer: no; deleted dist"
    assert folder.calls == ["delete dist"]


def test_a_call_that_is_not_answered_in_time_is_left_to_the_agent_and_asked_once(folder: Folder) -> None:
    with hitl_test() as hitl:
        approval = HumanApproval(hitl.async_client, timeout="5m")
        agent = folder.agent([DELETE], capabilities=[approval], output_type=[str, DeferredToolRequests])
        first = agent.run_sync("Clean up")
        assert [call.tool_call_id for call in first.output.approvals] == ["call-1"]
        hitl.person("reviewer").approve("delete")
        later = agent.run_sync(message_history=first.all_messages())
        assert later.output == "deleted build"
        assert len(hitl.decided()) == 1


def test_a_model_that_repeats_the_id_of_a_call_is_asked_again(folder: Folder) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", times=1).rejects("delete", reason="once")
        agent = folder.agent([DELETE], [DELETE], capabilities=[HumanApproval(hitl.async_client)])
        assert ran(agent, conversation_id="chat") == "deleted build; rejected by reviewer: once"


# In a workflow


def app(agent: Agent[None, str]) -> ModuleType:
    module = ModuleType("cleaner_app")
    module.register = lambda resonate: durable_agent(agent, resonate)  # type: ignore[attr-defined]
    return module


def started(hitl: HitlTest) -> Any:
    return hitl.start("cleaner.run", {"user_prompt": "Clean up"})


def test_a_durable_agent_waits_without_a_process_and_no_tool_runs_twice(folder: Folder) -> None:
    agent = folder.agent([LIST], [DELETE], capabilities=[HumanApproval(to="reviewer")])
    with hitl_test(app(agent)) as hitl:
        run = started(hitl)
        assert folder.calls == ["look ."]
        hitl.advance("30d")
        hitl.person("reviewer").approve("delete")
        assert run.result()["output"] == "saw .; deleted build"
    assert folder.calls == ["look .", "delete build"]


def test_without_the_capability_tools_run_again_which_is_why_they_are_steps(folder: Folder) -> None:
    class AskOnly(HumanApproval):
        def get_wrapper_toolset(self, toolset: Any) -> None:  # noqa: ARG002
            return None

    agent = folder.agent([LIST], [DELETE], capabilities=[AskOnly()])
    with hitl_test(app(agent)) as hitl:
        run = started(hitl)
        hitl.person("reviewer").approve("delete")
        assert run.result()["output"] == "saw .; deleted build"
    assert folder.calls == ["look .", "look .", "delete build"]


def test_a_durable_call_runs_with_the_arguments_as_the_person_has_changed_them(folder: Folder) -> None:
    agent = folder.agent([DELETE], capabilities=[HumanApproval()])
    with hitl_test(app(agent)) as hitl:
        run = started(hitl)
        hitl.person("reviewer").approve("delete", arguments={"path": "dist"})
        assert run.result()["output"] == "deleted dist"


def test_an_approval_that_may_be_used_once_is_used_up(folder: Folder) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        agent = folder.agent(
            [DELETE], capabilities=[HumanApproval(hitl.async_client, options={"once": True})]
        )
        assert ran(agent, conversation_id="chat") == "deleted build"
        assert "already used" in ran(agent, conversation_id="chat")
    assert folder.calls == ["delete build"]


def test_an_approval_in_a_workflow_is_used_up_there(folder: Folder) -> None:
    agent = folder.agent([DELETE], capabilities=[HumanApproval(options={"once": True})])
    with hitl_test(app(agent)) as hitl:
        hitl.person("reviewer").approves("delete")
        assert started(hitl).result()["output"] == "deleted build"


def test_a_durable_agent_is_told_a_rejection_and_asks_several_at_once(folder: Folder) -> None:
    both = [DELETE, ("delete", {"path": "dist"}, "call-2")]
    agent = folder.agent(both, capabilities=[HumanApproval()])
    with hitl_test(app(agent)) as hitl:
        run = started(hitl)
        assert len(hitl.pending()) == 2
        hitl.person("reviewer").reject("dist", reason="no")
        hitl.person("reviewer").approve("build")
        assert run.result()["output"] == "deleted build; rejected by reviewer: no"


def test_what_a_tool_tells_the_agent_by_an_exception_is_kept_too(folder: Folder) -> None:
    agent = folder.agent(
        [("transfer", {"euros": 3}, "call-1")],
        [("transfer", {"euros": 900}, "call-2")],
        capabilities=[HumanApproval()],
    )

    @agent.tool
    def transfer(ctx: RunContext[None], euros: int) -> str:
        folder.calls.append(f"transfer {euros}")
        if euros < 10:
            raise ModelRetry("too little")
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        return f"paid {euros}"

    with hitl_test(app(agent)) as hitl:
        run = started(hitl)
        hitl.person("lead").approve("transfer")
        assert run.result()["output"].endswith("paid 900")
    assert folder.calls == ["transfer 3", "transfer 900", "transfer 900"]
