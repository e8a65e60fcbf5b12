"""pydantic-ai: people approve the tool calls of an agent. Needs `resonate-hitl[pydantic-ai]`.

agent = Agent(model, capabilities=[HumanApproval(to="reviewer")])

@agent.tool_plain(requires_approval=True)
def delete(path: str) -> str: ...
"""

# Annotations are evaluated here, not kept as text: the SDK looks at those of a step.

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed
from pydantic_ai.messages import ModelResponse, ToolReturn, ToolReturnContent
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from resonate.context import Context
from resonate.retry import RetryPolicy

from hitl_cli.agents.call_request import ApprovalOptions, FrameworkCall, decisions, options_of, question, used
from hitl_cli.format.durations import Duration
from hitl_cli.python_api.hitl import AsyncHitl, Hitl
from hitl_cli.requests.decision import Decision
from hitl_cli.sdk.pydantic_ai import durable_agent, in_step, workflow_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ToolCallPart

__all__ = ["DurableToolset", "HumanApproval", "durable_agent"]

FRAMEWORK = "pydantic-ai"


@dataclass
class HumanApproval(AbstractCapability[Any]):
    """People approve tool calls that require approval: the capability of an `Agent`.

        agent = Agent(model, capabilities=[HumanApproval(AsyncHitl(), to="group:ops", deadline="1d")])

    A call is one request, however often the agent is run with the same messages: it is known by the
    conversation, its turn and the id of the call. Approved, the tool runs, with the arguments as the person
    has changed them (not with `editable=False`); rejected, the model is told the reason.

    - `hitl`: where to ask; by default `AsyncHitl()`.
    - `to`, `deadline`, `options`: who may answer, until when, and other options of `Hitl.ask`.
    - `timeout`: how long to wait. A call without an answer is then left to the agent, which ends with
      `DeferredToolRequests` if that is one of its output types. The request stays open.

    In a workflow (`durable_agent`), requests are made by `ask` (no `hitl` is needed, and no
    process waits), and each tool call is a step: it does not run again when the run goes on elsewhere.
    `retry_policy` is that of these steps.
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
        made: Sequence[Decision[Any] | None]
        if workflow is None:
            made = await decisions(self.hitl or AsyncHitl(), calls, options, self.timeout)
        else:
            from hitl_cli.authoring.ask import ask, ask_all

            made = await ask_all(*(ask(workflow, **question(call, options)) for call in calls))
        answered = [(call, decision) for call, decision in zip(calls, made, strict=True) if decision]
        return requests.build_results(
            approvals={call.id: await _result(call, decision, workflow) for call, decision in answered},
            answered_by={call.id: decision.by for call, decision in answered if decision.by},
        )

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


async def _result(call: FrameworkCall, decision: Decision[Any], place: Any) -> ToolApproved | ToolDenied:
    """Return what the agent does after a decision."""
    why = await used(call, decision, place)
    if why is not None:
        return ToolDenied(why)
    return ToolApproved(override_args=decision.arguments if decision.changed else None)


# Tool calls as steps


class _Done(BaseModel):
    """How a tool call ended, as it is stored: what it returned, or what it told the agent by an exception."""

    kind: Literal["content", "return", "approval", "deferred", "question", "retry", "failed"]
    content: ToolReturnContent = None
    returned: ToolReturn | None = None
    message: str = ""
    metadata: dict[str, Any] | None = None

    def result(self) -> Any:
        """Return or raise what the call did."""
        match self.kind:
            case "content":
                return self.content
            case "return":
                return self.returned
            case "approval":
                raise ApprovalRequired(self.metadata)
            case "deferred" | "question":
                raise CallDeferred(self.metadata, kind="question" if self.kind == "question" else "external")
            case "retry":
                raise ModelRetry(self.message)
            case "failed":
                raise ToolFailed(self.message)


@dataclass
class DurableToolset(WrapperToolset[Any]):
    """Tools whose calls are steps of the workflow that runs the agent; outside of one they are as they were.

    What a tool returns is stored as JSON.
    """

    retry_policy: RetryPolicy | None = None

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool, once."""
        workflow = workflow_context()
        if workflow is None:
            return await super().call_tool(name, tool_args, ctx, tool)
        wrapped = self.wrapped

        async def call(step: Context) -> _Done:
            with in_step(step):
                return await _ended(wrapped.call_tool(name, tool_args, ctx, tool))

        call.__name__ = name
        if self.retry_policy is not None:
            workflow = workflow.options(retry_policy=self.retry_policy)
        done: _Done = await workflow.run(call)
        return done.result()


async def _ended(call: Any) -> _Done:
    """Return how a call ended. Raises what is not meant for the agent: then the step is tried again."""
    try:
        returned = await call
    except ApprovalRequired as asked:
        return _Done(kind="approval", metadata=asked.metadata)
    except CallDeferred as asked:
        return _Done(kind="question" if asked.kind == "question" else "deferred", metadata=asked.metadata)
    except ModelRetry as again:
        return _Done(kind="retry", message=again.message)
    except ValidationError as again:
        return _Done(kind="retry", message=str(again))
    except ToolFailed as failed:
        return _Done(kind="failed", message=failed.message)
    if isinstance(returned, ToolReturn):
        return _Done(kind="return", returned=returned)
    return _Done(kind="content", content=returned)
