"""The page of one request: its prompt, its form and its decision.

The inbox and links show the same page; `action` is the address that its form is sent to. After an answer the
browser is redirected there, so that reloading the page does not answer again.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from msgspec import UNSET

from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.errors import (
    BadAnswer,
    BadInput,
    Conflict,
    DoesNotFit,
    HitlError,
    NotAllowed,
    NotFound,
    TimedOut,
)
from hitl_cli.forms import fields
from hitl_cli.forms.submission import read
from hitl_cli.gateway.auth.redirects import HOME
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import status_of
from hitl_cli.gateway.pages import held as held_page
from hitl_cli.gateway.pages import signing
from hitl_cli.gateway.pages.form_view import NAME
from hitl_cli.gateway.pages.look import queue
from hitl_cli.gateway.pages.more import action_named
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.pages.request_view import SubmittedForm, view
from hitl_cli.inbox.decide import vote_of
from hitl_cli.inbox.held import Held
from hitl_cli.inbox.votes import differs_from
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import answer_form, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.web import Request

    from hitl_cli.client.wire import Json
    from hitl_cli.forms.messages import Problem
    from hitl_cli.forms.reading import Difference
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.http_error import HttpError
    from hitl_cli.gateway.options import Options
    from hitl_cli.gateway.pages.request_view import RequestPage
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.requests.editable import Change
    from hitl_cli.requests.question import Question

SEE_OTHER = 303

YES_NO = {"yes": "true", "no": "false"}
"""The answers of the two buttons for a form with a single boolean. Both approve, with this data."""

_OWN = ("csrf", "kept", "verdict")
"""Fields that the page itself adds to a form under "More"."""


class _Wrong(DoesNotFit):
    """The answer does not fit the form."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("the answer does not fit the form.")
        self.unfit = problems


class _Unconfirmed(Conflict):
    """The person must first see what their approval changes, or how it differs from other approvals."""

    def __init__(
        self, question: Question, changes: Sequence[Change], differences: Sequence[Difference]
    ) -> None:
        told = "; ".join(one.sentence for one in differences)
        if not differences:
            said = "you changed the arguments. Send it again to approve them as they are now."
        elif question.editable is not None:
            said = (
                "others approved other arguments, and only approvals of the same ones count together."
                f" {told}. Change yours, or send it again to confirm."
            )
        else:
            said = (
                f"others approved with different data. {told}. Change your data, or send it again to confirm:"
                " the last approval's data counts."
            )
        super().__init__(said, code="votes-differ" if differences else "arguments-changed")
        self.changes = tuple(changes)
        self.mark = sha256(msgspec.json.encode((self.changes, differences))).hexdigest()


async def take(
    request: Request,
    visitor: Visitor,
    form: Any,
    name: str | RequestSummary,
    address_of: Callable[[str], str],
) -> web.Response:
    """Answer a request with a sent form, and redirect to its page; or return the statement to sign first.

    After a failure nothing has changed, and the page shows the error and the typed texts. `address_of` gives
    the address of a request's page by its id.
    """
    gateway = gateway_of(request)
    if form_text(form, "verdict") == "undo":
        return await _undo(request, visitor, form, address_of)
    sent = given_in(form)
    verdict = form_text(form, "verdict") or ("approve" if sent.choice or sent.for_ else "")
    verdict = "approve" if verdict in YES_NO else verdict
    try:
        signer, expect = signing.signer_of(form, visitor.actor), signing.as_shown(form)
        if sent.rows:
            looked = await look(request, visitor, name, sent)
            return await show(request, visitor, looked, action=address_of(looked.seen.item.id), sent=sent)

        def answer(inbox: Inbox) -> str | Held:
            inbox.signer = signer
            hold = signer is None and held_page.is_wanted(request, form)
            return _answer(inbox, name, verdict, sent, expect, gateway.options, hold=hold)

        done = await gateway.inbox(visitor.actor, answer)
    except (BadInput, NotAllowed, Conflict, TimedOut) as error:
        if isinstance(error, signing.ToSign) and signing.wants_statement(form):
            return signing.statement_answer(gateway, error.statement, visitor.actor)
        problems, failed = (error.unfit, None) if isinstance(error, _Wrong) else ((), error)
        looked = await look(request, visitor, _name_of(name), sent, problems)
        action, status = address_of(looked.seen.item.id), status_of(error)
        return await show(request, visitor, looked, action=action, status=status, sent=sent, failed=failed)
    if isinstance(done, Held):
        return await _held(request, visitor, done, address_of)
    where = address_of(done)
    if verdict == "assign" and visitor.via != "link" and not await _is_seen(request, visitor, done):
        where = HOME  # its page would respond 404
    return web.Response(status=SEE_OTHER, headers={"Location": where})


async def stale(
    request: Request,
    visitor: Visitor,
    form: Any,
    error: HttpError,
    name: str | RequestSummary,
    address_of: Callable[[str], str],
) -> web.Response:
    """Show a request again, whose form is from an earlier session, maybe of another person."""
    if form_text(form, "verdict") == "undo":
        raise error
    sent = given_in(form)
    looked = await look(request, visitor, _name_of(name), sent)
    id = looked.seen.item.id
    own = gateway_of(request).access.is_keep_mark(form_text(form, "kept"), visitor.person, id)
    return await show(
        request,
        visitor,
        looked if own else await look(request, visitor, id),
        action=address_of(id),
        status=status_of(error),
        sent=sent,
        refilled=own,
        failed=error,
    )


def _name_of(name: str | RequestSummary) -> str:
    """Return the name by which to read a request again: it may be decided by now."""
    return name if isinstance(name, str) else name.id


async def _is_seen(request: Request, visitor: Visitor, id: str) -> bool:
    """Whether a visitor may still see a request."""
    try:
        await gateway_of(request).inbox(visitor.actor, lambda inbox: inbox.find(id, whole=True))
    except NotFound:
        return False
    return True


async def _held(
    request: Request, visitor: Visitor, done: Held, address_of: Callable[[str], str]
) -> web.Response:
    """Redirect to the next request, where the decision can be undone; with a link to the same page."""
    where = address_of(done.request)
    if visitor.via != "link":
        decided = (await held_page.told(request, visitor)).pending
        following = (await queue(request, visitor, done.request, decided)).following
        where = HOME if following is None else address_of(following.id)
    response = web.Response(status=SEE_OTHER, headers={"Location": where})
    held_page.take(request, response, visitor, done)
    return response


async def _undo(
    request: Request, visitor: Visitor, form: Any, address_of: Callable[[str], str]
) -> web.Response:
    """Undo a held decision, and redirect to its request; the form has the undone answer."""
    gateway = gateway_of(request)
    own = form_text(form, "held")
    undone = await gateway.inbox(visitor.actor, lambda inbox: inbox.undo(own, why_ended))
    where = HOME if undone.many else f"{address_of(undone.request)}?{urlencode({'undone': undone.id})}"
    return web.Response(status=SEE_OTHER, headers={"Location": where})


async def look(
    request: Request,
    visitor: Visitor,
    name: str | RequestSummary,
    sent: SubmittedForm | None = None,
    problems: tuple[Problem, ...] = (),
) -> RequestPage:
    """Return the view of a request for a visitor. Raises NotFound, BadInput."""
    undone = request.query.get("undone", "")
    return await gateway_of(request).inbox(
        visitor.actor, lambda inbox: view(inbox, name, sent, problems, undone)
    )


async def show(
    request: Request,
    visitor: Visitor,
    looked: RequestPage,
    *,
    action: str,
    status: int = 200,
    sent: SubmittedForm | None = None,
    refilled: bool = True,
    failed: HitlError | None = None,
) -> web.Response:
    """Return the page of a request; after a failure, with the error and the sent texts.

    If `refilled`, the sent texts are in the form again; otherwise, or without a form, they are shown as text.
    """
    item = looked.seen.item
    held = await held_page.told(request, visitor)
    typed = sent is not None and not (looked.answerable and refilled)
    response = page(
        request,
        "request.html",
        held=held,
        can_undo=gateway_of(request).options.undo,
        queue=None if visitor.via == "link" else await queue(request, visitor, item.id, held.pending, item),
        status=status,
        view=looked,
        seen=looked.seen,
        item=item,
        may_decide="decide" in visitor.actor.may,
        signing=signing.signing(gateway_of(request), item, visitor.actor),
        action=action,
        sent=_undone(looked) if sent is None or not refilled else sent,
        failed=failed,
        code=failed and failed.code,
        stand_by=failed.mark if isinstance(failed, _Unconfirmed) else "",
        changes=failed.changes if isinstance(failed, _Unconfirmed) else (),
        late=isinstance(failed, (Conflict, TimedOut)) and looked.seen.decision is not None,
        kept=gateway_of(request).access.keep_mark(visitor.person, item.id),
        secrets=[f"{NAME}{path}" for path in _secrets(looked)] if looked.form is not None else [],
        typed=_typed(sent, _secrets(looked)) if sent is not None and typed else [],
    )
    held_page.forget_over(request, response, held)
    return response


def _undone(looked: RequestPage) -> SubmittedForm | None:
    """Return the texts of an undone decision, to fill into the form."""
    if looked.undone is None:
        return None
    said = looked.undone.said
    return SubmittedForm(comment=said.comment or "", reason=said.reason or "")


def given_in(form: Any) -> SubmittedForm:
    """Return the fields of a sent form, without its verdict."""
    texts: dict[str, list[str]] = {}
    for name, value in form.items():
        if name.startswith(NAME) and isinstance(value, str):
            texts.setdefault(name.removeprefix(NAME), []).append(value)
    if action := action_named(form_text(form, "verdict")):
        given = {name: text for name, text in form.items() if isinstance(text, str) and name not in _OWN}
        return SubmittedForm(action=action.name, given=given)
    if (answer := YES_NO.get(form_text(form, "verdict"))) is not None:
        texts[form_text(form, "yes_no").removeprefix(NAME)] = [answer]
    return SubmittedForm(
        texts=texts,
        comment=form_text(form, "comment"),
        reason=form_text(form, "reason"),
        choice=form_text(form, "choice") or None,
        rows=form_text(form, "rows"),
        stand_by=form_text(form, "stand_by"),
        for_=form_text(form, "for"),
        anyway=bool(form_text(form, "anyway")),
    )


def _answer(
    inbox: Inbox,
    request: str | RequestSummary,
    verdict: str,
    sent: SubmittedForm,
    expect: Callable[[RequestSummary], None],
    options: Options,
    *,
    hold: bool,
) -> str | Held:
    """Carry out a form's verdict, and return the id of the request, or the decision that is held.

    Raises BadInput, NotAllowed, Conflict, TimedOut, NotFound.
    """
    remark = sent.comment.strip() or None

    def approval(item: RequestSummary) -> DecisionInput:
        data, choice = _data_of(item, sent), _chosen(item.asked, sent)
        said = DecisionInput(
            verdict="approve",
            data=data,
            choice=choice,
            comment=remark,
            for_=sent.for_ or UNSET,
            unless_claimed=not sent.anyway,
        )
        if item.promise.state != "pending":
            return said
        found: tuple[Difference, ...] = ()
        if item.asked.several:
            mine = vote_of(said, inbox.actor.person, item.asked, 0)
            found = differs_from(item.asked, inbox.show(item).votes, mine)
        changes = changed(item.asked, data)
        unconfirmed = _Unconfirmed(item.asked, changes, found)
        if (changes or found) and unconfirmed.mark != sent.stand_by:
            raise unconfirmed
        return said

    if action := action_named(sent.action):
        return action.do(inbox, request, sent.given, options)
    decide = inbox.hold if hold else inbox.decide
    match verdict:
        case "reject":
            said = DecisionInput(
                verdict="reject",
                reason=sent.reason.strip() or None,
                comment=remark,
                unless_claimed=not sent.anyway,
            )
            done = decide(request, said, expect=expect)
        case "approve":
            done = decide(request, approval, expect=expect)
        case _:
            raise BadAnswer("choose Approve or Reject. Nothing was changed.")
    return done if isinstance(done, Held) else done.promise.id


def _data_of(item: RequestSummary, sent: SubmittedForm) -> Json:
    """Return the data of a sent form; UNSET if the request has no form. Raises BadInput."""
    form = answer_form(item.asked)
    if form is None:
        return UNSET
    filled = read(form, sent.texts)
    if filled.problems and item.promise.state == "pending":
        raise _Wrong(filled.problems)
    return filled.data


def _chosen(question: Question, sent: SubmittedForm) -> str | None:
    """Return the choice that was made. Browsers change line breaks, so compare without them."""
    if sent.choice is None:
        return None
    made = " ".join(sent.choice.split())
    return next((one for one in question.choices if " ".join(one.split()) == made), sent.choice)


def typed_in(form: Any) -> list[tuple[str, str]]:
    """Return the texts typed into a form, by name, without the secrets that it names."""
    secrets = {text.removeprefix(NAME) for text in form.getall("secret", ()) if isinstance(text, str)}
    return _typed(given_in(form), secrets)


def _typed(sent: SubmittedForm, secrets: set[str]) -> list[tuple[str, str]]:
    """Return the typed texts, by name. `secrets` are paths to leave out."""
    texts = {path: texts for path, texts in sent.texts.items() if path not in secrets}
    filled = [(path or "answer", "\n".join(texts).strip()) for path, texts in texts.items()]
    rest = [("choice", sent.choice or ""), ("comment", sent.comment), ("reason", sent.reason)]
    rest += sent.given.items()
    return [(name, text) for name, text in [*filled, *rest] if text.strip()]


def _secrets(looked: RequestPage) -> set[str]:
    """Return the paths of the form's secret fields."""
    schema = answer_form(looked.seen.item.asked)
    return {field.path for field in fields(schema) if field.secret} if schema is not None else set()
