"""The page of one request: what is asked, the form by which it is answered, and what came of it.

The inbox and the links show the same page; `action` is the address that its form is sent to. What was
answered leads back there, so that loading it again answers nothing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import UNSET, Struct

from hitl_cli.errors import BadAnswer, BadInput, Conflict, DoesNotFit, HitlError, NotAllowed, TimedOut
from hitl_cli.forms import fields
from hitl_cli.forms.submission import read
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import status_of
from hitl_cli.gateway.pages.form_view import NAME
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.pages.request_view import SubmittedForm, view
from hitl_cli.inbox.comments import comment
from hitl_cli.inbox.decide import approval, decide_promise, rejection
from hitl_cli.inbox.resolve import find
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.forms.messages import Problem
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.pages.request_view import RequestPage
    from hitl_cli.people.groups import Groups

SEE_OTHER = 303

FORBIDDEN = 403


class _Wrong(DoesNotFit):
    """What was filled in does not fit the form."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("the answer does not fit the form.")
        self.unfit = problems


class _Given(Struct, frozen=True, kw_only=True):
    """What a form that was sent asks for: to approve, to reject, or only to leave a comment."""

    verdict: str
    sent: SubmittedForm


async def take(request: Request, name: str, visitor: Visitor, *, action: str) -> web.Response:
    """Answer a request as the form that was sent says, and lead to the page of what came of it.

    What cannot be done is said on the page, with what was typed, and changes nothing.
    """
    gateway = gateway_of(request)
    form = await request.post()
    gateway.access.check_csrf(visitor, form_text(form, "csrf"))
    given = _given_in(form)
    try:
        await gateway.bridge.run(_answer, name, given, visitor, gateway.options.directory.members)
    except _Wrong as wrong:
        status = status_of(wrong)
        return await show(request, name, action=action, status=status, sent=given.sent, problems=wrong.unfit)
    except (BadInput, NotAllowed, Conflict, TimedOut) as error:
        status = status_of(error)
        return await show(request, name, action=action, status=status, sent=given.sent, failed=error)
    return web.Response(status=SEE_OTHER, headers={"Location": action})


async def show(
    request: Request,
    name: str,
    *,
    action: str,
    status: int = 200,
    sent: SubmittedForm | None = None,
    problems: tuple[Problem, ...] = (),
    failed: HitlError | None = None,
) -> web.Response:
    """Return the page of the request that a name means, for the visitor. Changes nothing.

    Where something was sent of which nothing came, with that, and why.
    """
    gateway = gateway_of(request)
    visitor = gateway.access.known(request)
    looked = await gateway.bridge.run(
        view, name, gateway.options.directory.members, visitor.person if visitor else None, sent, problems
    )
    return page(
        request,
        "request.html",
        status=FORBIDDEN if problems and looked.why_not else status,
        view=looked,
        seen=looked.seen,
        item=looked.seen.item,
        may_decide=visitor is not None and "decide" in visitor.can,
        action=action,
        sent=sent,
        failed=str(failed or ""),
        code=failed and failed.code,
        typed=_typed(sent, looked) if sent is not None and not looked.answerable else [],
    )


def _given_in(form: Any) -> _Given:
    """Return what a form that was sent says."""
    texts: dict[str, list[str]] = {}
    for name, value in form.items():
        if name.startswith(NAME) and isinstance(value, str):
            texts.setdefault(name.removeprefix(NAME), []).append(value)
    choice = form_text(form, "choice")
    return _Given(
        verdict=form_text(form, "verdict") or ("approve" if choice else ""),
        sent=SubmittedForm(
            texts=texts,
            comment=form_text(form, "comment"),
            reason=form_text(form, "reason"),
            choice=choice or None,
        ),
    )


def _answer(client: Client, name: str, given: _Given, visitor: Visitor, groups: Groups) -> None:
    """Do what a form asks for. Raises Wrong, BadInput, NotAllowed, Conflict, TimedOut, NotFound."""
    sent, by, via = given.sent, visitor.person, visitor.via
    promise = find(client, name)
    remark = sent.comment.strip() or None
    match given.verdict:
        case "comment":
            comment(client, promise.id, sent.comment, by=by, via=via)
        case "reject":
            reason = sent.reason.strip() or None
            decide_promise(client, promise, rejection(by=by, via=via, reason=reason, comment=remark), groups)
        case "approve":
            said = approval(
                by=by, via=via, data=_data_of(promise, sent), text=_chosen(promise, sent), comment=remark
            )
            decide_promise(client, promise, said, groups)
        case _:
            raise BadAnswer("say whether you approve or reject it. Nothing was changed.")


def _data_of(promise: Promise, sent: SubmittedForm) -> Json:
    """Return the data that was filled in, UNSET where nothing is asked for. Raises Wrong, BadInput."""
    question = question_of(promise)
    if question is None or question.form is None:
        return UNSET
    filled = read(question.form, sent.texts)
    if filled.problems and promise.state == "pending":
        raise _Wrong(filled.problems)
    return filled.data


def _chosen(promise: Promise, sent: SubmittedForm) -> str | None:
    """Return the choice that was made; browsers send line breaks of their own."""
    question = question_of(promise)
    if sent.choice is None or question is None:
        return sent.choice
    made = " ".join(sent.choice.split())
    return next((one for one in question.choices if " ".join(one.split()) == made), sent.choice)


def _typed(sent: SubmittedForm, looked: RequestPage) -> list[tuple[str, str]]:
    """Return what was typed and came to nothing, name and text; no secret."""
    schema = looked.seen.item.asked.form
    secrets = {field.path for field in fields(schema) if field.secret} if schema is not None else set()
    texts = {path: texts for path, texts in sent.texts.items() if path not in secrets}
    filled = [(path or "answer", "\n".join(texts).strip()) for path, texts in texts.items()]
    rest = [("choice", sent.choice or ""), ("comment", sent.comment), ("reason", sent.reason)]
    return [(name, text) for name, text in [*filled, *rest] if text.strip()]
