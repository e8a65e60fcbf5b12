"""Handles a changed `ask`: the run has asked another question before at the same place.

The rules are in docs/guides/changing-workflows.md.

A run finds its earlier requests by the number of the step. After a change of the code, another request may
have that number. Its answer is never used. If it is still pending it is canceled, and the new request is
created by a step whose id is derived from the request that it replaces. If the code is the same, the run
fails.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from hitl_cli.authoring.loaded_code import LoadedCode
from hitl_cli.client.tags import SCOPE_TAG
from hitl_cli.client.wire import Audit, error_value, fresh_id, is_blocking, same_json
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadInput, QuestionChanged
from hitl_cli.format.names import folded
from hitl_cli.inspected import inspected
from hitl_cli.notify.taking_back import VIA_WORKFLOW
from hitl_cli.requests.decision import KeptDecision
from hitl_cli.requests.demand import at_least
from hitl_cli.requests.differences import differences
from hitl_cli.requests.question import REPLACED_BY, REPLACED_SINCE, Question
from hitl_cli.sdk import context as sdk
from hitl_cli.sdk.calls import asked_below, replaced_request
from hitl_cli.sdk.replay import answer_in

if TYPE_CHECKING:
    from resonate.context import Context
    from resonate.types import PromiseRecord

    from hitl_cli.client.wire import Json
    from hitl_cli.engine.records import Value as WireValue
    from hitl_cli.requests.question import Code

type OnChange = Literal["ask", "keep"]
"""What to do if another question is found: ask again, or keep that one."""

type Standing = Literal["same", "other", "newer"]
"""How a found question compares: the same, asked by `other` code, or by code that was started later."""

_alone = LoadedCode(since=now_ms())
"""The code of a worker that hitl did not start."""


class NewRequest(NamedTuple):
    """A request to create: the question, the tags that it is found by, and its deadline in ms from now.

    `chosen`: the author set the deadline. `typed`: the form's schema was made from a type. `keep`: another
    request that is found is kept. `again`: it is asked again after an approval without valid proof.
    """

    question: Question
    tags: dict[str, str]
    deadline_ms: int
    chosen: bool = True
    typed: bool = False
    keep: bool = False
    again: bool = False


def code_of(ctx: Context, module: str) -> Code:
    """Return the code that a module belongs to."""
    try:
        loaded = ctx.get_dependency(LoadedCode)
    except KeyError:
        loaded = _alone
    return loaded.of(module)


class Place:
    """The place of the step that asks: the next one by the SDK's count, or one beside it that replaces it.

    `before` is a promise of another kind that was found in this place and must be revoked.
    """

    def __init__(self, ctx: Context, put: NewRequest) -> None:
        """Find the step. Raises QuestionChanged."""
        self.put = put
        self.before: PromiseRecord | None = None
        self.ctx = ctx
        self._id = sdk.next_id(ctx)
        if (replaced := replaced_request(ctx, self._id)) is not None:
            self._replace(replaced)
        self._look()

    @property
    def step(self) -> Context:
        """The context for the step's call."""
        return sdk.named(self.ctx, self._id)

    @property
    def id(self) -> str:
        """The step's id."""
        return self._id

    def is_left(self, decision: KeptDecision) -> bool:
        """Whether the step's result is of another question. If so, it moves to the next place."""
        if decision.answers is None or _standing(decision.id, decision.answers, self.put) == "same":
            return False
        self._next(decision.id)
        self._look()
        return True

    def _look(self) -> None:
        """Skip the steps of other questions, as far as they are known without a request to the server."""
        while (record := sdk.found(self.ctx, self._id)) is not None:
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
        """Whether a settled step answers this question, or failed while asking it."""
        request = sdk.found(self.ctx, sdk.first_id(record.id))
        if record.state == "resolved":
            if answer_in(record) is None:
                return False
            kept = msgspec.convert(record.value.data, inspected(KeptDecision))
            question = kept.answers or (question_in(request) if request is not None else None)
            if question is None:  # settled by version 0.1, which did not store the question
                return True
        elif request is None or (question := question_in(request)) is None:
            return True
        return _standing(sdk.first_id(record.id), question, self.put) == "same"

    def _next(self, replaced: str | None) -> None:
        """Move to the step beside this one."""
        self._id = sdk.beside(self._id)
        self._replace(replaced)

    def _replace(self, replaced: str | None) -> None:
        """Record the request that this one replaces."""
        question = msgspec.structs.replace(self.put.question, replaces=replaced)
        self.put = self.put._replace(question=question)


def question_in(record: PromiseRecord) -> Question | None:
    """Return the question of a promise; None if it is not a request."""
    data = record.param.data
    if not isinstance(data, dict) or "prompt" not in data:
        return None
    try:
        return msgspec.convert(data, inspected(Question))
    except msgspec.ValidationError:
        return None


def standing(request: PromiseRecord, question: Question | None, put: NewRequest) -> Standing:
    """Return how a found request compares to the question asked now. Raises QuestionChanged."""
    if question is None or (request.value.headers or {}).get(REPLACED_BY):
        return "other"
    return "same" if put.question is question else _compared(request.id, question, put)


def _standing(id: str, question: Question, put: NewRequest) -> Standing:
    """Return the same for an answered question. If newer code asked it, leave the run to that code."""
    found = _compared(id, question, put)
    if found == "newer":
        leave_to_newer(id)
    return found


def _compared(id: str, found: Question, put: NewRequest) -> Standing:
    """Return how a found question compares to the one asked now. Raises QuestionChanged."""
    asked = at_least(put.question, found)
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
            f"{id}: when the same code runs again, it asks something else. {what}. Compute"
            " what changes, such as a time or the content of a file, in a step: value = await"
            " ctx.run(function)."
        )
    return "newer" if was.since > now.since else "other"


_EXACT = attrgetter(
    "prompt",
    "choices",
    "to",
    "reassign",
    "approvals",
    "approvals_by",
    "allow_self",
    "on_deadline",
    "escalate",
    "digest",
    "valid_for",
    "once",
    "proof",
)


def _is_same(found: Question, asked: Question, *, with_form: bool) -> bool:
    """Whether two questions are equal in everything that matters to the person who answers."""
    if _EXACT(found) == _EXACT(asked) and isinstance(asked.on_deadline, str):
        same_form = not with_form or same_json(found.form, asked.form)  # in Python, 1 == True
        same_arguments = same_json(found.arguments, asked.arguments) and same_json(
            found.editable, asked.editable
        )
        return same_form and same_arguments and same_json(found.details, asked.details)
    return not _differences(found, asked, with_form=with_form)


def _differences(found: Question, asked: Question, *, with_form: bool) -> list[str]:
    """Return a line for each part in which two questions differ."""
    return differences(_parts(found, with_form=with_form), _parts(asked, with_form=with_form))


def _parts(question: Question, *, with_form: bool) -> dict[str, Json]:
    """Return the parts of a question that matter, so that equal meaning gives equal parts."""
    later = {name for step in question.escalate for name in step.to}
    parts: dict[str, Json] = {
        "prompt": question.prompt,
        "details": question.details,
        "arguments": question.arguments,
        "editable": question.editable,
        "valid_for": question.valid_for,
        "once": question.once,
        "proof": question.proof,
        "choices": sorted(question.choices),
        "to": sorted(set(map(folded, question.to))),
        "reassign": question.reassign,
        "escalate": sorted(set(map(folded, later))),
        "approvals": question.approvals,
        "approvals_by": {folded(name): count for name, count in question.approvals_by.items()},
        "allow_self": question.allow_self,
        "on_deadline": msgspec.to_builtins(question.on_deadline),
        "digest": question.digest and question.digest.sha256,
    }
    return parts | {"form": question.form} if with_form else parts


def is_of(place: Place, id: str, stored: Question, *, allowed: bool) -> bool:
    """Whether a request, by its id and its stored question, is the one that this place asks.

    After a refused answer its assignees may differ: they include those of escalations, and of assignments if
    its author allows these (or the settings, if they are `allowed` to).
    """
    if not id.startswith(f"{place.id}."):
        return False
    asked = at_least(place.put.question, stored)
    if place.put.keep:
        return True
    assignable = (asked if allowed else place.put.question).can_be_assigned
    same_people = assignable or set(stored.everyone) <= set(asked.everyone)
    if stored.refused is not None and same_people:
        asked = msgspec.structs.replace(asked, to=stored.to, escalate=stored.escalate)
    return _is_same(stored, asked, with_form=not place.put.typed)


def leave_to_newer(id: str) -> None:
    """End this attempt, and leave the run to a worker with the code that asked."""
    sdk.leave_to_others(
        f"{id} was asked by a worker that started later than this one, and its code asks something else; this"
        " worker leaves the run to it. If this worker has the newer code, restart it"
    )


def is_of_newer(request: PromiseRecord, put: NewRequest) -> bool:
    """Whether a request was canceled by code that started later than this process."""
    since = (request.value.headers or {}).get(REPLACED_SINCE, "")
    code = put.question.code
    return code is not None and since.isdecimal() and int(since) > code.since


def replaced_value(by: str | None, code: Code | None, now: int) -> WireValue:
    """Return the value to cancel a request with: `by` replaces it, or its run fails if `by` is None."""
    reason = "its workflow fails here" if by is None else f"its workflow has changed, and asks {by} instead"
    headers = Audit(id=fresh_id(), via=VIA_WORKFLOW, at=now).headers()
    if by is not None:
        headers |= {REPLACED_BY: by} | ({} if code is None else {REPLACED_SINCE: str(code.since)})
    return error_value(reason, headers)


async def take_back(ctx: Context, request: PromiseRecord, by: str | None, put: NewRequest) -> PromiseRecord:
    """Cancel a request if it is pending, and return its state afterwards; `by` replaces it."""
    if request.state != "pending":
        return request
    return await sdk.cancel(ctx, request.id, replaced_value(by, put.question.code, sdk.now(ctx)))


def check_kept(put: NewRequest, decision: KeptDecision) -> None:
    """Raise QuestionChanged if a kept answer is not valid for the current question."""
    question, asked = put.question, decision.answers
    if not decision.approved or asked is None or _same_answers(question, asked):
        return
    if question.choices and decision.choice not in question.choices:
        raise QuestionChanged(
            f"{decision.id} was answered with {decision.choice!r}, which is not one of the choices any more."
        )
    if question.form is not None and decision.data is not None:
        from hitl_cli.forms import check

        try:
            check(question.form, decision.data)
        except BadInput as error:
            raise QuestionChanged(
                f"{decision.id} was answered with data that no longer fits the form: {error}"
            ) from error


def _same_answers(one: Question, other: Question) -> bool:
    """Whether two questions accept the same answers."""
    return one.choices == other.choices and same_json(one.form, other.form)


def told(put: NewRequest, decision: KeptDecision, data: Any) -> Any:
    """Return the decision for the workflow."""
    return (decision if decision.answers else msgspec.structs.replace(decision, answers=put.question)).told(
        data
    )
