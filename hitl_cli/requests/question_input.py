"""A request as a program puts it: over HTTP, or from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.durations import parse_duration
from hitl_cli.requests.question import Digest, OnDeadline, Priority, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class QuestionInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request to create. `deadline` is a duration, such as `90s`, `1h30m` or `30d`.

    `id` names the request: the same id and content again give the same request. `to` are the assignees;
    without any, anyone may answer. `on_deadline` may be an object `{"value": …}`: approve with this value.
    `digest` is the SHA-256 of the content that the request is about, `arguments` what will be done after an
    approval, and `valid_for` (a duration) how long the approval may be used.
    """

    prompt: str
    id: str | None = None
    details: Json = None
    arguments: Json = None
    form: dict[str, Any] | bool | None = None
    choices: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    approvals: Annotated[int, Meta(ge=1, le=1000)] = 1
    allow_self: bool = True
    deadline: str = "365d"
    valid_for: str | None = None
    on_deadline: OnDeadline = "expire"
    key: str | None = None
    priority: Priority = "normal"
    tags: dict[str, str] = {}
    link: str | None = None
    digest: Digest | None = None

    @property
    def deadline_ms(self) -> int:
        """The time until the deadline, in ms. Raises BadInput."""
        return parse_duration(self.deadline)

    def question(self, as_asked: Callable[[Sequence[str]], tuple[str, ...]] = tuple) -> Question:
        """Return the question; `as_asked` writes names as a request stores them."""
        return Question(
            prompt=self.prompt,
            details=self.details,
            arguments=self.arguments,
            form=self.form,
            choices=self.choices,
            to=as_asked(self.to),
            approvals=self.approvals,
            allow_self=self.allow_self,
            on_deadline=self.on_deadline,
            valid_for=None if self.valid_for is None else parse_duration(self.valid_for),
            priority=self.priority,
            link=self.link,
            digest=self.digest,
        )
