"""The input for a request from a program: over HTTP, or from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.validation import about
from hitl_cli.inspected import inspected
from hitl_cli.requests.demand import Demand, names_of
from hitl_cli.requests.question import (
    TOOL_TAG,
    ApprovalCount,
    ApprovalsBy,
    Digest,
    Offer,
    OnDeadline,
    Priority,
    ProofKind,
    Question,
    Reassign,
    not_askable,
    quorum_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hitl_cli.format.durations import Duration


class ApprovalOptions(TypedDict, total=False):
    """The options of every request for approval, of a tool call or of a question."""

    to: str | Sequence[str]
    reassign: Reassign | None
    approvals: int | Mapping[str, int]
    allow_self: bool
    deadline: Duration | None
    extend: Duration | None
    valid_for: Duration | None
    once: bool
    proof: ProofKind | None
    priority: Priority
    tags: Mapping[str, str] | None
    link: str | None
    private: Sequence[str]


class QuestionOptions(ApprovalOptions, total=False):
    """The options that `ask` and `Hitl.ask` share, besides the prompt and the form."""

    details: Any
    arguments: Any
    editable: Any
    choices: Sequence[str]
    on_deadline: Any
    key: str | None
    digest: Digest | None
    offer: Mapping[str, Any] | None


class OfferInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A standing rule that may be made with an approval: its arguments, and for how long at most."""

    where: dict[str, Json]
    longest: str = "8h"


def offer_of(given: OfferInput | Mapping[str, Any] | None) -> Offer | None:
    """Return the offered rule. Raises BadInput."""
    if given is None:
        return None
    with about("offer"):
        try:
            read = msgspec.convert(given, inspected(OfferInput))
        except msgspec.ValidationError as error:
            raise not_askable(f"offer: {error}.", "offer") from error
        return Offer(where=read.where, longest=parse_duration(read.longest))


type Approvals = Annotated[
    ApprovalCount | ApprovalsBy,
    Meta(description="Approvals required: a number, or a number per group. A person counts once."),
]


def _named_by(
    as_asked: Callable[[Sequence[str]], tuple[str, ...]], approvals: int | ApprovalsBy
) -> int | ApprovalsBy:
    """Return approvals with the names of groups as a request stores them."""
    if isinstance(approvals, int):
        return approvals
    return dict(zip(as_asked(list(approvals)), approvals.values(), strict=True))


class QuestionInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request to create."""

    prompt: Annotated[str, Meta(description="The question, in Markdown.")]
    id: Annotated[
        str | None,
        Meta(description="Its id. The same id and content again return the same request."),
    ] = None
    details: Annotated[
        Json, Meta(description="Shown as a table; typed parts, such as a diff, are drawn.")
    ] = None
    arguments: Annotated[Json, Meta(description="What will be done after an approval.")] = None
    editable: Annotated[
        dict[str, Any] | bool | None,
        Meta(
            description="Let approvers change the arguments: a JSON Schema of what is allowed, or true (the"
            " same shape)."
        ),
    ] = None
    form: Annotated[
        dict[str, Any] | bool | None, Meta(description="JSON Schema of the data of an approval.")
    ] = None
    choices: Annotated[tuple[str, ...], Meta(description="Answers to offer instead of Approve.")] = ()
    to: Annotated[
        tuple[str, ...],
        Meta(description="Assignees: people, and groups as group:NAME. Without any, anyone may answer."),
    ] = ()
    reassign: Annotated[
        Reassign | None,
        Meta(description="Who may assign it to others; `assignees` includes the asker. Default: nobody."),
    ] = None
    approvals: Approvals = 1
    allow_self: Annotated[bool, Meta(description="Whether the person who asks may answer.")] = True
    deadline: Annotated[str, Meta(description="Time allowed for the answer, a duration.")] = "365d"
    extend: Annotated[
        str | None, Meta(description="By how much its deadline can be moved in all, a duration.")
    ] = None
    valid_for: Annotated[
        str | None, Meta(description="How long an approval is valid, a duration. Default: without limit.")
    ] = None
    once: Annotated[bool, Meta(description="Whether an approval may be used only once.")] = False
    proof: Annotated[
        ProofKind | None,
        Meta(description="The required signature: by SSH key or passkey (`signed`), or by `passkey`."),
    ] = None
    on_deadline: Annotated[
        OnDeadline, Meta(description='The outcome at the deadline; {"value": …} approves with this data.')
    ] = "expire"
    key: Annotated[str | None, Meta(description="Another name for the request.")] = None
    priority: Priority = "normal"
    tags: Annotated[dict[str, str], Meta(description="Names and values, for filters.")] = {}
    link: Annotated[str | None, Meta(description="A URL to show.")] = None
    digest: Annotated[
        Digest | None, Meta(description="SHA-256 and name of the file that the request is about.")
    ] = None
    callback: Annotated[str | None, Meta(description="A URL that gets the decision.")] = None
    private: Annotated[
        tuple[str, ...],
        Meta(
            description="Parts that only assignees, auditors and you see, as `details.iban` or `form.salary`."
        ),
    ] = ()
    offer: Annotated[
        OfferInput | None, Meta(description="Standing rule that an approver may also create.")
    ] = None

    @property
    def deadline_ms(self) -> int:
        """The time until the deadline, in ms. Raises BadInput."""
        with about("deadline"):
            return parse_duration(self.deadline)

    @property
    def valid_for_ms(self) -> int | None:
        """How long an approval may be used, in ms. Raises BadInput."""
        with about("valid_for"):
            return None if self.valid_for is None else parse_duration(self.valid_for)

    @property
    def extend_ms(self) -> int | None:
        """How much longer its deadline can be moved, in ms. Raises BadInput."""
        with about("extend"):
            return None if self.extend is None else parse_duration(self.extend)

    @property
    def names(self) -> list[str]:
        """Its names for a policy."""
        return names_of(self.tags.get(TOOL_TAG), self.key, self.id)

    def question(self, as_asked: Callable[[Sequence[str]], tuple[str, ...]] = tuple) -> Question:
        """Return the question; `as_asked` writes names as a request stores them."""
        given = {
            "to": as_asked(self.to),
            "extend": self.extend_ms,
            "valid_for": self.valid_for_ms,
            "offer": offer_of(self.offer),
        }
        quorum = quorum_of(_named_by(as_asked, self.approvals))
        return Question(**{name: getattr(self, name) for name in ASKED} | given | quorum)


ASKED = tuple(name for name in QuestionInput.__struct_fields__ if name in Question.__struct_fields__)
"""The fields of a new request that its question has, too."""


def as_used(asked: QuestionInput | Demand | None) -> tuple[Question | Demand | None, list[str]]:
    """Return the caller's question, or demands, and the names of the request for a policy."""
    return (asked.question(), asked.names) if isinstance(asked, QuestionInput) else (asked, [])
