"""`/many`: one decision on many requests: what would happen to each, then one confirmation.

It does what `hitl approve` does with many ids (hitl_cli/inbox/bulk.py). Nothing is decided before the
confirmation, and one failure does not stop the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct, structs

from hitl_cli.errors import BadAnswer, BadInput, Conflict
from hitl_cli.format.markdown import as_words
from hitl_cli.forms.reading import as_read, in_words
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.look import COUNTED
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.bulk import decide_all, plan
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.proof.statement import asked_digest
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import answer_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.web import Request

    from hitl_cli.client.wire import Verdict
    from hitl_cli.errors import HitlError
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.bulk import PlannedDecision
    from hitl_cli.inbox.decide import DecisionResult

MOST = COUNTED
"""Requests to decide at once at most."""


class _Line(Struct, frozen=True, kw_only=True):
    """A request in the table: what would happen to it or did, and with which data; or why not.

    `asked` tells whether the request is still the same when it is confirmed.
    """

    id: str
    title: str
    item: RequestSummary | None = None
    what: str = ""
    data: str = ""
    problem: str = ""
    asked: str = ""


async def _decide(request: Request) -> web.Response:
    """Show what a decision on the selected requests would do; with `confirm`, make it."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "decide")
    form = await request.post()
    gateway.access.check_csrf(visitor, form_text(form, "csrf"))
    verdict: Verdict = "reject" if form_text(form, "verdict") == "reject" else "approve"
    ids = list(dict.fromkeys(_texts(form, "id")))
    if len(ids) > MOST:
        raise BadAnswer(f"these are more than {MOST} requests: select fewer. Nothing was changed.")
    said = _said(verdict, form_text(form, "text").strip() or None)
    confirmed = form_text(form, "confirm") == "1"

    def work(inbox: Inbox) -> list[_Line]:
        planned = plan(inbox, ids, said, whole=True)
        if not confirmed:
            return [_planned(one, verdict) for one in planned]
        planned = [_unless_changed(one, form_text(form, f"asked:{one.name}")) for one in planned]
        items = {one.name: one for one in planned}
        return [_done(items[name], result) for name, result in decide_all(inbox, planned, said)]

    lines = await gateway.inbox(visitor.actor, work)
    return page(
        request,
        "many.html",
        verdict=verdict,
        text=form_text(form, "text"),
        confirmed=confirmed,
        lines=[line for line in lines if not line.problem],
        failed=[line for line in lines if line.problem],
    )


def _said(verdict: Verdict, text: str | None) -> DecisionInput:
    """Return the decision; the text is the reason of a rejection, or the comment of an approval."""
    if verdict == "reject":
        return DecisionInput(verdict="reject", reason=text, unless_claimed=True)
    return DecisionInput(verdict="approve", comment=text, unless_claimed=True)


def _planned(one: PlannedDecision, verdict: Verdict) -> _Line:
    """Return what would happen to a request."""
    if one.item is None or one.vote is None or one.problem is not None:
        return _left_out(one, one.problem, verdict)
    item = one.item
    what = "approve" if verdict == "approve" else "reject"
    if item.promise.state != "pending":
        what = "nothing: it is already decided so"
    elif item.asked.several:
        what = f"your vote: {what}; {item.asked.approvals} approvals are needed"
    form = answer_form(item.asked)
    data = in_words(as_read(form, one.vote.data)) if form is not None and verdict == "approve" else ""
    return _Line(id=item.id, title=_title(one), item=item, what=what, data=data, asked=_asked(item))


def _unless_changed(one: PlannedDecision, shown: str) -> PlannedDecision:
    """Return a planned decision, with a problem if its request is not the one that the table showed."""
    if one.item is None or one.problem is not None or not shown or _asked(one.item) == shown:
        return one
    changed = Conflict("it has changed since the table showed it.", code="request-changed")
    return structs.replace(one, problem=changed)


def _asked(item: RequestSummary) -> str:
    """Return the digest of what a request asks; empty for one without canonical JSON."""
    try:
        return asked_digest(item.promise, item.run)
    except ValueError:
        return ""


def _done(one: PlannedDecision, result: DecisionResult | HitlError) -> _Line:
    """Return what became of a request."""
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
    return _Line(id=id, title=_title(one), item=one.item, problem=why)


def _title(one: PlannedDecision) -> str:
    return one.name if one.item is None else as_words(one.item.prompt or "") or one.item.id


def _texts(form: Any, name: str) -> Sequence[str]:
    """Return all texts of a form's field."""
    return [text for text in form.getall(name, ()) if isinstance(text, str)]


ROUTES = [web.post("/many", _decide)]
