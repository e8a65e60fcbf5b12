"""The agents of `resonate.ext.pydantic_ai`, which run as workflows."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_ai.agent import AbstractAgent
    from resonate.context import Context
    from resonate.types import DurableRegistry

CONTEXT = "resonate.ext.pydantic_ai.context"


def durable_agent(agent: AbstractAgent[Any, Any], resonate: DurableRegistry, **options: Any) -> Any:
    """Register an agent as the workflow `NAME.run`, and return its ResonateAgent.

    Newer releases of pydantic-ai pass arguments that resonate-sdk 0.8.1 does not know. They are left out if
    they are None.
    """
    from resonate.ext.pydantic_ai import ResonateAgent

    known = inspect.signature(ResonateAgent.iter).parameters

    class Agent(ResonateAgent):
        def iter(self, *args: Any, **given: Any) -> Any:
            passed = {name: value for name, value in given.items() if name in known or value is not None}
            return super().iter(*args, **passed)

    return Agent(agent, resonate, **options)


def workflow_context() -> Context | None:
    """Return the context of the workflow that runs the agent; None outside of one."""
    module = sys.modules.get(CONTEXT)
    found: Context | None = None if module is None else module.workflow_context()
    return found


@contextmanager
def in_step(ctx: Context) -> Iterator[None]:
    """Make all that an agent does in the block, such as another agent's run, a part of a step."""
    from resonate.ext.pydantic_ai.context import reset_workflow_context, set_workflow_context

    token = set_workflow_context(ctx)
    try:
        yield
    finally:
        reset_workflow_context(token)
