"""What `ask` does where the question that it finds is not the one that it asks.

The rules are in docs/guides/changing-workflows.md.
A run finds what it asked before by the number of the step. Where the code has changed, another question may
stand there. The answer to it is never used: it is taken back if it waits, and the new question is put beside
it, by a step whose id is made of the id that it replaces. Where the code is the same the run fails.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from hitl_cli.authoring.loaded_code import LoadedCode
from hitl_cli.client.tags import SCOPE_TAG
from hitl_cli.client.wire import Audit, error_value, fresh_id, is_blocking, same_json
from hitl_cli.engine.server import now_ms
from hitl_cli.errors import BadInput, QuestionChanged
from hitl_cli.format.names import folded
from hitl_cli.notify.taking_back import VIA_WORKFLOW
from hitl_cli.requests.decision import KeptDecision
from hitl_cli.requests.differences import differences
from hitl_cli.requests.question import REPLACED_BY, REPLACED_SINCE, Question
from hitl_cli.sdk import context as sdk
from hitl_cli.sdk.calls import asked_below, replaced_request
from hitl_cli.sdk.replay import answer_in

if TYPE_CHECKING:
    from types import FrameType

    from resonate.context import Context
    from resonate.types import PromiseRecord

    from hitl_cli.client.wire import Json
    from hitl_cli.engine.records import Value as WireValue
    from hitl_cli.requests.question import Code

type OnChange = Literal["ask", "keep"]
"""What happens where another question is found: ask anew, or keep what was asked first."""

type Standing = Literal["same", "other", "newer"]
"""A question that is found is the one that is asked, or one of other code; `newer` was started later."""

_alone = LoadedCode(since=now_ms())
"""The code of a worker that is not hitl's."""


class NewRequest(NamedTuple):
    """A question as it is put: what is asked, by which tags it is found, and for how many ms it stands.

    `chosen` tells whether its author said for how long; `typed` whether its form is a type, of which the
    schema is made; `keep` whether another question that is found stands.
    """

    question: Question
    tags: dict[str, str]
    deadline_ms: int
    chosen: bool = True
    typed: bool = False
    keep: bool = False


def code_of(ctx: Context, frame: FrameType | None) -> Code:
    """Return the code that a frame belongs to."""
    module = "" if frame is None else frame.f_globals.get("__name__", "")
    try:
        loaded = ctx.get_dependency(LoadedCode)
    except KeyError:
        loaded = _alone
    return loaded.of(module)


# Where it is asked


class Place:
    """The step by which a question is put: the one that the SDK counts, or one beside it.

    `before` is a promise of another kind that was found, and has to be taken back.
    """

    def __init__(self, ctx: Context, put: NewRequest) -> None:
        """Find the place. Raises QuestionChanged."""
        self.put = put
        self.before: PromiseRecord | None = None
        self._ctx = ctx
        self._id = sdk.next_id(ctx)
        if (replaced := replaced_request(ctx, self._id)) is not None:
            self._replace(replaced)
        self._look()

    @property
    def step(self) -> Context:
        """The context for the step's call."""
        return sdk.named(self._ctx, self._id)

    @property
    def id(self) -> str:
        """The step's id."""
        return self._id

    def is_left(self, decision: KeptDecision) -> bool:
        """Whether the step was settled with the answer to another question: then this is the next place."""
        if decision.answers is None or _standing(decision.id, decision.answers, self.put) == "same":
            return False
        self._next(decision.id)
        self._look()
        return True

    def _look(self) -> None:
        """Go on until nothing is in the way, as far as that is known without asking the server."""
        while (record := sdk.found(self._ctx, self._id)) is not None:
            if record.tags.get(SCOPE_TAG, "local") != "local":
                self.before = record if is_blocking(record.tags) else None
                self._next(record.id if self.before is not None else None)
            elif asked_below(record):
                self._next(None)
            elif record.state == "pending" or self._answers(record):
                return
            else:
                self._next(answer_in(record))

    def _answers(self, record: PromiseRecord) -> bool:
        """Whether a settled step came to an answer to what is asked, or failed at asking it."""
        request = sdk.found(self._ctx, sdk.first_id(record.id))
        if record.state == "resolved":
            if answer_in(record) is None:
                return False
            kept = msgspec.convert(record.value.data, KeptDecision)
            question = kept.answers or (question_in(request) if request is not None else None)
            if question is None:  # version 0.1 answered it, and the server has not told what it was
                return True
        elif request is None or (question := question_in(request)) is None:
            return True
        return _standing(sdk.first_id(record.id), question, self.put) == "same"

    def _next(self, replaced: str | None) -> None:
        """Go to the place beside this one."""
        self._id = sdk.beside(self._id)
        self._replace(replaced)

    def _replace(self, replaced: str | None) -> None:
        """Note the request in whose place this one is put."""
        question = msgspec.structs.replace(self.put.question, replaces=replaced)
        self.put = self.put._replace(question=question)


# Whether it is the same question


def question_in(record: PromiseRecord) -> Question | None:
    """Return what a promise asks; None for one that is no request."""
    data = record.param.data
    if not isinstance(data, dict) or "prompt" not in data:
        return None
    try:
        return msgspec.convert(data, Question)
    except msgspec.ValidationError:
        return None


def standing(request: PromiseRecord, question: Question | None, put: NewRequest) -> Standing:
    """Return how a request that is found stands to what is asked. Raises QuestionChanged."""
    if question is None or (request.value.headers or {}).get(REPLACED_BY):
        return "other"
    return "same" if put.question is question else _compared(request.id, question, put)


def _standing(id: str, question: Question, put: NewRequest) -> Standing:
    """Return how an answered question stands to what is asked; what newer code asked is left to it."""
    found = _compared(id, question, put)
    if found == "newer":
        leave_to_newer(id)
    return found


def _compared(id: str, found: Question, put: NewRequest) -> Standing:
    """Return how a question that is found stands to what is asked. Raises QuestionChanged."""
    asked = put.question
    was, now = found.code, asked.code
    same_app = was is None or now is None or was.digest == now.digest
    with_form = not (put.typed and same_app)
    if put.keep or _is_same(found, asked, with_form=with_form):
        return "same"
    if was is None or now is None:
        return "other"
    if same_app and was.hitl == now.hitl:
        what = "; ".join(_differences(found, asked, with_form=with_form))
        raise QuestionChanged(
            f"{id} asks one thing, and the same code asks another when it runs again. {what}. Compute what"
            " changes, as a time or what a file says, in a step: value = await ctx.run(function)."
        )
    return "newer" if was.since > now.since else "other"


_EXACT = attrgetter("prompt", "choices", "to", "approvals", "allow_self", "on_deadline", "escalate", "digest")


def _is_same(found: Question, asked: Question, *, with_form: bool) -> bool:
    """Whether two questions ask the same: what, of whom, with which answers, and what silence means."""
    if _EXACT(found) == _EXACT(asked) and isinstance(asked.on_deadline, str):
        same_form = not with_form or same_json(found.form, asked.form)  # 1 is not true, as it is in Python
        return same_form and same_json(found.details, asked.details)
    return not _differences(found, asked, with_form=with_form)


def _differences(found: Question, asked: Question, *, with_form: bool) -> list[str]:
    """Return a line for each part in which two questions differ."""
    return differences(_parts(found, with_form=with_form), _parts(asked, with_form=with_form))


def _parts(question: Question, *, with_form: bool) -> dict[str, Json]:
    """Return the parts of a question that count, in a form in which those that mean the same are the same."""
    later = {name for step in question.escalate for name in step.to}
    parts: dict[str, Json] = {
        "prompt": question.prompt,
        "details": question.details,
        "choices": sorted(question.choices),
        "to": sorted(set(map(folded, question.to))),
        "escalate": sorted(set(map(folded, later))),
        "approvals": question.approvals,
        "allow_self": question.allow_self,
        "on_deadline": msgspec.to_builtins(question.on_deadline),
        "digest": question.digest and question.digest.sha256,
    }
    return parts | {"form": question.form} if with_form else parts


# What happens then


def leave_to_newer(id: str) -> None:
    """Leave the run to a worker with the code that asked."""
    sdk.leave_to_others(
        f"{id} was asked by a worker that was started later than this one, and its code asks something else:"
        " the run is left to it. If the code of this worker is the newer one, restart this worker"
    )


def is_of_newer(request: PromiseRecord, put: NewRequest) -> bool:
    """Whether a request was taken back for code that was started later than this."""
    since = (request.value.headers or {}).get(REPLACED_SINCE, "")
    code = put.question.code
    return code is not None and since.isdecimal() and int(since) > code.since


def replaced_value(by: str | None, code: Code | None, now: int) -> WireValue:
    """Return what a request is canceled with for another one, `by`, or because its run fails."""
    reason = "its workflow fails here" if by is None else f"its workflow has changed, and asks {by} instead"
    headers = Audit(id=fresh_id(), via=VIA_WORKFLOW, at=now).headers()
    if by is not None:
        headers |= {REPLACED_BY: by} | ({} if code is None else {REPLACED_SINCE: str(code.since)})
    return error_value(reason, headers)


async def take_back(ctx: Context, request: PromiseRecord, by: str | None, put: NewRequest) -> PromiseRecord:
    """Cancel a request if it waits; `by` is the one that is put in its place. Return it as it is then."""
    if request.state != "pending":
        return request
    return await sdk.cancel(ctx, request.id, replaced_value(by, put.question.code, sdk.now(ctx)))


def check_kept(put: NewRequest, decision: KeptDecision) -> None:
    """Raise QuestionChanged if a kept answer is none to what is asked now."""
    question, asked = put.question, decision.answers
    if not decision.approved or asked is None or _same_answers(question, asked):
        return
    if question.choices and decision.choice not in question.choices:
        raise QuestionChanged(
            f"{decision.id} was answered with {decision.choice!r}, which is no choice any more."
        )
    if question.form is not None and decision.data is not None:
        from hitl_cli.forms import check

        try:
            check(question.form, decision.data)
        except BadInput as error:
            raise QuestionChanged(
                f"{decision.id} was answered, and that does not fit any more: {error}"
            ) from error


def _same_answers(one: Question, other: Question) -> bool:
    """Whether two questions take the same answers."""
    return one.choices == other.choices and same_json(one.form, other.form)


def told(put: NewRequest, decision: KeptDecision, data: Any) -> Any:
    """Return the decision as the workflow is told it."""
    return (decision if decision.answers else msgspec.structs.replace(decision, answers=put.question)).told(
        data
    )
