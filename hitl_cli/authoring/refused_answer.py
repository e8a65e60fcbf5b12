"""What `ask` does with an answer that the type of its form refuses, by a rule that no schema can say.

Only the worker has the type. So the answer settles its request, as any does, and the same question is put
once more beside it, with what was answered and why that does not fit. The step of `ask` goes on until an
answer fits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.authoring.changed_question import question_in
from hitl_cli.errors import DoesNotFit
from hitl_cli.forms.models import why_unfit
from hitl_cli.requests.question import Escalation, Question, Refused
from hitl_cli.sdk import context as sdk

if TYPE_CHECKING:
    from resonate.context import Context
    from resonate.types import PromiseRecord

    from hitl_cli.authoring.changed_question import NewRequest
    from hitl_cli.requests.decision import Decision

logger = logging.getLogger(__name__)

MOST = 20
"""How often a question is put again: a program that answers by itself would give the same answer for ever."""

LEAST_MS = 3_600_000
"""For how long it stands at least: whoever answered in the last minute gets an hour more."""


def refusal(
    ctx: Context, form: Any, decision: Decision[Any], question: Question, step: str
) -> Refused | None:
    """Return why an answer is not taken; None where it fits.

    `step` is the one that asks again: that it did stands, also if the type takes the answer now. Raises
    DoesNotFit where no person answered, or too often.
    """
    if form is None or not decision.approved or decision.data is None:
        return None
    before = sdk.found(ctx, sdk.first_id(step))
    asked = None if before is None else question_in(before)
    if asked is not None and asked.refused is not None:
        return asked.refused
    why = why_unfit(form, decision.data)
    if why is None:
        return None
    times = 1 if question.refused is None else question.refused.times + 1
    if decision.expired or times > MOST:
        raise DoesNotFit(f"the answer to {decision.id} does not fit: {why}.")
    logger.warning("%s: the answer does not fit, and it is asked again: %s", decision.id, why)
    at = round(decision.at.timestamp() * 1_000)
    return Refused(why=why, data=decision.data, by=decision.by, at=at, times=times)


def put_again(
    request: PromiseRecord, question: Question, put: NewRequest, refused: Refused, now: int
) -> NewRequest:
    """Return the question as it is put again: to those who may answer by now, for the time that is left."""
    age = (request.settled_at or request.created_at) - request.created_at
    ahead = tuple(
        Escalation(after=one.after - age, to=one.to) for one in question.escalate if one.after > age
    )
    again = msgspec.structs.replace(
        put.question, to=question.asked_at(age), escalate=ahead, replaces=request.id, refused=refused
    )
    return put._replace(question=again, deadline_ms=max(request.timeout_at - now, LEAST_MS))
