"""The proof of a workflow's decisions: demanded when it asks, checked each time that it continues.

Stored data is not trusted: neither the request, nor the result of the step that asked it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.authoring.changed_question import is_of
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import Promise, decode, encode, headers_of
from hitl_cli.inbox.pending import summaries
from hitl_cli.inbox.proof import unproven, why_unproven
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.people.contacts import NotificationSettings
from hitl_cli.people.groups import NO_GROUPS, Groups
from hitl_cli.requests.amendments import amendments_of_many
from hitl_cli.requests.decision import KeptDecision, decision_on
from hitl_cli.requests.demand import as_allowed, raised, strengthened
from hitl_cli.requests.question import WORKFLOW_TAG, Question, outcome_of, question_of, sensible
from hitl_cli.sdk import context as sdk

if TYPE_CHECKING:
    from resonate.context import Context
    from resonate.types import PromiseRecord

    from hitl_cli.authoring.changed_question import NewRequest, Place
    from hitl_cli.requests.amendments import Amendment


def people_of(ctx: Context) -> Groups:
    """Return the people of this worker's settings; none in a worker that hitl did not start."""
    try:
        return ctx.get_dependency(NotificationSettings).now.members
    except KeyError:
        return NO_GROUPS


async def as_policy_demands(ctx: Context, put: NewRequest, groups: Groups) -> Question:
    """Return the request to create, with the demands of this worker's settings added. Raises BadInput."""
    if not (groups.policy or groups.allowances):
        return put.question
    run = await sdk.read(ctx.get_dependency(ClientPool).run(get_promise, ctx.info.origin_id))
    names = _names_in(put, run)
    question = as_allowed(raised(put.question, groups.policy, names), groups.allowances, names)
    return question if question is put.question else sensible(question)


def _names_in(put: NewRequest, run: Promise | None) -> list[str]:
    """Return the names of a request, for a policy: of the function that asks, and of the run's workflow."""
    return [name for name in (put.tags.get(WORKFLOW_TAG), run and run.function) if name]


async def why_not_proven(
    ctx: Context, put: NewRequest, request: PromiseRecord, question: Question
) -> str | None:
    """Return why the approval of a request does not count; None if it counts.

    `question` is the stored one.
    """
    groups = people_of(ctx)
    if (put.question.proof or question.proof) is None and not (question.policy or groups.policy):
        return None
    promise = _promise_of(request)
    pool = ctx.get_dependency(ClientPool)
    run = await sdk.read(pool.run(get_promise, promise.origin))
    amendable = put.question.can_be_amended or question.can_be_amended
    known = (await sdk.read(pool.run(amendments_of_many, [promise.id]))) if amendable else {}
    return _why_unproven(put, promise, run, groups, known.get(promise.id, ()))


def _promise_of(record: PromiseRecord) -> Promise:
    """Return a request, open or approved, as stored, so that checks see the same data as the workflow."""
    param, value = record.param, record.value
    return Promise(
        id=record.id,
        state=record.state,
        timeout_at=record.timeout_at,
        created_at=record.created_at,
        settled_at=record.settled_at,
        param=encode(param.data, param.headers),
        value=encode(value.data, value.headers) if record.state == "resolved" else None,
        tags=record.tags,
    )


def _why_unproven(
    put: NewRequest,
    promise: Promise,
    run: Promise | None,
    groups: Groups,
    amendments: tuple[Amendment, ...],
) -> str | None:
    """Return why an approval has less proof than the request or a policy demands; None if it has enough."""
    question = _demanded(put, question_of(promise) or put.question, run, groups)
    item = RequestSummary(
        promise=promise, question=question, run=run, now=promise.created_at, amendments=amendments
    )
    return why_unproven(item, groups)


def _demanded(put: NewRequest, stored: Question, run: Promise | None, groups: Groups) -> Question:
    """Return a stored question with the demands of its author and of the settings.

    If proof is demanded, only the author's code says who may assign it, because the stored value is not
    signed.
    """
    question = raised(strengthened(stored, put.question), groups.policy, _names_in(put, run))
    if question.proof is None:
        return question
    return msgspec.structs.replace(question, reassign=put.question.reassign)


async def as_author_allows(ctx: Context, put: NewRequest, stored: Question) -> Question:
    """Return a stored question to ask again. If it needs proof, only its author allows to assign it."""
    groups = people_of(ctx)
    if stored.reassign == put.question.reassign or not groups.policy:
        return stored
    run = await sdk.read(ctx.get_dependency(ClientPool).run(get_promise, ctx.info.origin_id))
    return msgspec.structs.replace(stored, reassign=_demanded(put, stored, run, groups).reassign)


async def proven(place: Place, decision: KeptDecision) -> KeptDecision:
    """Return the approval of a step; one that must be proven is read from its request. Raises Unproven.

    A person who can write the database could also change the stored result of the step.
    """
    ctx, put = place.ctx, place.put
    groups = people_of(ctx)
    if put.question.proof is None and not groups.policy:
        return decision
    try:
        pool = ctx.get_dependency(ClientPool)
    except KeyError:
        raise unproven(decision.id, "the settings of this worker have no keys of people") from None
    item = (await sdk.read(pool.run(summaries, [decision.id]))).get(decision.id)
    if item is None or item.question is None:
        raise unproven(decision.id, "it was not asked by this run")
    demanded = _demanded(put, item.question, item.run, groups)
    if not is_of(place, decision.id, item.question, allowed=demanded.proof is None):
        raise unproven(decision.id, "it was not asked by this run")
    if outcome_of(item.promise) != "approved":
        raise unproven(decision.id, "nobody has approved it")
    if (why := _why_unproven(put, item.promise, item.run, groups, item.amendments)) is not None:
        raise unproven(decision.id, why)
    promise = item.promise
    made = decision_on(promise, item.asked, decode(promise.value), headers_of(promise.value))
    return KeptDecision(**msgspec.structs.asdict(made), answers=item.question)
