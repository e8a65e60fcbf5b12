"""Requests as any Resonate client would make them, with no run behind them or with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.authoring.ask import escalations_of
from hitl_cli.client.protocol import Client, ProtocolRequest, as_promise
from hitl_cli.client.tags import DEADLINE_TAG
from hitl_cli.client.wire import encode
from hitl_cli.requests.question import Question

if TYPE_CHECKING:
    from hitl_cli.client.wire import Promise

HOUR_MS = 3_600_000


def request(
    client: Client, id: str, *, by: str | None = None, key: str | None = None, **options: Any
) -> Promise:
    """Create a request that stands for a day. `by` is who asks, which here is who started it."""
    options = {"prompt": "Well?", **options, "escalate": escalations_of(options.get("escalate", {}))}
    question = msgspec.json.decode(msgspec.json.encode(Question(**options)), type=Question)
    deadline = client.now() + 24 * HOUR_MS
    moved = {} if question.extend is None else {DEADLINE_TAG: str(deadline)}
    data = {
        "id": id,
        "timeoutAt": deadline + (question.extend or 0),
        "param": encode(msgspec.to_builtins(question), {"hitl:by": by} if by else None),
        "tags": {
            **question.tags(key=key, workflow=None),
            **moved,
            "resonate:external": "true",
            "resonate:scope": "global",
        },
    }
    return as_promise(client.call_many([ProtocolRequest("promise.create", data)])[0])
