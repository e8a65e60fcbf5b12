"""What is said to a person: about one request, or about several at once. No channel knows more than this."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hitl_cli.errors import HitlError
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.requests.notification import Occasion
from hitl_cli.requests.question import Question

KEY_DIGITS = 32


class MessageItem(Struct, frozen=True, kw_only=True):
    """A request that a message is about. Instants are ms since the epoch.

    `url` is where this very person answers it: a signed link, or for a group the page where one signs in.
    `by`, `reason` and `choice` are of the decision, once there is one.
    """

    request: str
    workflow: str
    title: str
    question: Question
    asker: str | None = None
    asked_at: int
    deadline: int
    url: str
    outcome: Literal["approved", "rejected", "expired", "canceled"] | None = None
    by: str | None = None
    reason: str | None = None
    choice: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """What is said to one person, or to a group where it is reached together.

    `id` is the same each time that the same is said to the same person: by it a receiver knows a message
    that it was sent twice. `thread` is what belongs together: the request.
    """

    id: str
    occasion: Occasion
    to: str
    subject: str
    thread: str
    items: tuple[MessageItem, ...] = ()
    inbox: str
    """The URL of the page with all that waits."""

    at: int

    @property
    def key(self) -> str:
        """The id in a shape that fits any header: whatever a request's own id looks like."""
        return stable_id(self.id, KEY_DIGITS)

    @property
    def thread_key(self) -> str:
        """What all messages of a thread share, in the same shape."""
        return stable_id(self.thread, KEY_DIGITS)


class DeliveryFailed(HitlError):
    """A channel did not take a message. `for_good` tells whether it would not later either.

    `after_ms` is for how long the receiver wants to be left alone; None where it does not say.
    """

    code = "delivery-failed"

    def __init__(self, reason: str, *, for_good: bool = False, after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.for_good = for_good
        self.after_ms = after_ms
