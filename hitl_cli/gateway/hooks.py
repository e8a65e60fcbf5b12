"""Answers that come back: `POST /hooks/NAME`, signed by whom the settings name as `[hooks.NAME]`.

The sender is believed to say who answers, and that person is held to what they may answer, as everywhere. The
same message sent again is the same decision (docs/notifications.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.auth.signatures import as_sent, verified_id, verify_slack
from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.tags import ORIGIN_TAG
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import BadAnswer, BadJson, NotFound
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.slack_actions import answer_click
from hitl_cli.inbox.decide import approval, decide_promise, rejection
from hitl_cli.inbox.resolve import find
from hitl_cli.inbox.votes import votes_of_many
from hitl_cli.people.contacts import signing_key
from hitl_cli.requests.question import KEY_TAG, question_of
from hitl_cli.views.decision import hook_result_document

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.decide import DecisionInput, DecisionResult
    from hitl_cli.people.groups import Groups

BODY_MAX = 1_200_000
"""Bytes: an answer may carry a million of them as data."""


class _HookAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is posted: an answer to a request (its id, or its key), and who gave it."""

    request: str
    verdict: Literal["approve", "reject"]
    by: str
    data: Any | UnsetType = UNSET
    choice: str | None = None
    reason: str | None = None
    comment: str | None = None


async def _receive(request: Request) -> web.Response:
    """Take an answer from a sender that the settings name. Raises BadSignature."""
    gateway = gateway_of(request)
    name = request.match_info["name"]
    hook = gateway.options.directory.hooks.get(name)
    if hook is None:
        raise NotFound(f"the settings know no hook {name!r}: [hooks.{name}] secret = …")
    if (request.content_length or 0) > BODY_MAX:
        raise HttpError(413, f"that is more than can be taken: an answer has at most {BODY_MAX:,} bytes.")
    body = await request.read()
    now_s = gateway.clock() // 1_000
    if hook.kind == "slack":
        verify_slack(hook.secret.encode(), request.headers, body, now_s)
        return await answer_click(request, name, body, _decision_id(name, body))
    sent = verified_id(signing_key(hook.secret), request.headers, body, now_s)
    said = _read_answer(body)
    decided = await gateway.bridge.run(
        _take,
        said,
        f"hook:{name}",
        _decision_id(name, as_sent(sent), body),
        gateway.options.directory.members,
    )
    return json_answer(hook_result_document(decided))


def _read_answer(body: bytes) -> _HookAnswer:
    """Return what was posted. Raises BadInput."""
    try:
        said = msgspec.json.decode(body, type=_HookAnswer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadJson(f"the body is no answer: {error}.") from error
    if said.verdict == "reject" and (said.data is not UNSET or said.choice is not None):
        raise BadAnswer("a no carries neither data nor a choice: say why in the reason.")
    if said.verdict == "approve" and said.reason is not None:
        raise BadAnswer("a reason belongs to a no: say it in the comment.")
    return said


def _take(client: Client, said: _HookAnswer, via: str, id: str, groups: Groups) -> DecisionResult:
    """Decide as an answer says. Raises what hitl_cli.inbox.decide.decide does.

    A key or a run means what waits now. So an answer that was taken before, and is sent again, is looked for
    first: it must not answer what is asked next.
    """
    promise = _answered_before(client, said.request, id) or find(client, said.request, whole=True)
    question = question_of(promise)
    if said.choice is not None and (question is None or not question.choices):
        raise BadAnswer(f"{promise.id} offers no choices. Nothing was changed.")
    return decide_promise(client, promise, _answer_of(said, via), groups, new_id=lambda: id)


def _answered_before(client: Client, name: str, id: str) -> Promise | None:
    """Return which of the promises that a name has meant has been answered, or voted on, by a decision."""
    if get_promise(client, name) is not None and ":" in name:
        return None  # it always means the same one
    named = [*search(client, tags={KEY_TAG: name}), *search(client, tags={ORIGIN_TAG: name})]
    every = {promise.id: promise for promise in named if promise.is_blocking}
    voted = [promise.id for promise in every.values() if _asked_of_several(promise)]
    ballots = votes_of_many(client, voted)
    for promise in every.values():
        cast = ballots.get(promise.id, ())
        if audit_of(promise).id == id or any(ballot.audit.id == id for ballot in cast):
            return promise
    return None


def _asked_of_several(promise: Promise) -> bool:
    """Whether several must approve."""
    question = question_of(promise)
    return question is not None and question.approvals > 1


def _answer_of(said: _HookAnswer, via: str) -> DecisionInput:
    """Return the answer that was posted. Raises BadInput for what cannot be kept."""
    if said.verdict == "reject":
        return rejection(by=said.by, via=via, reason=said.reason, comment=said.comment)
    return approval(by=said.by, via=via, data=said.data, text=said.choice, comment=said.comment)


def _decision_id(*parts: str | bytes) -> str:
    """Return the id of the decision that a message makes: the same whenever it is sent."""
    hashes = "".join(stable_id(part, 64) for part in parts)
    return stable_id(bytes.fromhex(hashes), 32)


ROUTES = [web.post("/hooks/{name}", _receive)]
