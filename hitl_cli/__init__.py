"""Human-in-the-loop workflows on Resonate durable promises.

Write a durable function, mark it with `workflow`, and call `ask` in it to wait for a person. Serve it with
`hitl worker --app FILE`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.authoring.ask import Asked, PendingDecision, ask, ask_all, digest_of
    from hitl_cli.authoring.link import link_to
    from hitl_cli.authoring.workflow import workflow
    from hitl_cli.client.wire import Vote
    from hitl_cli.errors import BadInput, HitlError, NotAllowed, NotCovered, QuestionChanged, Unproven
    from hitl_cli.python_api.hitl import AsyncHitl, Hitl
    from hitl_cli.requests.decision import Decision, Rejected
    from hitl_cli.requests.question import Digest

__all__ = [
    "Asked",
    "AsyncHitl",
    "BadInput",
    "Decision",
    "Digest",
    "Hitl",
    "HitlError",
    "NotAllowed",
    "NotCovered",
    "PendingDecision",
    "QuestionChanged",
    "Rejected",
    "Unproven",
    "Vote",
    "__version__",
    "ask",
    "ask_all",
    "digest_of",
    "link_to",
    "workflow",
]
__version__ = "0.1.0"

# Imported on first use: most commands do not need the SDK, which is slow to import.
_MODULES = {
    "Asked": "authoring.ask",
    "AsyncHitl": "python_api.hitl",
    "BadInput": "errors",
    "Decision": "requests.decision",
    "Digest": "requests.question",
    "Hitl": "python_api.hitl",
    "HitlError": "errors",
    "NotAllowed": "errors",
    "NotCovered": "errors",
    "PendingDecision": "authoring.ask",
    "QuestionChanged": "errors",
    "Rejected": "requests.decision",
    "Unproven": "errors",
    "Vote": "client.wire",
    "ask": "authoring.ask",
    "ask_all": "authoring.ask",
    "digest_of": "authoring.ask",
    "link_to": "authoring.link",
    "workflow": "authoring.workflow",
}


def __getattr__(name: str) -> object:
    """Return a public name, importing the module that has it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hitl_cli.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that an editor completes them."""
    return sorted(__all__)
