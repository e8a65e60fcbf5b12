"""pydantic-ai: people approve the tool calls of an agent. Needs `resonate-hitl[pydantic-ai]`.

agent = Agent(model, capabilities=[HumanApproval(to="reviewer")])

@agent.tool_plain(requires_approval=True)
def delete(path: str) -> str: ...
"""

# Annotations are evaluated here, not kept as text: the SDK looks at those of a step.

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from resonate.retry import RetryPolicy

from hitl_cli.agents.call_request import (
    FrameworkCall,
    decisions,
    opened,
    options_of,
    question,
    used,
)
from hitl_cli.errors import extra
from hitl_cli.format.durations import Duration
from hitl_cli.python_api.hitl import AsyncHitl, Hitl
from hitl_cli.requests.decision import Decision
from hitl_cli.requests.question_input import ApprovalOptions
from hitl_cli.sdk.pydantic_ai import durable_agent, workflow_context

with extra("pydantic-ai"):
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.tools import (
        DeferredToolRequests,
        DeferredToolResults,
        RunContext,
        ToolApproved,
        ToolDenied,
    )
    from pydantic_ai.toolsets import AbstractToolset

    from hitl_cli.agents.durable_tools import DurableToolset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ToolCallPart

__all__ = ["DurableToolset", "HumanApproval", "durable_agent"]

FRAMEWORK = "pydantic-ai"


@dataclass
class HumanApproval(AbstractCapability[Any]):
    """People approve tool calls that require approval: the capability of an `Agent`.

        agent = Agent(model, capabilities=[HumanApproval(AsyncHitl(), to="group:ops", deadline="1d")])

    A call is one request, even if the agent runs again with the same messages: the conversation, its turn and
    the id of the call identify it. After an approval, the tool runs, with the arguments as the person has
    changed them (not with `editable=False`). After a rejection, the model gets the reason.

    - `hitl`: where to ask; by default `AsyncHitl()`.
    - `to`, `deadline`, `options`: who may answer, until when, and other options of `Hitl.ask`.
    - `timeout`: how long to wait. A call without an answer is then left to the agent, which ends with
      `DeferredToolRequests` if that is one of its output types. The request stays open.

    In a workflow (`durable_agent`), requests are made by `ask` (no `hitl` is needed, and no process waits),
    and each tool call is a step: it does not run again when another worker continues the run. `retry_policy`
    is that of these steps.
    """

    hitl: Hitl | AsyncHitl | None = None
    _: KW_ONLY
    to: "str | Sequence[str]" = ()
    deadline: Duration | None = None
    timeout: Duration | None = None
    editable: bool = True
    options: ApprovalOptions = field(default_factory=ApprovalOptions)
    retry_policy: RetryPolicy | None = None

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask about the calls that require approval, all at once."""
        calls = [self._call(ctx, part, requests) for part in requests.approvals]
        if not calls:
            return None
        options = options_of(self.to, self.deadline, self.options)
        workflow = workflow_context()
        if workflow is not None:
            from hitl_cli.authoring.ask import ask, ask_all

            made = await ask_all(*(ask(workflow, **question(call, options)) for call in calls))
            return await _results(requests, calls, made, workflow)
        async with opened(self.hitl) as hitl:
            answers = await decisions(hitl, calls, options, self.timeout)
            return await _results(requests, calls, answers)

    def _call(
        self, ctx: RunContext[Any], part: "ToolCallPart", requests: DeferredToolRequests
    ) -> FrameworkCall:
        manager = ctx.tool_manager if self.editable else None
        tool = None if manager is None else manager.get_tool_def(part.tool_name)
        turn = sum(isinstance(message, ModelResponse) for message in ctx.messages)  # some models repeat ids
        return FrameworkCall(
            framework=FRAMEWORK,
            run=f"{ctx.conversation_id or ctx.run_id}/{turn}",
            id=part.tool_call_id,
            tool=part.tool_name,
            arguments=part.args_as_dict(),
            agent=ctx.agent.name if ctx.agent else None,
            details=requests.metadata.get(part.tool_call_id),
            editable=None if tool is None else tool.parameters_json_schema,
        )

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any] | None:
        """Make each tool call a step, in a workflow."""
        return DurableToolset(toolset, self.retry_policy)


async def _results(
    requests: DeferredToolRequests,
    calls: "Sequence[FrameworkCall]",
    made: "Sequence[Decision[Any] | None]",
    place: Any = None,
) -> DeferredToolResults:
    """Return the results of the decided calls."""
    answered = [(call, decision) for call, decision in zip(calls, made, strict=True) if decision]
    return requests.build_results(
        approvals={call.id: await _result(call, decision, place) for call, decision in answered},
        answered_by={call.id: decision.by for call, decision in answered if decision.by},
    )


async def _result(call: FrameworkCall, decision: Decision[Any], place: Any) -> ToolApproved | ToolDenied:
    """Return what the agent does after a decision."""
    why = await used(call, decision, place)
    if why is not None:
        return ToolDenied(why)
    return ToolApproved(override_args=decision.arguments if decision.changed else None)
