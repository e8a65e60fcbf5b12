"""What the page of a request shows of it to one person, read in one go and ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup
from msgspec import UNSET, Struct

from hitl_cli.client.wire import Json, Vote, decode
from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.markdown import Prompt, as_html, as_prompt
from hitl_cli.forms import check_schema
from hitl_cli.forms.reading import Difference, as_read
from hitl_cli.forms.submission import Texts
from hitl_cli.gateway.pages.form_view import Form, drawn
from hitl_cli.inbox.comments import Comment
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.pending import SOON_MS
from hitl_cli.inbox.permission import check_may_answer
from hitl_cli.inbox.votes import differing_votes
from hitl_cli.notify.status import NotificationStatus, said_of, without_old_reminders
from hitl_cli.requests.question import PLAIN, Question
from hitl_cli.runs.reading import detailed
from hitl_cli.runs.run import Run
from hitl_cli.views.details import at_deadline, later, notified, who_may
from hitl_cli.views.steps import StepSummary, step_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.forms.messages import Problem
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.pending import RequestSummary
    from hitl_cli.people.actor import Actor

COMMENTS = 100
STEPS = 20
"""How many of the comments, and of the steps before it, are shown: the last ones."""


class SubmittedForm(Struct, frozen=True, kw_only=True):
    """What was sent to answer a request, to be shown again: texts by path, and what else was typed.

    `remark` is a comment that was to be left without deciding.
    """

    texts: Texts = {}
    comment: str = ""
    remark: str = ""
    reason: str = ""
    choice: str | None = None
    stand_by: str = ""
    """A mark of the differences from other votes that were shown, and are meant."""

    rows: str = ""
    """What is to be done with rows of the form before it is shown again: `add items`, `remove items[0]`."""


class RequestPage(Struct, frozen=True, kw_only=True):
    """A request as one person sees it.

    `why_not` is why they may not answer it; None where they may. `unreadable` is why nobody can. `said` is
    what a promise says that is no request that can be read. `missing` is how many more must approve.
    """

    seen: RequestDetails
    prompt: Prompt | None
    comments: tuple[tuple[Comment, Markup], ...]
    more_comments: int
    run: Run | None
    why_not: str | None
    unreadable: str | None
    said: Json
    form: Form | None
    read: Callable[[Json], Json]
    own: Vote | None
    differing: tuple[Difference, ...]
    missing: int
    near: bool
    may: str
    later: tuple[str, ...]
    at_deadline: str
    steps: tuple[StepSummary, ...]
    more_steps: int
    told: tuple[tuple[NotificationStatus, str], ...]
    more_told: int

    @property
    def answerable(self) -> bool:
        """Whether this person can answer it now."""
        return self.seen.decision is None and self.why_not is None and self.unreadable is None


def view(
    inbox: Inbox,
    request: str | RequestSummary,
    sent: SubmittedForm | None = None,
    problems: Sequence[Problem] = (),
) -> RequestPage:
    """Return what there is to see of a request. Raises NotFound, BadInput."""
    seen = inbox.show(request)
    item, question = seen.item, seen.item.asked
    actor = inbox.actor
    own = next((vote for vote in seen.votes if actor.groups.same(vote.by, actor.person)), None)
    form, broken = _form_of(seen, own, sent, problems)
    every = notified(seen)
    shown = without_old_reminders(every)
    steps = [node for node in seen.before if node.kind not in ("vote", "comment")]
    return RequestPage(
        seen=seen,
        prompt=as_prompt(question.prompt) if item.question not in (None, PLAIN) else None,
        comments=tuple((comment, as_html(comment.text)) for comment in seen.comments[-COMMENTS:]),
        more_comments=max(len(seen.comments) - COMMENTS, 0),
        run=_run_behind(inbox, seen),
        why_not=_why_not(seen, inbox.actor),
        unreadable=broken or (_why_unreadable(seen) if item.question is None else None),
        said=decode(item.promise.param) if item.question in (None, PLAIN) else None,
        form=form,
        read=partial(as_read, question.form),
        own=own,
        differing=differing_votes(question, seen.votes),
        missing=question.approvals - item.votes,
        near=item.deadline - item.now < SOON_MS,
        may=who_may(seen),
        later=tuple(later(seen)),
        at_deadline=at_deadline(question),
        steps=tuple(step_summary(node, item.now) for node in steps[-STEPS:]),
        more_steps=max(len(steps) - STEPS, 0),
        told=tuple((told, said_of(told, item.now)) for told in shown),
        more_told=len(every) - len(shown),
    )


def _form_of(
    seen: RequestDetails, own: Vote | None, sent: SubmittedForm | None, problems: Sequence[Problem]
) -> tuple[Form | None, str | None]:
    """Return the form of an open request, if it has one; or why it cannot be filled in.

    It begins with the person's own vote, or with the answer that did not fit.
    """
    schema = seen.item.asked.form
    if schema is None or seen.decision is not None:
        return None, None
    try:
        check_schema(schema)
        if sent is None:
            refused = seen.item.asked.refused
            before = own if own is not None and own.data is not None else refused
            return drawn(schema, begun=UNSET if before is None else before.data), None
        return drawn(schema, sent.texts, problems, sent.rows), None
    except BadInput as error:
        return None, str(error)


def _why_not(seen: RequestDetails, actor: Actor) -> str | None:
    """Return why a request is not for a person to answer, or None."""
    try:
        check_may_answer(seen.item, actor.person, actor.groups)
    except NotAllowed as error:
        return str(error).removesuffix(" Nothing was changed.")
    return None


def _why_unreadable(seen: RequestDetails) -> str:
    """Return what is wrong with a request that cannot be read."""
    try:
        msgspec.convert(decode(seen.promise.param), Question)
    except msgspec.ValidationError as error:
        return str(error)
    return "it says nothing"


def _run_behind(inbox: Inbox, seen: RequestDetails) -> Run | None:
    """Return the run that asks, as it is now; None where no run does."""
    promise = seen.item.run
    if promise is None or not promise.is_run:
        return None
    return detailed(inbox.client, [promise])[0]
