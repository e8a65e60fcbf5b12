"""What a request asks, of whom, and what it means when nobody answers (docs/reference/wire.md).

Pure: from a promise's param and tags to a Question and back, for those who ask and those who show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hitl_cli.client.tags import REQUEST_TAG, RESERVED_TAGS
from hitl_cli.client.wire import Json, decode_as, headers_of
from hitl_cli.errors import BadInput, TooLarge
from hitl_cli.format.names import folded, normalized
from hitl_cli.requests.decision_input import check_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.client.wire import Promise
    from hitl_cli.engine.records import PromiseState
    from hitl_cli.forms import Field

type Priority = Literal["low", "normal", "high", "urgent"]
type Outcome = Literal["approved", "rejected", "expired", "canceled"]
type Duration = Annotated[int, Meta(ge=1, le=2**53)]
"""Milliseconds."""

FOR_EVER = 2**63

PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")
"""The most pressing first."""

OUTCOMES: dict[PromiseState, Outcome] = {
    "resolved": "approved",
    "rejected": "rejected",
    "rejected_canceled": "canceled",
    "rejected_timedout": "expired",
}
"""What came of a request, by the state of its promise. `expired` holds whatever the deadline means."""

GROUP = "group:"
"""What a name begins with that stands for a group of people."""

KEY_TAG = "hitl:key"
QUORUM_TAG = "hitl:quorum"
WORKFLOW_TAG = "hitl:workflow"
ASSIGNEE_TAG = "hitl:assignee:"

REPLACED_BY = "hitl:replaced-by"
"""The header of a canceled request that names the one which was put in its place."""

REPLACED_SINCE = "hitl:replaced-since"
"""Its header that says since when the worker runs whose code asks that, in ms since the epoch."""

MAX_QUESTION_BYTES = 1_000_000
"""The most that a question may have, as JSON. It is no place to keep files: give a link, or a digest."""


class Escalation(Struct, frozen=True, kw_only=True):
    """Who may answer too, `after` so many ms."""

    after: Duration
    to: tuple[str, ...]


class Instead(Struct, frozen=True, kw_only=True):
    """What counts as approved with when the deadline passes."""

    value: Json


class Digest(Struct, frozen=True, kw_only=True):
    """The content that is asked about: its SHA-256 in hex, and the name of the file that had it."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    file: str


class Code(Struct, frozen=True, kw_only=True):
    """The code that asked: the digest of its app, the version of hitl, and since when its process runs.

    `since` is in ms since the epoch.
    """

    digest: str
    hitl: str
    since: int


class Refused(Struct, frozen=True, kw_only=True):
    """An answer that did not fit, so that the question was put again.

    `at` is ms since the epoch; `times` counts such answers.
    """

    why: str
    data: Json
    by: str | None
    at: int
    times: int = 1


class Question(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a request asks: the data of its promise's param. Durations are ms.

    `replaces` is the id of the request in whose place it was put, because the code had changed, or because
    the answer was `refused`.
    """

    prompt: str
    details: Json = None
    form: dict[str, Any] | bool | None = None
    choices: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    approvals: Annotated[int, Meta(ge=1, le=1000)] = 1
    allow_self: bool = True
    on_deadline: Literal["expire", "approve", "reject"] | Instead = "expire"
    remind: Duration | None = None
    escalate: tuple[Escalation, ...] = ()
    priority: Priority = "normal"
    link: Annotated[str, Meta(pattern="^https?://[^\\s]+$")] | None = None
    digest: Digest | None = None
    code: Code | None = None
    replaces: str | None = None
    refused: Refused | None = None

    @property
    def title(self) -> str:
        """The first line of the prompt that says something, without the marks of a heading."""
        lines = (line.strip().lstrip("#").strip() for line in self.prompt.splitlines())
        return next((line for line in lines if line), "")

    def asked_at(self, age: int) -> tuple[str, ...]:
        """Return who may answer `age` ms after it was asked; nobody named means anybody."""
        if not self.to:
            return ()
        late = (name for step in self.escalate if step.after <= age for name in step.to)
        return tuple(dict.fromkeys([*self.to, *late]))

    @property
    def everyone(self) -> tuple[str, ...]:
        """All who may answer now or later; nobody named means anybody."""
        return self.asked_at(FOR_EVER)

    def tags(self, *, key: str | None, workflow: str | None) -> dict[str, str]:
        """Return the tags by which the request is found."""
        tags = {REQUEST_TAG: "1"} | {f"{ASSIGNEE_TAG}{name}": "1" for name in self.everyone}
        tags |= {KEY_TAG: key} if key else {}
        tags |= {WORKFLOW_TAG: workflow} if workflow else {}
        return tags | ({QUORUM_TAG: "1"} if self.approvals > 1 else {})


_question = msgspec.json.Decoder(Question)
"""Made here, so that no two threads inspect the type at once: msgspec would crash."""

PLAIN = Question(prompt="")
"""What a promise asks that says nothing: a yes or a no, of anybody."""

UNREADABLE = "(a request that cannot be read)"


def fields_of(question: Question) -> list[Field]:
    """Return what a person fills in."""
    if question.form is None:
        return []
    from hitl_cli.forms import fields

    return fields(question.form)


def sensible(question: Question) -> Question:
    """Return the question as whoever is asked will read it. Raises BadInput if it makes no sense."""
    try:
        read = _question.decode(msgspec.json.encode(question))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise not_askable(f"{error}.") from error
    late = tuple(Escalation(after=step.after, to=_named_once(step.to)) for step in read.escalate)
    read = msgspec.structs.replace(read, to=_named_once(read.to), escalate=late)
    if not read.title:
        raise not_askable("the prompt says nothing.")
    if len(set(read.choices)) < len(read.choices) or not all(choice.strip() for choice in read.choices):
        raise not_askable("the choices must be different, and none may be empty.")
    if read.escalate and not read.to:
        raise not_askable("to escalate it, say whom it is for first, by `to`.")
    names = read.everyone
    for name in names:
        if not folded(name).removeprefix(GROUP).strip():
            raise not_askable(f"{name!r} names nobody.")
    groups = any(folded(name).startswith(GROUP) for name in names)
    if names and not groups and len(names) < read.approvals:
        raise not_askable(
            f"{read.approvals} must approve, but only {len(names)} may answer. A group is named group:NAME."
        )
    _check_deadline(read)
    return read


def _named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names as they are stored, without those that mean the same as an earlier one."""
    every: dict[str, str] = {}
    for name in names:
        every.setdefault(folded(name), normalized(name))
    return tuple(every.values())


def sensible_alone(question: Question) -> Question:
    """Return a question that no workflow asks, as `sensible` does, and check its size and data too.

    `ask` in a workflow does not: a run that asked such a question before must not fail when it is replayed.
    Raises BadInput.
    """
    if question.form is not None:
        from hitl_cli.forms import schema_of

        schema_of(question.form)
    read = sensible(question)
    asked = msgspec.to_builtins(read)
    size = len(msgspec.json.encode(asked))
    if size > MAX_QUESTION_BYTES:
        raise TooLarge(
            f"the question is {size:,} bytes of JSON; it may have {MAX_QUESTION_BYTES:,}. Give a --link"
            " instead."
        )
    check_data(asked)
    approves = read.on_deadline not in ("expire", "reject")
    if read.form is not None and approves and (read.choices or read.on_deadline == "approve"):
        raise BadInput(
            "the form asks for data, and nobody would give it: let the deadline mean no.", code="bad-question"
        )
    return read


def _check_deadline(question: Question) -> None:
    """Raise BadInput if what the deadline is to mean is no answer to the question."""
    if question.on_deadline in ("expire", "reject"):
        return
    value = question.on_deadline.value if isinstance(question.on_deadline, Instead) else None
    if question.choices:
        if value not in question.choices:
            known = ", ".join(repr(choice) for choice in question.choices)
            raise not_askable(f'on_deadline must be "expire", "reject" or one of {known}.')
    elif question.form is not None and isinstance(question.on_deadline, Instead):
        from hitl_cli.forms import check

        check(question.form, value)


def found_by(
    question: Question, key: str | None, function: str | None, own: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of a request, its author's among them. Raises BadInput for one that is not theirs."""
    if key is not None and not (isinstance(key, str) and key.strip()):
        raise not_askable(f"{key!r} is no name by which it could be answered.")
    try:
        theirs = msgspec.convert(own, dict[str, str])
    except msgspec.ValidationError as error:
        raise not_askable(f"tags are texts with names: {error}.") from error
    for name in theirs:
        if name.startswith(RESERVED_TAGS):
            raise BadInput(
                f"the tag {name!r} is not yours to give: another beginning, please.", code="bad-name"
            )
    return {**theirs, **question.tags(key=key, workflow=function)}


def not_askable(why: str) -> BadInput:
    """Return the error that says why a request cannot be asked like this.

    It is BadInput itself: a run that fails by it keeps the name of the class.
    """
    return BadInput(f"this cannot be asked: {why}", code="bad-question")


def question_of(promise: Promise) -> Question | None:
    """Return what a promise asks: PLAIN where it does not say, None where that cannot be read."""
    if promise.tags.get(REQUEST_TAG) != "1":
        return PLAIN
    return decode_as(promise.param, Question)


def prompt_of(promise: Promise) -> str | None:
    """Return what is asked on one line; None where the promise does not say."""
    question = question_of(promise)
    if question is PLAIN:
        return None
    return UNREADABLE if question is None else question.title


def asker_of(promise: Promise, run: Promise | None) -> str | None:
    """Return who asks, or where the request does not say, who started its run; None if nobody knows."""
    asker = headers_of(promise.param).get("hitl:by")
    return asker or (headers_of(run.param).get("hitl:by") if run is not None else None)


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags of a promise that its author gave."""
    return {key: value for key, value in tags.items() if not key.startswith(RESERVED_TAGS)}


def replaced_by(promise: Promise, others: Iterable[Promise] = ()) -> str | None:
    """Return the id of the request that was put in the place of this one: one of `others`, if any."""
    named = headers_of(promise.value).get(REPLACED_BY)
    if named is not None:
        return named
    requests = (other for other in others if other.tags.get(REQUEST_TAG) == "1")
    return next((other.id for other in requests if replaces(other) == promise.id), None)


def replaces(promise: Promise) -> str | None:
    """Return the id of the request in whose place this one was put, if that is so."""
    question = question_of(promise)
    return None if question is None else question.replaces


def outcome_of(promise: Promise) -> Outcome | None:
    """Return what came of a request: what its deadline means, where that has passed; None while it waits."""
    question = question_of(promise) if promise.state == "rejected_timedout" else None
    if question is None or question.on_deadline == "expire":
        return OUTCOMES.get(promise.state)
    return "rejected" if question.on_deadline == "reject" else "approved"
