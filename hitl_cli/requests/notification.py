"""Notifications: a promise under a request, one for each occasion, of which assignees are to be notified.

Each process that sees the occasion creates it under the same id, and a worker that can reach people carries
it out (hitl_cli/notify/deliver.py). Nothing waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import NOTICE_TAG, TARGET_TAG, TELL, lineage
from hitl_cli.client.wire import Call, Json, child_id, encode
from hitl_cli.requests.question import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.engine.records import PromiseState

type Occasion = Literal[
    "asked",
    "reminder",
    "escalated",
    "approved",
    "rejected",
    "expired",
    "canceled",
    "digest",
    "test",
    "sign-in",
]
"""Why something is said. `approved` to `canceled` are what came of it, for others who were asked.

What brings a link by which one signs in (`sign-in`) has no items: the link is its `inbox`.
"""

NOTIFICATION_LIFE_MS = 2 * 86_400_000
"""How long it is tried to tell of what came of a request: after that it is no news. While it waits, it is
tried for as long as it can be answered."""


class Notification(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a request's people are to be told of one occasion.

    `names` are those who are asked, as a request has them; nobody means those whom the settings name for
    what anybody may answer. `number` counts the occasions of a kind that can come again.
    """

    request: str
    occasion: Occasion
    names: tuple[str, ...] = ()
    number: int | None = None

    @property
    def id(self) -> str:
        """The id of its promise."""
        number = "" if self.number is None else f"-{self.number}"
        return child_id(self.request, f"t-{self.occasion}{number}")

    @property
    def call(self) -> dict[str, Json]:
        """The call that carries it out."""
        call: dict[str, Json] = msgspec.to_builtins(Call(func=TELL, args=(self,)))
        return call

    def tags(self, origin: str, target: str) -> dict[str, str]:
        """Return its promise's tags: those of a call of another function, by any worker of `target`."""
        place = lineage(self.id, scope="global", origin=origin, parent=self.request)
        return {NOTICE_TAG: self.request, TARGET_TAG: target} | place

    def create(self, target: str, timeout_at: int, origin: str) -> ProtocolRequest:
        """Return the promise.create that it is; `origin` is the run of its request."""
        data = {"id": self.id, "timeoutAt": timeout_at, "param": encode(self.call)}
        return ProtocolRequest("promise.create", data | {"tags": self.tags(origin, target)})


def outcome_notification(request: str, state: PromiseState, names: Iterable[str]) -> Notification:
    """Return the notice of what came of a settled request."""
    return Notification(request=request, occasion=OUTCOMES[state], names=tuple(names))
