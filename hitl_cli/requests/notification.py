"""Notifications: one promise under a request for each occasion to notify its assignees.

Each process that sees the occasion creates the promise under the same id, so it exists once. A worker with
contacts delivers it (hitl_cli/notify/deliver.py). No run waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import CALL_BACK, NOTICE_TAG, TARGET_TAG, TELL, lineage
from hitl_cli.client.wire import Call, Json, child_id, encode, expired_at
from hitl_cli.requests.question import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import AnyPromise, Promise

type Occasion = Literal[
    "asked",
    "reminder",
    "escalated",
    "assigned",
    "deputy",
    "asked-back",
    "answered-back",
    "approved",
    "rejected",
    "expired",
    "canceled",
    "callback",
    "digest",
    "test",
    "sign-in",
]
"""Why people are notified. `deputy` is for a person who became a deputy after the request was asked.
`asked-back` is for the asker, whose answer (`answered-back`) is for the assignees. `approved` to `canceled`
are outcomes, for the assignees who did not decide. A `callback` is for a program: it waits for the decision,
and posts it to the URL of the request.  A `sign-in` notification has no items: its `inbox` is the link that
signs in. """

NOTIFICATION_LIFE_MS = 2 * 86_400_000
"""How long delivery of an outcome is retried; later it is of no use. A notification of a pending request is
retried for as long as the request can be answered."""


class Notification(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification to the assignees of a request about one occasion.

    `names` are the assignees, as in the request; if empty, those of `anybody` in the settings. `number`
    distinguishes repeated occasions. `text` is the question that `by` asked back, or the answer. For the
    occasion `deputy`, `names` is the deputy.
    """

    request: str
    occasion: Occasion
    names: tuple[str, ...] = ()
    number: int | None = None
    text: str | None = None
    by: str | None = None

    @property
    def id(self) -> str:
        """The id of its promise."""
        number = "" if self.number is None else f"-{self.number}"
        return child_id(self.request, f"t-{self.occasion}{number}")

    @property
    def call(self) -> dict[str, Json]:
        """The call that delivers it."""
        function = CALL_BACK if self.occasion == "callback" else TELL
        call: dict[str, Json] = msgspec.to_builtins(Call(func=function, args=(self,)))
        return call

    def tags(self, origin: str, target: str) -> dict[str, str]:
        """Return the tags of its promise, with which any worker of `target` executes it."""
        place = lineage(self.id, scope="global", origin=origin, parent=self.request)
        return {NOTICE_TAG: self.request, TARGET_TAG: target} | place

    def create(self, target: str, timeout_at: int, origin: str) -> ProtocolRequest:
        """Return the promise.create of it; `origin` is the run of the request."""
        data = {"id": self.id, "timeoutAt": timeout_at, "param": encode(self.call)}
        return ProtocolRequest("promise.create", data | {"tags": self.tags(origin, target)})


def callback_of(request: str) -> Notification:
    """Return the notification that posts the decision on a request to its callback."""
    return Notification(request=request, occasion="callback")


def callback_ends_at(promise: Promise) -> int:
    """Return until when a callback waits for the decision and is retried, in ms since the epoch."""
    return promise.timeout_at + NOTIFICATION_LIFE_MS


def outcome_notification(request: AnyPromise, names: Iterable[str]) -> Notification:
    """Return the notification of the outcome of a settled request."""
    headers = (request.value.headers if request.value is not None else None) or {}
    ended = expired_at(request.state, request.timeout_at, headers) is not None
    occasion: Occasion = "expired" if ended else OUTCOMES[request.state]
    return Notification(request=request.id, occasion=occasion, names=tuple(names))
