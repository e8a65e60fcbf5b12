"""Messages to people, about one or several requests. Channels know nothing else."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hitl_cli.errors import HitlError
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.requests.editable import Change
from hitl_cli.requests.notification import Occasion
from hitl_cli.requests.question import Question

KEY_DIGITS = 32


class AskedBack(Struct, frozen=True, kw_only=True):
    """A question of an assignee to the asker, or its answer, and who wrote it.

    `to_asker` says that the message is to the asker, who answers and does not decide.
    """

    by: str | None
    text: str
    to_asker: bool


class MessageItem(Struct, frozen=True, kw_only=True):
    """A request in a message. Instants are ms since the epoch.

    `url` is where this person answers it: a signed link, or for a group the page that requires signing in.
    `answer_url` is where a program posts their answer, if there is such a link.
    `by`, `reason`, `choice` and `changes` (of the arguments) are from the decision, once there is one, and
    `answer`: the choice, or the yes or no.
    `asked_back` is what an assignee asked, or what the asker answered. `deputy_for` are the assignees who are
    away and for whom this person answers.
    """

    request: str
    workflow: str
    title: str
    question: Question
    asker: str | None = None
    asked_at: int
    deadline: int
    url: str
    answer_url: str | None = None
    outcome: Literal["approved", "rejected", "expired", "canceled"] | None = None
    by: str | None = None
    reason: str | None = None
    choice: str | None = None
    answer: str | None = None
    changes: tuple[Change, ...] = ()
    asked_back: AskedBack | None = None
    deputy_for: tuple[str, ...] = ()


class Message(Struct, frozen=True, kw_only=True):
    """A message to a person, or to a group with a contact of its own.

    `id` is the same each time the message is sent, so that receivers can drop duplicates. `thread` groups the
    messages about one request.
    """

    id: str
    occasion: Occasion
    to: str
    subject: str
    thread: str
    items: tuple[MessageItem, ...] = ()
    inbox: str
    """The URL of the inbox."""

    at: int

    @property
    def key(self) -> str:
        """A hash of the id, which is safe in any header."""
        return stable_id(self.id, KEY_DIGITS)

    @property
    def thread_key(self) -> str:
        """A hash of the thread, which is safe in any header."""
        return stable_id(self.thread, KEY_DIGITS)

    @property
    def shown(self) -> tuple[str, ...]:
        """The ids of the requests in it."""
        return tuple(item.request for item in self.items)


class DecisionMessage(Struct, frozen=True, kw_only=True):
    """The decision on a request, for its callback: the JSON document, and the id of the message."""

    key: str
    request: str
    body: bytes

    @property
    def shown(self) -> tuple[str, ...]:
        """The ids of the requests in it."""
        return (self.request,)


class DeliveryFailed(HitlError):
    """A channel did not accept a message. `for_good` says that the failure is permanent.

    `after_ms` is how long the receiver wants no further attempts; None if it does not say.
    """

    code = "delivery-failed"

    def __init__(self, reason: str, *, for_good: bool = False, after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.for_good = for_good
        self.after_ms = after_ms
