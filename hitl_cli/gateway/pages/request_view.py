"""Everything that a request's page shows to one person, read at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup
from msgspec import UNSET, Struct

from hitl_cli.client.wire import Json, Vote, decode
from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.format.markdown import Prompt, as_html, as_prompt
from hitl_cli.forms import check_schema
from hitl_cli.forms.reading import Difference, as_read
from hitl_cli.forms.submission import Texts
from hitl_cli.gateway.pages.details_view import DrawnDetails, drawn_details
from hitl_cli.gateway.pages.form_view import Form, drawn
from hitl_cli.gateway.pages.more import ACTIONS, Action
from hitl_cli.inbox.comments import Comment
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.held import Held
from hitl_cli.inbox.pending import SOON_MS
from hitl_cli.inbox.permission import check_may_answer
from hitl_cli.inbox.rule_offers import in_words, offered
from hitl_cli.inbox.votes import differing_votes
from hitl_cli.inspected import inspected
from hitl_cli.notify.status import NotificationStatus, said_of, without_old_reminders
from hitl_cli.people.sight import Sight
from hitl_cli.requests.editable import Change, answer_form, changed
from hitl_cli.requests.outcome import answer_given
from hitl_cli.requests.question import PLAIN, Question
from hitl_cli.runs.idle import idle_groups
from hitl_cli.runs.reading import detailed
from hitl_cli.runs.run import Run
from hitl_cli.views.details import at_deadline, later, notified, who_may
from hitl_cli.views.steps import StepSummary, step_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.forms.messages import Problem
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor

COMMENTS = 100
STEPS = 20
"""How many of the last comments, and of the last steps before the request, are shown."""


OFFER_MS = 8 * UNITS_MS["h"]
"""How long the rule of the page's button is valid: a working day, or less if the request offers less."""


_REMARKS = ("vote", "comment", "use", "amendment", "thread")
"""Records that the page shows elsewhere, or not at all."""


class SubmittedForm(Struct, frozen=True, kw_only=True):
    """A sent form of a request, to show again after an error: texts by path, and the other fields.

    `action` is a form under "More" that was sent instead (pages/more.py), with its `given` texts by name.
    """

    texts: Texts = {}
    comment: str = ""
    action: str = ""
    given: dict[str, str] = {}
    reason: str = ""
    choice: str | None = None
    stand_by: str = ""
    """A hash of the changes and the differences from other votes that the person has seen and confirms."""

    for_: str = ""
    """How long the offered rule shall be valid, if it shall be made."""

    anyway: bool = False
    """Whether to decide it even if somebody else has claimed it."""

    rows: str = ""
    """A row to add or remove before the form is shown again: `add items`, `remove items[0]`."""


class RequestPage(Struct, frozen=True, kw_only=True):
    """A request as one person sees it.

    `why_not` is why they may not answer it; None if they may. `unreadable` is why nobody can. `said` is the
    data of a promise that is not a valid request. `missing` is how many more approvals are needed. `answer`
    is the choice, or the yes or no, with which it was approved. `offer` is the rule that they may make with
    an approval, as names and values, and `offer_ms` its longest validity. `more` are other actions that they
    may take. `undone` is the undone decision that fills the form. `idle` says that no worker continues the
    run of a request that this person decided.
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
    details: DrawnDetails
    arguments: DrawnDetails
    answer: str | None
    read: Callable[[Json], Json]
    changes: Callable[[Json], tuple[Change, ...]]
    own: Vote | None
    differing: tuple[Difference, ...]
    missing: int
    near: bool
    may: str
    later: list[tuple[str, int]]
    at_deadline: str
    steps: tuple[StepSummary, ...]
    more_steps: int
    told: tuple[tuple[NotificationStatus, str], ...]
    more_told: int
    offer: list[tuple[str, str]]
    offer_ms: int
    undone: Held | None
    more: tuple[Action, ...]
    idle: tuple[str, ...]

    @property
    def answerable(self) -> bool:
        """Whether this person can answer now."""
        return self.seen.decision is None and self.why_not is None and self.unreadable is None


def view(
    inbox: Inbox,
    request: str | RequestSummary,
    sent: SubmittedForm | None = None,
    problems: Sequence[Problem] = (),
    undone: str = "",
) -> RequestPage:
    """Return the view of a request; after an undo, with the undone decision. Raises NotFound, BadInput."""
    seen = inbox.show(request)
    again = next((one for one in inbox.held([undone]) if one.request == seen.item.id), None)
    item, question = seen.item, seen.item.asked
    actor = inbox.actor
    own = next((vote for vote in seen.votes if actor.groups.same(vote.by, actor.person)), None)
    form, broken = _form_of(seen, own, sent, problems, again)
    every = notified(seen)
    shown = without_old_reminders(every)
    rule = offered(item, actor)
    steps = [node for node in seen.before if node.kind not in _REMARKS]
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
        details=drawn_details(question.details),
        arguments=drawn_details(question.arguments, exact=True),
        answer=_answer_of(seen),
        read=partial(as_read, answer_form(question)),
        changes=partial(changed, question),
        own=own,
        differing=differing_votes(question, seen.votes),
        missing=question.approvals - item.votes,
        near=item.deadline - item.now < SOON_MS,
        may=who_may(seen),
        later=later(seen),
        at_deadline=at_deadline(question),
        steps=tuple(step_summary(node, item.now) for node in steps[-STEPS:]),
        more_steps=max(len(steps) - STEPS, 0),
        told=tuple((told, said_of(told, item.now)) for told in shown),
        more_told=len(every) - len(shown),
        offer=[] if rule is None else in_words(rule),
        offer_ms=0 if question.offer is None else min(question.offer.longest, OFFER_MS),
        undone=again,
        more=tuple(action for action in ACTIONS if action.offered(inbox, seen)),
        idle=_idle(inbox, seen),
    )


def _form_of(
    seen: RequestDetails,
    own: Vote | None,
    sent: SubmittedForm | None,
    problems: Sequence[Problem],
    undone: Held | None,
) -> tuple[Form | None, str | None]:
    """Return the form of an open request, if it has one; or why the form is not valid.

    It begins with the decision that was undone, the person's own vote, or the answer that could not be used.
    """
    schema = answer_form(seen.item.asked)
    if schema is None or seen.decision is not None:
        return None, None
    try:
        check_schema(schema)
        if sent is None:
            before = own if own is not None and own.data is not None else seen.item.asked.refused
            begun = UNSET if before is None else before.data
            begun = begun if undone is None or undone.said.data is UNSET else undone.said.data
            return drawn(schema, begun=begun), None
        return drawn(schema, sent.texts, problems, sent.rows), None
    except BadInput as error:
        return None, str(error)


def _answer_of(seen: RequestDetails) -> str | None:
    """Return the choice, or the yes or no, with which a request was approved."""
    decision, asked = seen.decision, seen.item.asked
    if decision is None or decision.outcome != "approved":
        return None
    return answer_given(asked, decision.choice, decision.data)


def _why_not(seen: RequestDetails, actor: Actor) -> str | None:
    """Return why a person may not answer a request, or None."""
    try:
        check_may_answer(seen.item, actor.person, actor.groups)
    except NotAllowed as error:
        return str(error).removesuffix(" Nothing was changed.")
    return None


def _why_unreadable(seen: RequestDetails) -> str:
    """Return why a request is not valid; None if it is."""
    try:
        msgspec.convert(decode(seen.promise.param), inspected(Question))
    except msgspec.ValidationError as error:
        return str(error)
    return "it is empty"


def _idle(inbox: Inbox, seen: RequestDetails) -> tuple[str, ...]:
    """Return that no worker continues the run, if this person decided the request and may see the run."""
    actor, decision, run = inbox.actor, seen.decision, seen.item.run
    if decision is None or run is None or not actor.groups.same(actor.person, decision.by):
        return ()
    return tuple(idle_groups(inbox.client, [run])) if Sight(actor).run(run) else ()


def _run_behind(inbox: Inbox, seen: RequestDetails) -> Run | None:
    """Return the current run of a request; None if it has none, or the visitor may not see it."""
    promise = seen.item.run
    if promise is None or not promise.is_run or not Sight(inbox.actor).run(promise):
        return None
    return detailed(inbox.client, [promise])[0]
