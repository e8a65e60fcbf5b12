"""Asks again if the form's type refuses an answer that fits the schema, or if its proof is not valid.

Only the worker has the type. So the answer settles its request as usual, and the worker asks the same
question again beside it, showing the refused data and the reason. The step of `ask` continues until an answer
fits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.authoring.changed_question import question_in
from hitl_cli.client.wire import audit_in
from hitl_cli.errors import DoesNotFit
from hitl_cli.forms.models import why_unfit
from hitl_cli.inbox.proof import unproven
from hitl_cli.requests.amendments import assignees_of, deadline_of
from hitl_cli.requests.question import Escalation, Question, Refused
from hitl_cli.sdk import context as sdk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resonate.context import Context
    from resonate.types import PromiseRecord

    from hitl_cli.authoring.changed_question import NewRequest
    from hitl_cli.requests.amendments import Amendment
    from hitl_cli.requests.decision import Decision

logger = logging.getLogger(__name__)

MOST = 20
"""How often a question is asked again: a program that answers might give the same answer forever."""

LEAST_MS = 3_600_000
"""Least time for the new request: someone who answered in the last minute gets another hour."""


def refused_before(ctx: Context, step: str) -> Refused | None:
    """Return why an answer was refused, if `step` has asked again. It stays refused, even if it fits now."""
    before = sdk.found(ctx, sdk.first_id(step))
    asked = None if before is None else question_in(before)
    return None if asked is None else asked.refused


def refusal(form: Any, decision: Decision[Any], question: Question, *, private: bool) -> Refused | None:
    """Return why an answer is refused; None if it fits. With `private` parts, the reason is not logged.

    Raises DoesNotFit if the answer came from the deadline, or was refused too often.
    """
    if form is None or not decision.approved or decision.data is None:
        return None
    why = why_unfit(form, decision.data)
    if why is None:
        return None
    times = _times(question)
    if decision.expired or times > MOST:
        raise DoesNotFit(f"the data of the decision on {decision.id} does not fit: {why}.")
    about = {"request": decision.id}
    logger.warning(
        "%s: the data of the decision does not fit, so it is asked again: %s",
        decision.id,
        "parts of it may be private" if private else why,
        extra=about,
    )
    at = round(decision.at.timestamp() * 1_000)
    return Refused(why=why, data=decision.data, by=decision.by, at=at, times=times)


def without_proof(request: PromiseRecord, question: Question, why: str) -> Refused:
    """Return the refusal of an approval without valid proof. Raises Unproven if that happened too often."""
    times = _times(question)
    if request.state != "resolved" or times > MOST:
        raise unproven(request.id, why)
    about = {"request": request.id}
    logger.warning(
        "%s: it was approved without valid proof, so it is asked again: %s", request.id, why, extra=about
    )
    audit = audit_in(request.value.headers or {})
    at = request.settled_at or request.created_at
    return Refused(why=f"no valid proof: {why}", data=request.value.data, by=audit.by, at=at, times=times)


def _times(question: Question) -> int:
    """Return the number of refused answers, including this one."""
    return 1 if question.refused is None else question.refused.times + 1


def put_again(
    request: PromiseRecord,
    question: Question,
    put: NewRequest,
    refused: Refused,
    now: int,
    amendments: Sequence[Amendment],
) -> NewRequest:
    """Return the request to ask again: for the present assignees, with the remaining time."""
    end = request.settled_at or request.created_at
    to, age = assignees_of(question, request.created_at, amendments, end), end - request.created_at
    ahead = tuple(
        Escalation(after=one.after - age, to=one.to) for one in question.escalate if one.after > age
    )
    again = msgspec.structs.replace(put.question, to=to, escalate=ahead, replaces=request.id, refused=refused)
    return put._replace(question=again, deadline_ms=max(deadline_of(request, amendments) - now, LEAST_MS))
