"""`Question`: the content of a request, its assignees and its options (docs/reference/wire.md).

No I/O: it converts between a promise and a Question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from hitl_cli.client.tags import EXTEND_TAG, REQUEST_TAG, RESERVED_TAGS
from hitl_cli.client.wire import Json, decode_as, headers_of
from hitl_cli.errors import BadInput, TooLarge
from hitl_cli.format.names import folded, normalized
from hitl_cli.format.validation import about, in_words, located
from hitl_cli.inspected import inspected
from hitl_cli.requests.decision_input import check_data
from hitl_cli.requests.editable import SMALL, answer_form, surely_fits
from hitl_cli.requests.parts import wrong_part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import Promise
    from hitl_cli.engine.records import PromiseState
    from hitl_cli.forms import Field

type Priority = Literal["low", "normal", "high", "urgent"]
type Outcome = Literal["approved", "rejected", "expired", "canceled"]
type Duration = Annotated[int, Meta(ge=1, le=2**53)]
"""Milliseconds."""

FOR_EVER = 2**63

PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")
"""Most urgent first."""

OUTCOMES: dict[PromiseState, Outcome] = {
    "resolved": "approved",
    "rejected": "rejected",
    "rejected_canceled": "canceled",
    "rejected_timedout": "expired",
}
"""The outcome of a request by the state of its promise. `expired` whatever `on_deadline` is."""

GROUP = "group:"
"""Prefix of a name that is a group's."""

KEY_TAG = "hitl:key"
QUORUM_TAG = "hitl:quorum"
AMENDABLE_TAG = "hitl:amendable"
WORKFLOW_TAG = "hitl:workflow"
ASSIGNEE_TAG = "hitl:assignee:"
TOOL_TAG = "tool"
"""The author's tag that names the tool of an agent."""

REPLACED_BY = "hitl:replaced-by"
"""Header of a canceled request: the id of the request that replaces it."""

REPLACED_SINCE = "hitl:replaced-since"
"""Header of a canceled request: when the worker started that asks the new one, in ms since the epoch."""

MAX_QUESTION_BYTES = 1_000_000
"""Largest question, as JSON. For a file, give a link or a digest instead."""


MAX_APPROVALS = 1_000

type ApprovalCount = Annotated[int, Meta(ge=1, le=MAX_APPROVALS)]

type ApprovalsBy = dict[str, ApprovalCount]
"""How many approvals must be by members of a group, or by a person."""


class Escalation(Struct, frozen=True, kw_only=True):
    """Additional assignees, `after` this many ms."""

    after: Duration
    to: tuple[str, ...]


class Instead(Struct, frozen=True, kw_only=True):
    """The data of an approval by the deadline."""

    value: Json


OWN_PREFIX = "ask-"
"""Prefix of a request's id if it is generated, or chosen by an actor who may not start runs."""

type ProofKind = Literal["signed", "passkey"]
"""The required proof of a decision: any signature of the person who decides, or one by a passkey."""

type Reassign = Literal["nobody", "assignees", "anyone"]
"""Who may assign a request to others while it is open. `assignees` includes the asker."""

type OnDeadline = Literal["expire", "approve", "reject"] | Instead
"""The outcome when the deadline passes."""


class Digest(Struct, frozen=True, kw_only=True):
    """The content that a request is about: its SHA-256 in hex, and its file's name. `digest_of` makes one."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    file: str


class Offer(Struct, frozen=True, kw_only=True):
    """The standing rule that may be made with an approval: what it matches, and for how long at most."""

    where: dict[str, Json]
    longest: Duration


class Code(Struct, frozen=True, kw_only=True):
    """The code that asked: the digest of its app, hitl's version, and the start of the process.

    `since` is in ms since the epoch.
    """

    digest: str
    hitl: str
    since: int


class Refused(Struct, frozen=True, kw_only=True):
    """An answer that did not fit the form. The question was asked again because of it.

    `at` is in ms since the epoch; `times` counts refused answers so far.
    """

    why: str
    data: Json
    by: str | None
    at: int
    times: int = 1


class Question(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """The content of a request: the data of its promise. Durations are in ms; `ask` describes the fields.

    `arguments_digest` is the SHA-256 of the canonical JSON of the `arguments`. `policy` has the patterns of
    the settings that demanded more than its author. `approvals_by` is how many of the `approvals` must be by
    members of a group (the key), or by a person. `granted` are those of `reassign` and `extend` that come
    from the settings, because its author said nothing. `replaces` is the id of the request that it replaces,
    because the code was changed or the answer was `refused`. `callback` is the URL that gets the decision,
    `private` has the paths of parts that only the assignees see (hitl_cli/requests/private.py).
    """

    prompt: str
    details: Json = None
    arguments: Json = None
    arguments_digest: str | None = None
    editable: dict[str, Any] | bool | None = None
    form: dict[str, Any] | bool | None = None
    choices: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    reassign: Reassign | None = None
    approvals: ApprovalCount = 1
    approvals_by: ApprovalsBy = {}
    allow_self: bool = True
    on_deadline: OnDeadline = "expire"
    valid_for: Duration | None = None
    once: bool = False
    proof: ProofKind | None = None
    policy: tuple[str, ...] = ()
    extend: Duration | None = None
    granted: tuple[Literal["reassign", "extend"], ...] = ()
    remind: Duration | None = None
    escalate: tuple[Escalation, ...] = ()
    priority: Priority = "normal"
    link: Annotated[str, Meta(pattern="^https?://[^\\s]+$")] | None = None
    digest: Digest | None = None
    callback: str | None = None
    offer: Offer | None = None
    code: Code | None = None
    replaces: str | None = None
    refused: Refused | None = None
    private: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The first line of the prompt with text in it, without the marks of a heading."""
        lines = (line.strip().lstrip("#").strip() for line in self.prompt.splitlines())
        return next((line for line in lines if line), "")

    @property
    def several(self) -> bool:
        """Whether people vote on it: several must approve, or members of certain groups."""
        return self.approvals > 1 or bool(self.approvals_by)

    @property
    def deadline_approves(self) -> bool:
        """Whether the deadline approves it."""
        return self.on_deadline == "approve" or isinstance(self.on_deadline, Instead)

    @property
    def can_be_amended(self) -> bool:
        """Whether it may have amendments (hitl_cli/requests/amendments.py), so that they must be read."""
        return self.can_be_assigned or self.extend is not None

    @property
    def can_be_assigned(self) -> bool:
        """Whether anyone may assign it to others."""
        return self.reassign in ("assignees", "anyone")

    @property
    def takes_deputies(self) -> bool:
        """Whether the deputies of absent assignees may answer. Its author can forbid it."""
        return self.reassign != "nobody"

    def asked_at(self, age: int) -> tuple[str, ...]:
        """Return who may answer `age` ms after the request was created; empty means anyone."""
        if not self.to:
            return ()
        late = (name for step in self.escalate if step.after <= age for name in step.to)
        return tuple(dict.fromkeys([*self.to, *late, *self.approvals_by]))

    @property
    def everyone(self) -> tuple[str, ...]:
        """All who may answer now or later; empty means anyone."""
        return self.asked_at(FOR_EVER)

    @property
    def besides(self) -> tuple[str, ...]:
        """The people and groups for the approvals without a required group; empty means anyone."""
        return (*self.to, *(name for step in self.escalate for name in step.to)) if self.to else ()

    def tags(self, *, key: str | None, workflow: str | None) -> dict[str, str]:
        """Return the tags that the request is found by."""
        tags = {REQUEST_TAG: "1"} | {f"{ASSIGNEE_TAG}{name}": "1" for name in self.everyone}
        tags |= {KEY_TAG: key} if key else {}
        tags |= {WORKFLOW_TAG: workflow} if workflow else {}
        tags |= {AMENDABLE_TAG: "1"} if self.can_be_amended else {}
        tags |= {EXTEND_TAG: "1"} if self.extend is not None else {}
        return tags | ({QUORUM_TAG: "1"} if self.several else {})


PLAIN = Question(prompt="")
"""The question of a promise that has none: a yes or a no, from anyone."""

UNREADABLE = "(a request that cannot be read)"


def fields_of(question: Question) -> list[Field]:
    """Return the fields of the form, or of the arguments that can be changed."""
    form = answer_form(question)
    if form is None:
        return []
    from hitl_cli.forms import fields

    return fields(form)


def sensible(question: Question) -> Question:
    """Check a question, and return it as it will be read from the server. Raises BadInput."""
    try:
        read = msgspec.json.decode(msgspec.json.encode(question), type=inspected(Question))
    except msgspec.ValidationError as error:
        raise not_askable(f"{in_words(error, Question)}.", located(error)[0]) from error
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise not_askable(f"{error}.") from error
    late = tuple(Escalation(after=step.after, to=_named_once(step.to)) for step in read.escalate)
    read = _with_quorum(read)
    digest = None if read.arguments is None else _digest_of(question.arguments, read.arguments)
    read = replace(
        read,
        to=_named_once(read.to),
        escalate=late,
        arguments_digest=digest,
        editable=None if read.editable is False else read.editable,
    )
    if not read.title:
        raise not_askable("the prompt is empty.", "prompt")
    if len(set(read.choices)) < len(read.choices) or not all(choice.strip() for choice in read.choices):
        raise not_askable("choices must be different and not empty.", "choices")
    if read.escalate and not read.to:
        raise not_askable("escalate needs `to`.", "escalate")
    names = read.everyone
    for name in names:
        if not folded(name).removeprefix(GROUP).strip():
            raise not_askable(f"{name!r} is not a name.", "to")
    groups = any(folded(name).startswith(GROUP) for name in names)
    if names and not groups and len(names) < read.approvals:
        by = f" by the policy {read.policy[0]!r}" if read.policy else ""
        raise not_askable(
            f"approvals is {read.approvals}{by}, but only {len(names)} may answer."
            " Write a group as group:NAME.",
            "approvals",
        )
    if (wrong := wrong_part(read.details)) is not None:
        raise not_askable(f"{wrong}.", "details")
    _check_private(read)
    _check_editable(read)
    _check_deadline(read)
    return read


PRIVATE_PARTS = ("details", "arguments", "form")


def is_private_path(path: str) -> bool:
    """Whether a path leads into a part of a request that can be private."""
    part, *keys = path.split(".")
    return part in PRIVATE_PARTS and all(keys)


def _check_private(question: Question) -> None:
    """Raise BadInput for a private path that leads nowhere, or that everyone would see."""
    for path in question.private:
        part, *keys = path.split(".")
        if not is_private_path(path) or not _leads(part, getattr(question, part), keys):
            raise not_askable(
                f"private has {path!r}, which is not a part of it: write details, arguments or form, and a"
                " path into it, such as details.iban or form.salary.",
                "private",
            )
    if question.private and not question.to:
        raise not_askable(
            "private needs `to`: without assignees, everyone sees the whole request.", "private"
        )


def _leads(part: str, value: Json, keys: Sequence[str]) -> bool:
    """Whether a path into a part can lead to a value. A missing value may exist another time."""
    if part != "form" or not keys:
        return value is not None and _leads_into(value, keys)
    known = value.get("properties") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(known, dict):
        return value is not None
    return keys[0] in known or any(word in value for word in _ELSEWHERE)


def _leads_into(value: Json, keys: Sequence[str]) -> bool:
    if not keys or value is None:
        return True
    if isinstance(value, list):
        return not value or any(_leads_into(one, keys) for one in value)
    return isinstance(value, dict) and (keys[0] not in value or _leads_into(value[keys[0]], keys[1:]))


_ELSEWHERE = ("$ref", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "patternProperties")
"""Keywords of a form, besides its properties, that can define fields."""


def _with_quorum(question: Question) -> Question:
    """Return a question whose quorum can be counted: its groups are assignees. Raises BadInput."""
    by = {normalized(name): count for name, count in question.approvals_by.items()}
    if not by:
        return question
    if len(set(map(folded, by))) < len(question.approvals_by):
        raise not_askable("approvals names a group twice.", "approvals")
    for name, count in by.items():
        if count > 1 and not folded(name).startswith(GROUP):
            raise not_askable(
                f"{name} is one person, who cannot approve {count} times. Write a group as group:NAME.",
                "approvals",
            )
    return replace(
        question,
        to=question.to if question.to or question.policy else tuple(by),
        approvals=max(question.approvals, sum(by.values())),
        approvals_by=by,
    )


def quorum_of(approvals: int | Mapping[str, int]) -> dict[str, Any]:
    """Return the fields of a Question for `approvals`: a number, or a number for each group."""
    if isinstance(approvals, Mapping):
        counts = [count for count in approvals.values() if isinstance(count, int)]
        return {"approvals": max(sum(counts), 1), "approvals_by": dict(approvals)}
    return {"approvals": approvals}


def _check_editable(question: Question) -> None:
    """Raise BadInput if a person could not approve the arguments as they are, or with a change."""
    if question.editable is None:
        return
    if question.form is not None:
        raise not_askable(
            "form and editable cannot be combined: put the fields of the form into the arguments.", "editable"
        )
    if not isinstance(question.arguments, dict):
        raise not_askable("editable needs arguments that are an object.", "arguments")
    small = len(msgspec.json.encode((question.arguments, question.editable))) <= SMALL
    if small and surely_fits(question.editable, question.arguments):
        return
    from hitl_cli.forms import problems, unclear
    from hitl_cli.forms.messages import sentence

    form = answer_form(question)
    with about("editable"):
        wrong = problems(form, question.arguments)
        why = unclear(form) if isinstance(form, dict) and question.editable is not True else None
    if why is not None:
        raise not_askable(f"editable must say exactly what people may change: {sentence(why)}.", "editable")
    if wrong:
        raise not_askable(f"the arguments do not fit editable: {sentence(wrong[0])}.", "arguments")


def _digest_of(given: Any, arguments: Json) -> str:
    """Return the digest of arguments. Raises BadInput if they have no canonical JSON."""
    from hitl_cli.format.canonical_json import check_finite, json_digest

    try:
        check_finite(given)
        return json_digest(arguments)
    except ValueError as error:
        raise not_askable(
            f"arguments cannot be written as canonical JSON (RFC 8785): {error}.", "arguments"
        ) from error


def _named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names in their stored form, each person or group once."""
    every: dict[str, str] = {}
    for name in names:
        every.setdefault(folded(name), normalized(name))
    return tuple(every.values())


def sensible_alone(question: Question) -> Question:
    """Return the question of a standalone request, checked by `sensible` and also for its size and data.

    `ask` in a workflow does not check these: a run that has asked such a question must not fail when it is
    replayed. Raises BadInput.
    """
    if question.form is not None:
        from hitl_cli.forms import schema_of

        with about("form"):
            schema_of(question.form)
    read = sensible(question)
    asked = msgspec.to_builtins(read)
    size = len(msgspec.json.encode(asked))
    if size > MAX_QUESTION_BYTES:
        raise TooLarge(
            f"the request is {size:,} bytes of JSON: at most {MAX_QUESTION_BYTES:,} are allowed. Give a"
            " link instead."
        )
    for name, key in zip(Question.__struct_fields__, Question.__struct_encode_fields__, strict=True):
        with about(name):
            check_data({name: asked.get(key)})
    approves = read.on_deadline not in ("expire", "reject")
    if read.form is not None and approves and (read.choices or read.on_deadline == "approve"):
        raise BadInput(
            "the deadline cannot approve it, because the form needs data: use expire or reject.",
            problems=[("on_deadline", "the form needs data")],
            code="bad-question",
        )
    return read


def _check_deadline(question: Question) -> None:
    """Raise BadInput if `on_deadline` is not a valid answer to the question."""
    if question.proof is not None and question.deadline_approves:
        raise not_askable(
            "a deadline cannot sign, so it cannot approve: leave out on_deadline or proof.", "on_deadline"
        )
    if question.on_deadline in ("expire", "reject"):
        return
    value = question.on_deadline.value if isinstance(question.on_deadline, Instead) else None
    if question.choices:
        if value not in question.choices:
            known = ", ".join(repr(choice) for choice in question.choices)
            raise not_askable(f'on_deadline must be "expire", "reject" or one of {known}.', "on_deadline")
    elif isinstance(question.on_deadline, Instead) and (form := answer_form(question)) is not None:
        from hitl_cli.forms import check

        with about("on_deadline"):
            check(form, value)


def found_by(
    question: Question, key: str | None, function: str | None, own: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of a request, including its author's. Raises BadInput for an invalid key or tag."""
    if key is not None and not (isinstance(key, str) and key.strip()):
        raise not_askable(f"{key!r} is not a valid key: it must be a text that is not empty.", "key")
    try:
        theirs = msgspec.convert(own, dict[str, str])
    except msgspec.ValidationError as error:
        raise not_askable(f"tags must map names to texts: {error}.", "tags") from error
    for name in theirs:
        if name.startswith(RESERVED_TAGS):
            why = f"the tag {name!r} begins with a reserved prefix: use another."
            raise BadInput(why, problems=[("tags", why)], code="bad-name")
    return {**theirs, **question.tags(key=key, workflow=function)}


def not_askable(why: str, field: str = "") -> BadInput:
    """Return the error for a question that is not valid, in a field.

    It is not a subclass: a failed run stores the name of the class.
    """
    problems = [(field, why)] if field else ()
    return BadInput(f"the request is not valid: {why}", problems=problems, code="bad-question")


def question_of(promise: Promise) -> Question | None:
    """Return the question of a promise: PLAIN if it has none, None if it cannot be read."""
    if promise.tags.get(REQUEST_TAG) != "1":
        return PLAIN
    return decode_as(promise.param, Question)


def prompt_of(promise: Promise) -> str | None:
    """Return the prompt on one line; None if the promise has no question."""
    question = question_of(promise)
    if question is PLAIN:
        return None
    return UNREADABLE if question is None else question.title


def asker_of(promise: Promise, run: Promise | None) -> str | None:
    """Return who asked, or who started the run that asked; None if unknown."""
    asker = headers_of(promise.param).get("hitl:by")
    return asker or (headers_of(run.param).get("hitl:by") if run is not None else None)


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that the author of a request gave."""
    return {key: value for key, value in tags.items() if not key.startswith(RESERVED_TAGS)}


def replaced_by(promise: Promise, others: Iterable[Promise] = ()) -> str | None:
    """Return the id of the request that replaces this one: from its header, or from one of `others`."""
    named = headers_of(promise.value).get(REPLACED_BY)
    if named is not None:
        return named
    requests = (other for other in others if other.tags.get(REQUEST_TAG) == "1")
    return next((other.id for other in requests if replaces(other) == promise.id), None)


def replaces(promise: Promise) -> str | None:
    """Return the id of the request that this one replaces; None if it replaces none."""
    question = question_of(promise)
    return None if question is None else question.replaces


def outcome_of(promise: Promise) -> Outcome | None:
    """Return the outcome of a request, including the effect of its deadline; None while it is pending."""
    question = question_of(promise) if promise.expired_at is not None else None
    return OUTCOMES.get(promise.state) if question is None else means_at_deadline(question)


def means_at_deadline(question: Question) -> Outcome:
    """Return the outcome of a request at its deadline."""
    if question.on_deadline == "expire":
        return "expired"
    return "rejected" if question.on_deadline == "reject" else "approved"
