"""Makes requests as a workflow's `ask` does, without a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.tags import DEADLINE_TAG
from hitl_cli.client.wire import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.client.wire import Promise
    from hitl_cli.requests.question import Question
    from tests.conftest import Hitl

DAY_MS = 86_400_000


def put(
    hitl: Hitl,
    id: str,
    question: Question,
    *,
    by: str | None = None,
    key: str | None = None,
    tags: Mapping[str, str] | None = None,
    deadline_ms: int = DAY_MS,
) -> Promise:
    """Create a request, asked by `by`, and return it."""
    data: dict[str, Any] = {
        "id": id,
        "param": encode(msgspec.to_builtins(question), {"hitl:by": by} if by else None),
        "tags": {
            "resonate:external": "true",
            "resonate:scope": "global",
            **question.tags(key=key, workflow=None),
            **(tags or {}),
        },
    }
    with hitl.client() as client:
        deadline = client.now() + deadline_ms
        if question.extend is not None:
            data["tags"] |= {DEADLINE_TAG: str(deadline)}
        data |= {"timeoutAt": deadline + (question.extend or 0)}
        return as_promise(client.call_many([ProtocolRequest("promise.create", data)])[0])


def promise_now(hitl: Hitl, id: str) -> dict[str, Any]:
    """Return a promise as the server has it, value decoded."""
    with hitl.client() as client:
        promise = as_promise(client.call_many([ProtocolRequest("promise.get", {"id": id})])[0])
    found: dict[str, Any] = msgspec.to_builtins(promise)
    return found
