"""Tools of pydantic-ai whose calls are steps of the workflow that runs the agent."""

# Annotations are evaluated here, not kept as text: the SDK looks at those of a step.

from dataclasses import dataclass
from typing import Any, Literal

from resonate.context import Context
from resonate.retry import RetryPolicy

from hitl_cli.errors import extra
from hitl_cli.sdk.pydantic_ai import in_step, workflow_context

with extra("pydantic-ai"):
    from pydantic import BaseModel, ValidationError
    from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed
    from pydantic_ai.messages import ToolReturn, ToolReturnContent
    from pydantic_ai.tools import RunContext
    from pydantic_ai.toolsets import ToolsetTool, WrapperToolset


class _Done(BaseModel):
    """The stored result of a tool call: the returned value, or the message of an exception for the agent."""

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
    """Tools whose calls are steps of the workflow that runs the agent. Outside a workflow nothing changes.

    Results of tools are stored as JSON.
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
    """Return how a call ended. Exceptions that are not for the agent are raised, so the step is retried."""
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
