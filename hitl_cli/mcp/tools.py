"""The tools: their descriptions for models, arguments and results. No I/O.

Input from a model is untrusted: it is decoded into these types, and anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.errors import BadJson
from hitl_cli.format.validation import in_document, located
from hitl_cli.inspected import inspected
from hitl_cli.requests.demand import stronger
from hitl_cli.requests.question import Priority, ProofKind, Reassign
from hitl_cli.requests.question_input import Approvals, QuestionInput
from hitl_cli.views.document import document_of
from hitl_cli.views.pending import ThreadEntryDocument
from hitl_cli.views.request import CommentDocument

if TYPE_CHECKING:
    from hitl_cli.requests.decision import Decision
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument

INSTRUCTIONS = (
    "Ask a person before you do something that needs approval, or when only a person can know the answer."
    " Call ask, and go on only if it returns approved: true. While the state is pending, nobody has decided:"
    " call wait with the id. You cannot approve anything yourself; only a person can."
)

type State = Literal["pending", "approved", "rejected", "expired", "canceled"]

type _Id = Annotated[str, Meta(description="The id that ask returned.", max_length=2_000)]


def _about(text: str) -> Meta:
    return Meta(description=text)


class AskArguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `ask`: those of `Hitl.ask` that an agent may choose.

    `on_deadline` is not one of them: with it, an agent could have its own request approved by waiting.
    """

    prompt: Annotated[str, _about("What you ask, in Markdown. The first line is the title.")]
    details: Annotated[
        Json,
        _about(
            'Details that the person should see, as JSON or text. {"$view": "diff", "text": …} is drawn as a'
            " diff; likewise command, code and markdown."
        ),
    ] = None
    arguments: Annotated[
        Json,
        _about("Exact arguments of the action to approve, as JSON. The approval covers only these."),
    ] = None
    editable: Annotated[
        dict[str, Any] | bool | None,
        _about(
            "Lets the person change the arguments: true, or a JSON Schema of what is allowed. Use the"
            " arguments of the result."
        ),
    ] = None
    choices: Annotated[tuple[str, ...], _about("The person approves by choosing one of these.")] = ()
    form: Annotated[
        dict[str, Any] | None,
        _about("JSON Schema of the data that the person fills in. Not together with choices."),
    ] = None
    to: Annotated[
        tuple[str, ...],
        _about("Who may answer: names of people, or group:NAME. Leave it out unless you were told names."),
    ] = ()
    reassign: Annotated[
        Reassign | None, _about("Who may assign it to others. Leave it out unless you were told.")
    ] = None
    approvals: Approvals = 1
    private: Annotated[
        tuple[str, ...],
        _about("Parts that only assignees and auditors see, such as arguments.iban. Needs `to`."),
    ] = ()
    extend: Annotated[
        str | None, _about("By how much people may move the deadline in total, such as 2d.")
    ] = None
    deadline: Annotated[
        str | None, _about("Time allowed for the answer, such as 30m, 8h or 2d. Then the request expires.")
    ] = None
    valid_for: Annotated[
        str | None, _about("How long an approval is valid, such as 10m. A later use needs a new request.")
    ] = None
    proof: Annotated[
        ProofKind | None,
        _about("Required signature: signed or passkey. Leave it out unless you were told."),
    ] = None
    once: Annotated[
        bool,
        _about("An approval may be used once: call consume just before you do it."),
    ] = False
    id: Annotated[
        str | None,
        _about(
            "An id of your own, such as deploy-1.4.2. Repeating the same id and content returns the same"
            " request."
        ),
    ] = None
    key: Annotated[str | None, _about("A name under which people find the request.")] = None
    priority: Priority = "normal"
    tags: dict[str, str] = {}
    link: Annotated[str | None, _about("URL of a page with more about it.")] = None

    def question(self, to: tuple[str, ...], deadline: str, proof: ProofKind | None = None) -> QuestionInput:
        """Return the question, with assignees and deadline from the settings if none are given.

        `proof` is the least proof that the settings demand.
        """
        given = msgspec.structs.asdict(self)
        given |= {"to": self.to or to, "deadline": self.deadline or deadline}
        return QuestionInput(**given | {"proof": stronger(self.proof, proof)})


class IdArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of `wait`, `show` and `take_back`."""

    id: _Id


class AnswerBackArguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `answer_back`."""

    id: _Id
    answer: Annotated[str, _about("Your answer to the person's question, as text.")]


class ConsumeArguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `consume`."""

    id: _Id
    key: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        _about("A key for this use. Repeating the call with the same key is the same use."),
    ] = None


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of `pending` and `history`."""

    limit: Annotated[int, Meta(ge=1, le=100, description="Most entries to return.")] = 20


class PromptArguments(Struct, frozen=True):
    """The arguments of `approval_prompt`. An agent may add more, which are ignored."""

    tool_name: str
    input: dict[str, Any]
    tool_use_id: str | None = None


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a request so far. `approved` is true only after a person approved it.

    `data` and `arguments` are the approved ones; `next` says what to do while the state is `pending`.
    `question` is a person's question to you before they decide.
    """

    id: str
    state: State
    approved: bool
    choice: str | None = None
    data: Json = None
    arguments: Json = None
    valid_until: str | None = None
    by: str | None = None
    reason: str | None = None
    comment: str | None = None
    url: str | None = None
    question: str | None = None
    next: str | None = None


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request in a list."""

    id: str
    state: State
    title: str | None
    at: str
    to: tuple[str, ...] = ()
    deadline: str | None = None
    by: str | None = None
    choice: str | None = None
    reason: str | None = None


class Entries(Struct, frozen=True):
    """A list of requests."""

    requests: list[Entry]


class Shown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request with its content, votes and comments."""

    id: str
    state: State
    prompt: str | None
    created_at: str
    deadline: str
    to: tuple[str, ...] = ()
    details: Json = None
    arguments: Json = None
    choices: tuple[str, ...] = ()
    form: dict[str, Any] | bool | None = None
    approvals: int = 1
    approvals_by: dict[str, int] = {}
    votes: int = 0
    votes_by: dict[str, int] = {}
    comments: Sequence[CommentDocument] = ()
    thread: Sequence[ThreadEntryDocument] = ()
    by: str | None = None
    choice: str | None = None
    data: Json = None
    reason: str | None = None
    comment: str | None = None
    url: str | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A tool as it is listed. Without a `result` it returns one text."""

    name: str
    title: str
    description: str
    arguments: type[Struct]
    result: type[Struct] | None
    reads: bool = False
    repeatable: bool = False
    destructive: bool = False


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="ask",
        title="Ask a person",
        description=(
            "Ask a person to approve something, to choose, or to fill in a form. It waits up to 50 seconds"
            " for the answer. Use it before you do something that needs approval, or when only a person knows"
            " the answer. Go on only if the result says approved: true. If the state is pending, nobody has"
            " decided yet: call wait with the id. You cannot approve it yourself."
        ),
        arguments=AskArguments,
        result=Answer,
    ),
    Tool(
        name="wait",
        title="Wait for the answer",
        description=(
            "Wait up to 50 seconds for the answer to a request that you asked before. Call it again while the"
            " state is pending, or do something else that needs no approval and call it later."
        ),
        arguments=IdArguments,
        result=Answer,
        reads=True,
        repeatable=True,
    ),
    Tool(
        name="answer_back",
        title="Answer a person's question",
        description=(
            "Answer the question that a person asks you about your request before they decide it. The state"
            " is still pending afterwards: call wait. Nothing is approved by this."
        ),
        arguments=AnswerBackArguments,
        result=Answer,
        repeatable=True,
    ),
    Tool(
        name="consume",
        title="Use up an approval",
        description=(
            "Use up the approval of a request that you asked with once: true, just before you do what was"
            " approved. Do it only if this returns approved: true, and exactly with the arguments that it"
            " returns. It fails if nobody has approved, if the approval expired, or if it was used before."
        ),
        arguments=ConsumeArguments,
        result=Answer,
        destructive=True,
    ),
    Tool(
        name="take_back",
        title="Cancel a request",
        description=(
            "Cancel a request of yours when its answer is no longer needed. If it is already decided, the"
            " decision stays and is returned."
        ),
        arguments=IdArguments,
        result=Answer,
        repeatable=True,
        destructive=True,
    ),
    Tool(
        name="pending",
        title="List open requests",
        description="List your open requests, oldest first. Use it to find an id that you lost.",
        arguments=ListArguments,
        result=Entries,
        reads=True,
        repeatable=True,
    ),
    Tool(
        name="show",
        title="Show a request",
        description="Show a request that you asked: the question, comments of people, and the decision.",
        arguments=IdArguments,
        result=Shown,
        reads=True,
        repeatable=True,
    ),
    Tool(
        name="history",
        title="List decisions",
        description="List the decisions on your requests, newest first.",
        arguments=ListArguments,
        result=Entries,
        reads=True,
        repeatable=True,
    ),
    Tool(
        name="approval_prompt",
        title="Permission prompt",
        description=(
            "For the agent program, not for the model: asks a person whether a tool call may run. Name it in"
            " --permission-prompt-tool."
        ),
        arguments=PromptArguments,
        result=None,
        repeatable=True,
    ),
)


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON Schema of arguments or of a result: an object at its root."""
    (found,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = found["$ref"].rpartition("/")[2]
    root = {key: value for key, value in parts.pop(name).items() if key not in ("title", "description")}
    return root | ({"$defs": parts} if parts else {})


def read_arguments[T: Struct](given: dict[str, Any] | None, kind: type[T]) -> T:
    """Return the arguments that a model sent. Raises BadJson."""
    try:
        return msgspec.json.decode(msgspec.json.encode(given or {}), type=inspected(kind))
    except msgspec.ValidationError as error:
        said = in_document(error, kind)
        raise BadJson(f"invalid arguments: {said}.", problems=[(located(error)[0], said)]) from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadJson(f"the arguments cannot be written as JSON: {error}.") from error


# Results


def pending_answer(id: str, url: str | None, asked_back: ThreadEntryDocument | None = None) -> Answer:
    """Return the result while a request is open; `asked_back` is a person's question to the agent."""
    if asked_back is not None:
        back = (
            f"{asked_back.by or 'A person'} asks you a question before they decide. Call answer_back with id"
            f" {id} and your answer, then wait. Do not go on before approved is true."
        )
        return Answer(id=id, state="pending", approved=False, url=url, question=asked_back.text, next=back)
    waits = f"Nobody has decided yet. Call wait with id {id}. Do not go on before approved is true."
    return Answer(id=id, state="pending", approved=False, url=url, next=waits)


def answer(shown: RequestDetailsDocument, decision: Decision[Any]) -> Answer:
    """Return the result of a decided request."""
    until = decision.valid_until
    return Answer(
        id=shown.id,
        state=_state_of(shown),
        approved=decision.approved,
        choice=decision.choice,
        data=decision.data if decision.data is not True and shown.editable is None else None,
        arguments=decision.arguments,
        valid_until=None if until is None else until.isoformat(),
        by=decision.by,
        reason=decision.reason,
        comment=decision.comment,
    )


def shown_request(document: RequestDetailsDocument, url: str | None) -> Shown:
    """Return a request."""
    made = document.decision
    if made is None:
        return document_of(Shown, document, state="pending", url=url)
    said = {name: getattr(made, name) for name in ("by", "choice", "reason", "comment")}
    data = None if made.data is True else made.data
    return document_of(Shown, document, state=_state_of(document), data=data, **said)


def open_entry(document: RequestSummaryDocument) -> Entry:
    """Return an open request of a list."""
    return document_of(Entry, document, title=document.prompt, at=document.created_at)


def decided_entry(document: HistoryEntryDocument) -> Entry:
    """Return a decided request of a list."""
    return Entry(
        id=document.id,
        state=document.outcome or "canceled",
        title=document.asked,
        at=document.at,
        by=document.by,
        choice=document.choice,
        reason=document.reason,
    )


def _state_of(document: RequestDetailsDocument) -> State:
    if document.decision is None:
        return "pending"
    return document.decision.outcome or "canceled"
