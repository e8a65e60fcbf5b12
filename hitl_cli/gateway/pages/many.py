"""`/many`: one decision on many requests: a preview for each, then one confirmation.

It does what `hitl approve` does with many ids (hitl_cli/inbox/bulk.py). Nothing is decided before the
confirmation, and one failure does not stop the others. The confirmed decision can be undone like one on a
single request.

The requests are those selected on a page of the inbox, or all that it lists. The table has pages, so the form
carries the ids of all its requests and a digest of what each asks. A request that has changed since is not
decided.
"""

from __future__ import annotations

import binascii
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from hitl_cli.errors import BadAnswer, BadInput, Conflict
from hitl_cli.format.markdown import as_words
from hitl_cli.forms.reading import as_read, in_words
from hitl_cli.gateway.auth.redirects import HOME
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages import held as held_page
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.look import look_of
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.bulk import decide_all, plan_each
from hitl_cli.inbox.held import can_be_held, failed_with
from hitl_cli.inbox.permission import may_answer
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inspected import inspected
from hitl_cli.proof.statement import asked_digest
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import answer_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.web import Request

    from hitl_cli.client.wire import Verdict
    from hitl_cli.errors import HitlError
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.bulk import PlannedDecision
    from hitl_cli.inbox.decision_result import DecisionResult

MOST = 5_000
"""Requests to decide at once at most."""

PAGE_SIZE = 100
"""Rows of the table per page."""

PACKED_MOST = 2 * 1024 * 1024
"""Bytes of the requests in a form, unpacked."""

DIGEST = 16
"""Characters of the digest of what a request asks that a form carries."""


class _Line(Struct, frozen=True, kw_only=True):
    """A request in the table: the decision on it, planned or made, with its data; or the problem.

    `at` is the instant in the problem's text.
    """

    id: str
    title: str
    item: RequestSummary | None = None
    what: str = ""
    data: str = ""
    problem: str = ""
    at: int | None = None


class _Chosen(Struct, frozen=True, kw_only=True):
    """The requests of a form: the digest of each (`_asked`), and those that the table left out.

    `more` is whether there were more than MOST.
    """

    asked: Mapping[str, str]
    left: tuple[str, ...] = ()
    more: bool = False

    @property
    def ids(self) -> list[str]:
        """The ids of all."""
        return [*self.asked, *self.left]


async def _decide(request: Request, visitor: Visitor, form: Any) -> web.StreamResponse:
    """Show the preview of a decision on the chosen requests; with `confirm`, make it."""
    gateway = gateway_of(request)
    verdict: Verdict = "reject" if form_text(form, "verdict") == "reject" else "approve"
    chosen = await _chosen_in(request, visitor, form)
    said = _said(verdict, form_text(form, "text").strip() or None)
    confirmed = form_text(form, "confirm") == "1"

    def work(inbox: Inbox) -> list[PlannedDecision]:
        return [_as_chosen(one, chosen, confirmed=confirmed) for one in plan_each(inbox, chosen.ids, said)]

    planned = await gateway.inbox(visitor.actor, work, pool=gateway.lookback)
    if not confirmed:
        return _table(request, form, verdict, chosen, planned)
    planned = [one for one in planned if one.name in chosen.asked]
    if gateway.options.undo:
        planned = list(map(_unless_near, planned))  # time has passed since the table was made
        if any(one.problem is None for one in planned):
            return await _hold(request, visitor, planned, said)
    return await _result(request, visitor, verdict, planned, said)


async def _chosen_in(request: Request, visitor: Visitor, form: Any) -> _Chosen:
    """Return the requests that a form is about. Raises BadAnswer."""
    if packed := form_text(form, "chosen"):
        return _unpacked(packed)
    if query := form_text(form, "every"):
        return await _listed(request, visitor, query)
    ids = dict.fromkeys(text for text in form.getall("id", ()) if isinstance(text, str))
    if len(ids) > MOST:
        raise BadAnswer(f"more than {MOST:,} requests are selected: select fewer. Nothing was changed.")
    return _Chosen(asked=dict.fromkeys(ids, ""))


async def _listed(request: Request, visitor: Visitor, query: str) -> _Chosen:
    """Return all requests that the inbox lists with a query, and that the visitor may answer."""
    look = look_of(query)

    def read(inbox: Inbox) -> _Chosen:
        actor = inbox.actor
        found, more = inbox.list(look.filter(actor.person), sort=look.sort, limit=MOST)
        own = (item for item in found if not look.every or may_answer(item, actor.person, actor.groups))
        return _Chosen(asked=dict.fromkeys((item.id for item in own), ""), more=more)

    return await gateway_of(request).lists.run(visitor.actor, read)


def _as_chosen(one: PlannedDecision, chosen: _Chosen, *, confirmed: bool) -> PlannedDecision:
    """Return a planned decision, with a problem if its request has changed since the table showed it."""
    if one.item is None or one.problem is not None:
        return one
    if one.name in chosen.left:
        return _with_problem(one, "it was left out when the table was made.")
    if confirmed and (shown := chosen.asked[one.name]) and _asked(one.item) != shown:
        return _with_problem(one, "it has changed since you read it.")
    return one


def _with_problem(one: PlannedDecision, why: str) -> PlannedDecision:
    return structs.replace(one, problem=Conflict(why, code="request-changed"))


def _table(
    request: Request, form: Any, verdict: Verdict, chosen: _Chosen, planned: Sequence[PlannedDecision]
) -> web.Response:
    """Return a page of the preview, with the form that confirms it."""
    undo = gateway_of(request).options.undo
    planned = [_unless_near(one) if undo else one for one in planned]
    lines = [_planned(one, verdict) for one in planned]
    ready, left = [line for line in lines if not line.problem], [line for line in lines if line.problem]
    items = {one.name: one.item for one in planned if one.item is not None}
    asked = {line.id: chosen.asked[line.id] or _asked(items[line.id]) for line in ready}
    pages = max((len(lines) - 1) // PAGE_SIZE + 1, 1)
    number = form_text(form, "page")
    at = min(max(int(number[:4]), 1), pages) if number.isdecimal() else 1
    shown = slice((at - 1) * PAGE_SIZE, at * PAGE_SIZE)
    return page(
        request,
        "many.html",
        verdict=verdict,
        text=form_text(form, "text"),
        confirmed=False,
        undo=undo,
        most=MOST if chosen.more else None,
        chosen=_packed(_Chosen(asked=asked, left=tuple(line.id for line in left))),
        counts=(len(ready), len(left)),
        at=at,
        pages=pages,
        **_parts([*ready, *left][shown]),
    )


def _parts(lines: Sequence[_Line]) -> dict[str, Any]:
    """Return lines as the two tables of the page."""
    return {
        "lines": [line for line in lines if not line.problem],
        "failed": [line for line in lines if line.problem],
    }


def _unless_near(one: PlannedDecision) -> PlannedDecision:
    """Return a planned decision, with a problem if there is no time to undo it."""
    item = one.item
    if item is None or one.problem or item.promise.state != "pending" or can_be_held(item, item.now):
        return one
    return _with_problem(one, "its deadline is within seconds. Decide it by itself.")


async def _hold(
    request: Request, visitor: Visitor, planned: Sequence[PlannedDecision], said: DecisionInput
) -> web.Response:
    """Hold the confirmed decision, and redirect to the inbox, where it can be undone."""
    items = [one.item for one in planned if one.item is not None and one.problem is None]
    failed = [failed_with(one.name, one.problem) for one in planned if one.problem is not None]
    held = await gateway_of(request).inbox(visitor.actor, lambda inbox: inbox.hold_many(items, said, failed))
    response = web.Response(status=303, headers={"Location": HOME})
    held_page.take(request, response, visitor, held)
    return response


async def _result(
    request: Request,
    visitor: Visitor,
    verdict: Verdict,
    planned: Sequence[PlannedDecision],
    said: DecisionInput,
) -> web.Response:
    """Make the confirmed decision, and return the page with what happened."""
    items = {one.name: one for one in planned}
    gateway = gateway_of(request)

    def work(inbox: Inbox) -> list[_Line]:
        return [_done(items[name], result) for name, result in decide_all(inbox, planned, said)]

    lines = await gateway.inbox(visitor.actor, work, pool=gateway.lookback)
    done = _parts(lines)
    return page(
        request,
        "many.html",
        verdict=verdict,
        confirmed=True,
        most=None,
        counts=(len(done["lines"]), len(done["failed"])),
        at=1,
        pages=1,
        **{name: some[:PAGE_SIZE] for name, some in done.items()},
    )


def _said(verdict: Verdict, text: str | None) -> DecisionInput:
    """Return the decision; the text is the reason of a rejection, or the comment of an approval."""
    if verdict == "reject":
        return DecisionInput(verdict="reject", reason=text, unless_claimed=True)
    return DecisionInput(verdict="approve", comment=text, unless_claimed=True)


def _planned(one: PlannedDecision, verdict: Verdict) -> _Line:
    """Return a request's line in the preview."""
    if one.item is None or one.vote is None or one.problem is not None:
        return _left_out(one, one.problem, verdict)
    item = one.item
    what = "approve" if verdict == "approve" else "reject"
    if item.promise.state != "pending":
        what = "nothing: it already has this decision"
    elif item.asked.several:
        what = f"your vote: {what}; {item.asked.approvals} approvals are needed"
    form = answer_form(item.asked)
    filled = form is not None and verdict == "approve" and one.vote.data not in ({}, None)
    data = in_words(as_read(form, one.vote.data)) if filled else ""
    return _Line(id=item.id, title=_title(one), item=item, what=what, data=data)


def _asked(item: RequestSummary) -> str:
    """Return the beginning of the digest of what a request asks; empty for one without canonical JSON."""
    try:
        return asked_digest(item.promise, item.run)[:DIGEST]
    except ValueError:
        return ""


def _done(one: PlannedDecision, result: DecisionResult | HitlError) -> _Line:
    """Return a request's line in the result."""
    if isinstance(result, Exception):
        return _left_out(one, result, "approve")
    verb = "approved" if result.verdict == "approve" else "rejected"
    what = verb if result.settled else f"{verb}: more approvals are needed"
    return _Line(id=one.name, title=_title(one), item=one.item, what=what)


def _left_out(one: PlannedDecision, problem: HitlError | None, verdict: Verdict) -> _Line:
    """Return why a request is left out, in words of the page."""
    asked = None if one.item is None else one.item.asked
    why = str(problem).removesuffix(" Nothing was changed.")
    if asked is not None and problem is not None:
        if problem.code == "proof-needed":
            why = "it needs your signature"
        elif verdict == "approve" and isinstance(problem, BadInput) and asked.choices:
            why = "it needs one of its choices"
        elif verdict == "approve" and isinstance(problem, BadInput) and asked.form is not None:
            why = "its form needs data"
    id = one.name if one.item is None else one.item.id
    at = None if problem is None else problem.at
    return _Line(id=id, title=_title(one), item=one.item, problem=why, at=at)


def _title(one: PlannedDecision) -> str:
    return one.name if one.item is None else as_words(one.item.prompt or "") or one.item.id


def _packed(chosen: _Chosen) -> str:
    """Return the requests of a form as the text of a field."""
    return urlsafe_b64encode(zlib.compress(msgspec.json.encode(chosen))).decode()


def _unpacked(text: str) -> _Chosen:
    """Return the requests of a form's field. Raises BadAnswer."""
    try:
        unpacked = zlib.decompressobj().decompress(urlsafe_b64decode(text), PACKED_MOST)
        chosen = msgspec.json.decode(unpacked, type=inspected(_Chosen))
    except (ValueError, binascii.Error, zlib.error, msgspec.MsgspecError) as error:
        raise BadAnswer("the form is incomplete: select the requests again. Nothing was changed.") from error
    if len(chosen.ids) > MOST:
        raise BadAnswer(f"more than {MOST:,} requests are selected: select fewer. Nothing was changed.")
    return chosen


ROUTES = [form_route("/many", _decide, "decide")]
