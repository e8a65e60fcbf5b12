"""`ask`: how a workflow asks a person, and what it is told.

The question is put by a step of its own, `asking`. Its first promise is the request: created with what is
asked in it, where the SDK's own `ctx.promise()` would create it bare, and then awaited by that call, which
finds it there. Whatever else the step waits for (the next time at which to remind) is a promise too, so
nothing is in memory meanwhile, and a worker that comes to the step again goes through the same calls.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn, TypedDict, Unpack, overload

import msgspec
from resonate.context import Context, ResonateFuture
from resonate.retry import Never
from resonate.types import PromiseRecord

from hitl_cli import defaults
from hitl_cli.authoring.changed_question import (
    NewRequest,
    OnChange,
    Place,
    check_kept,
    code_of,
    is_of_newer,
    leave_to_newer,
    question_in,
    standing,
    take_back,
    told,
)
from hitl_cli.authoring.refused_answer import put_again, refusal
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import is_blocking
from hitl_cli.errors import NotAwaited, QuestionChanged
from hitl_cli.format.durations import LONGEST_MS, bad_duration, format_age, format_duration, parse_duration
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.forms import as_form_type, schema_of
from hitl_cli.inbox.ask import digest_of as digest_of_file
from hitl_cli.notify.deliver import give_notice, notifier_of
from hitl_cli.people.contacts import NotificationSettings, recipients, unreached
from hitl_cli.people.groups import NO_GROUPS, Groups, check_known, unknown_people
from hitl_cli.requests.decision import Decision, KeptDecision, decision_on
from hitl_cli.requests.notification import Notification, outcome_notification
from hitl_cli.requests.question import (
    Digest,
    Escalation,
    Instead,
    Priority,
    Question,
    found_by,
    not_askable,
    sensible,
)
from hitl_cli.sdk import context as sdk
from hitl_cli.sdk.replay import note_question
from hitl_cli.sdk.suspension import end_if_over

logger = logging.getLogger(__name__)

type Duration = str | timedelta
"""How long: `90s`, `1h30m`, `2d`, or a timedelta."""

type OnDeadline = Literal["expire", "approve", "reject"] | Any
"""What it means when the deadline passes; any other value counts as approved, with that value."""


PLAIN_DEADLINES = ("expire", "approve", "reject")

LIFE = timedelta(milliseconds=defaults.DEADLINE_MS)

SHORTENED = 0.99
"""Below what part of its deadline a request that can be answered for less time is worth a warning."""


def _not_awaited(*_: object) -> NoReturn:
    raise NotAwaited("this is a question and not yet a decision: await it, as in `await ask(...)`.")


class PendingDecision[T](Awaitable[Decision[T]]):
    """A question that has been put. Awaiting it gives the decision; any other use raises NotAwaited."""

    __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = __str__ = __format__ = _not_awaited
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __int__ = __float__ = _not_awaited
    __hash__ = object.__hash__

    def __init__(self, place: Place, form: Any) -> None:
        self._place = place
        self._form = form
        self._begin()

    def _begin(self) -> None:
        """Begin, or go on with, the step that puts it."""
        place = self._place
        self._placed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        note_question(place.step, place.id, keep=place.put.keep)
        self._step: ResonateFuture[KeptDecision] = place.step.run(
            asking, place.put, self._placed, place.before, self._form
        )
        sdk.on_end(self._step, self._end)  # nothing else tells that it was not put

    async def id(self) -> str:
        """Return the id of the request, once it is there: to tell somebody in a way of one's own."""
        return await asyncio.shield(self._placed)  # whoever is canceled here, the question is put

    def __eq__(self, other: object) -> bool:
        return self is other or (not isinstance(other, PendingDecision) and _not_awaited())

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # what Python and tools look for on any object
            raise AttributeError(name)
        _not_awaited()

    def _end(self, step: asyncio.Task[Any]) -> None:
        """Note that it was put in an earlier attempt; or that this attempt is over, before it could be."""
        if self._placed.done():
            return
        failure = None if step.cancelled() else step.exception()
        if failure is None and not step.cancelled():
            self._placed.set_result(step.result().id)
        elif failure is None or isinstance(failure, Exception):  # what awaiting the decision will raise
            self._placed.set_result(sdk.first_id(self._place.id))
        else:
            self._placed.set_exception(failure)
            self._placed.exception()  # so that nobody need ask for it

    def __await__(self) -> Generator[Any, None, Decision[T]]:
        return self._typed().__await__()

    async def _typed(self) -> Decision[T]:
        decision: KeptDecision = await self._step
        while self._place.is_left(decision):
            self._begin()
            decision = await self._step
        check_kept(self._place.put, decision)
        data = decision.data
        if data is not None and self._form is not None:
            data = as_form_type(self._form, data)
        decided: Decision[T] = told(self._place.put, decision, data)
        return decided


Asked = PendingDecision
"""The name of PendingDecision before 0.2."""


class _AskOptions(TypedDict, total=False):
    """What `ask` can be told besides the prompt and the form."""

    details: Any
    choices: Sequence[str]
    to: str | Sequence[str]
    approvals: int
    allow_self: bool
    deadline: Duration | None
    on_deadline: OnDeadline
    remind: Duration | None
    escalate: Mapping[str, str | Sequence[str]] | None
    key: str | None
    priority: Priority
    tags: Mapping[str, str] | None
    link: str | None
    digest: Digest | None
    on_change: OnChange


@overload
def ask[T](
    ctx: Context, prompt: str, *, form: type[T], **options: Unpack[_AskOptions]
) -> PendingDecision[T]: ...
@overload
def ask(
    ctx: Context, prompt: str, *, form: Mapping[str, Any] | None = None, **options: Unpack[_AskOptions]
) -> PendingDecision[Any]: ...
def ask(
    ctx: Context,
    prompt: str,
    *,
    details: Any = None,
    form: Any = None,
    choices: Sequence[str] = (),
    to: str | Sequence[str] = (),
    approvals: int = 1,
    allow_self: bool = True,
    deadline: Duration | None = None,
    on_deadline: OnDeadline = "expire",
    remind: Duration | None = None,
    escalate: Mapping[str, str | Sequence[str]] | None = None,
    key: str | None = None,
    priority: Priority = "normal",
    tags: Mapping[str, str] | None = None,
    link: str | None = None,
    digest: Digest | None = None,
    on_change: OnChange = "ask",
) -> PendingDecision[Any]:
    """Ask a person, and return what can be awaited for their decision.

    `prompt` is Markdown; `details` any JSON, shown as a table; `form` a JSON Schema, or a type (msgspec
    Struct, dataclass, pydantic model …) whose schema the answer must fit and as which it comes back;
    `choices` are named answers beyond yes and no. `to` says who may answer (`group:NAME` for a group), by
    default anybody; of these so many as `approvals` must approve; with `allow_self=False` not the person
    who started the run. Until `deadline` (365 days), after which `on_deadline` holds; those who are asked
    are reminded every `remind`, and `escalate={"8h": ["lead"]}` says who may answer too after a while.
    `key` is a name of its own by which it can be answered; `priority`, `tags` and `link` are for those who
    look at many; `digest` is the content that is asked about, as `digest_of` returns it. With
    `on_change="keep"` a question that was put before stands, whatever the code asks now. Raises BadInput for
    what makes no sense, and QuestionChanged where the same code asks something else.
    docs/reference/wire.md has all of it.
    """
    question = Question(
        prompt=prompt,
        details=details,
        form=None if form is None else schema_of(form),
        choices=_several("choices", choices),
        to=_names_of(to),
        approvals=approvals,
        allow_self=allow_self,
        on_deadline=on_deadline if on_deadline in PLAIN_DEADLINES else Instead(value=on_deadline),
        remind=None if remind is None else _ms_of(remind),
        escalate=escalations_of(escalate or {}),
        priority=priority,
        link=link,
        digest=digest,
        code=code_of(ctx, frame.f_back if (frame := inspect.currentframe()) else None),
    )
    if on_change not in ("ask", "keep"):
        raise not_askable(f'on_change={on_change!r} is neither "ask" nor "keep".')
    if isinstance(on_deadline, str) and on_deadline not in PLAIN_DEADLINES and not choices and form is None:
        raise not_askable(f'on_deadline={on_deadline!r} is neither "expire" nor "approve" nor "reject".')
    if isinstance(question.on_deadline, Instead) and form is not None and not choices:
        as_form_type(form, on_deadline)  # else the run would fail by an answer that nobody gave
    if deadline is not None and any(step.after >= _ms_of(deadline) for step in question.escalate):
        raise not_askable("it would be escalated after its deadline.")
    end_if_over()
    put = NewRequest(
        question=sensible(question),
        tags=found_by(question, key, ctx.info.func_name, tags or {}),
        deadline_ms=defaults.DEADLINE_MS if deadline is None else _ms_of(deadline),
        chosen=deadline is not None,
        typed=form is not None and not isinstance(form, Mapping),
        keep=on_change == "keep",
    )
    return PendingDecision(Place(_step_of(ctx, put), put), form)


def _step_of(ctx: Context, put: NewRequest) -> Context:
    """Return the context for the step that puts a question.

    The step outlives its request, so that the deadline is the request's to pass. What it raises is the
    author's to see, and would be raised again.
    """
    life = timedelta(milliseconds=put.deadline_ms + defaults.DEADLINE_MS)
    return ctx.options(timeout=life, retry_policy=Never())


async def ask_all(*asked: PendingDecision[Any]) -> list[Decision[Any]]:
    """Return the decisions on several questions that were put before, once all have been made."""
    return list(await asyncio.gather(*asked))


# What is asked


def _several(what: str, values: Any) -> tuple[str, ...]:
    """Return texts as a tuple. Raises BadInput; one text alone is not several of one letter each."""
    try:
        return msgspec.convert(values, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise not_askable(f"{what} is {values!r}, and not a list of texts.") from error


def _names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several as several. Raises BadInput."""
    return _several("to", [names] if isinstance(names, str) else names)


def escalations_of(escalate: Mapping[str, str | Sequence[str]]) -> tuple[Escalation, ...]:
    """Return who may answer too, and when. Raises BadInput."""
    if not isinstance(escalate, Mapping):
        raise not_askable('escalate says when and to whom, as in {"8h": ["lead"]}.')
    return tuple(Escalation(after=_ms_of(after), to=_names_of(names)) for after, names in escalate.items())


def _ms_of(duration: Duration) -> int:
    """Return a duration in ms. Raises BadInput."""
    if isinstance(duration, str):
        return parse_duration(duration)
    if not isinstance(duration, timedelta):
        raise bad_duration(
            f"{duration!r} is not a duration: write it like 90s, 1h30m or 30d, or as a timedelta."
        )
    ms = round(duration / timedelta(milliseconds=1))
    if not 0 < ms <= LONGEST_MS:
        raise bad_duration(
            f"{duration!s} cannot be used: a duration must be more than 0 and under 100 years."
        )
    return ms


async def digest_of(_ctx: Context, path: str | Path) -> Digest:
    """Return the SHA-256 of a file and its name: a step, to be run before what it asks about.

    `digest = await ctx.run(digest_of, "app.tar")` is read once; what is done after the yes can be held to it.
    """
    return await asyncio.to_thread(digest_of_file, str(path))


# How it is asked


async def asking(
    ctx: Context,
    put: NewRequest,
    placed: asyncio.Future[str] | None = None,
    before: PromiseRecord | None = None,
    form: Any = None,
) -> KeptDecision:
    """Put the question, wait for the answer, and return it; `placed` has the request's id once it is put.

    `before` is a promise that stands where this is asked now. An answer that the type `form` refuses is not
    returned: the question is put again.
    """
    if before is not None:
        await take_back(ctx, before, sdk.first_id(ctx.info.id), put)
    request = await create(ctx, put)
    question = question_in(request)
    try:
        found = standing(request, question, put)
    except QuestionChanged:
        await give_way(ctx, request, question, None, put)
        raise
    if found == "other":
        return await ask_beside(ctx, request, question, put, placed, form)
    assert question is not None
    if placed is not None and found == "same":
        placed.set_result(request.id)
    if request.state == "pending":
        await give_notice(ctx, Notification(request=request.id, occasion="asked", names=question.to), request)
        answer = ctx.promise()
        if await answer.id() != request.id:
            raise RuntimeError(f"{request.id} was asked, but {await answer.id()} would be waited for")
        await remind_until_answered(ctx, question, request)
        await answer  # ends this attempt: what is awaited is pending
    if found == "newer":
        leave_to_newer(request.id)
    again = sdk.beside(request.id)
    await sdk.settle_children(ctx, but=again)  # what is left of the reminders
    decision = decision_on(request, question, request.value.data, request.value.headers)
    refused = refusal(ctx, form, decision, question, again)
    if refused is not None:
        new = put_again(request, question, put, refused, sdk.now(ctx))
        note_question(ctx, again, keep=put.keep)
        taken: KeptDecision = await sdk.named(_step_of(ctx, new), again).run(asking, new, None, None, form)
        return msgspec.structs.replace(taken, answers=question)
    await tell_the_others(ctx, question, request)
    return KeptDecision(**msgspec.structs.asdict(decision), answers=question)


async def ask_beside(
    ctx: Context,
    request: PromiseRecord,
    found: Question | None,
    put: NewRequest,
    placed: asyncio.Future[str] | None,
    form: Any,
) -> KeptDecision:
    """Put the question in the place of another one, whose answer is not used, and return the answer to it."""
    step = sdk.beside(request.id)
    if is_of_newer(request, put) and sdk.found(ctx, sdk.first_id(step)) is None:
        leave_to_newer(request.id)
    await give_way(ctx, request, found, step, put)
    note_question(ctx, step, keep=put.keep)
    replaces = request.id if is_blocking(request.tags) else None
    new = put._replace(question=msgspec.structs.replace(put.question, replaces=replaces, refused=None))
    answer: KeptDecision = await sdk.named(_step_of(ctx, put), step).run(asking, new, placed, None, form)
    return answer


async def give_way(
    ctx: Context, request: PromiseRecord, found: Question | None, step: str | None, put: NewRequest
) -> None:
    """Take a request back and tell its people; `step` is the one that asks something else in its place."""
    if not is_blocking(request.tags):
        return
    request = await take_back(ctx, request, None if step is None else sdk.first_id(step), put)
    await sdk.settle_children(ctx, but=step)
    if found is not None:
        await tell_the_others(ctx, found, request)


asking.__name__ = "ask"  # as the step is called in the tree of a run


async def create(ctx: Context, put: NewRequest) -> PromiseRecord:
    """Create the request, under the id that the first `ctx.promise()` will have, or find it there."""
    now = sdk.now(ctx)
    asked = msgspec.to_builtins(put.question)
    groups = await check_people(ctx, put.question)
    created = await sdk.create_first(ctx, asked, put.tags, now + put.deadline_ms)
    if created.created_at >= now and (unknown := groups.unknown(put.question.everyone)):
        logger.warning("%s waits for an answer: %s", created.id, printable(unknown_people(unknown, groups)))
    shortened = created.created_at >= now and created.timeout_at < now + SHORTENED * put.deadline_ms
    if shortened and (put.chosen or ":" in ctx.info.parent_id):  # else it stands as long as the run, as meant
        left = format_duration(created.timeout_at - now)
        logger.warning("%s can be answered for %s only: then what asks it ends", created.id, left)
    return created


async def check_people(ctx: Context, question: Question) -> Groups:
    """Return the people of this worker's settings. Raises BadInput if these refuse to ask a name.

    What was asked before they did is not refused: the run goes on.
    """
    try:
        groups = ctx.get_dependency(NotificationSettings).now.members
    except KeyError:
        return NO_GROUPS
    if groups.strict and groups.unknown(question.everyone):
        id = sdk.first_id(ctx.info.id)
        before = await ctx.get_dependency(ClientPool).run(get_promise, id)
        if before is None:
            check_known(question.everyone, groups)
    return groups


async def remind_until_answered(ctx: Context, question: Question, request: PromiseRecord) -> None:
    """Remind those who are asked, and those it is escalated to, each time that is due; sleep in between."""
    told = request.created_at
    while (due := next_occasion(question, request.created_at, told)) < request.timeout_at:
        left = max(due - sdk.now(ctx), 1)
        await ctx.sleep(timedelta(milliseconds=left))
        step = ctx.options(timeout=LIFE)  # else one that was begun, and left for a day, would be over
        told = await step.run(remind, question, request, told)


def next_occasion(question: Question, created_at: int, told: int) -> int:
    """Return when next to remind somebody, in ms since the epoch; for ever from now if never."""
    due = [created_at + step.after for step in question.escalate if created_at + step.after > told]
    if question.remind is not None:
        times = (told - created_at) // question.remind + 1
        due.append(created_at + times * question.remind)
    return min(due, default=2**63)


async def remind(ctx: Context, question: Question, request: PromiseRecord, told: int) -> int:
    """Say once what was due since `told`, and return until when that is: ms since the epoch.

    Those who can be reached are sent a message, and for the others there is a line.
    """
    created_at = request.created_at
    now = max(sdk.now(ctx), next_occasion(question, created_at, told))
    asked = question.asked_at(now - created_at)
    new = tuple(name for name in asked if name not in question.asked_at(told - created_at))
    number = int(ctx.info.id.rpartition(".")[2])  # the same, whoever does this step
    if new:
        escalated = Notification(request=request.id, occasion="escalated", names=new, number=number)
        await give_notice(ctx, escalated, request)
    if _is_due(question, told - created_at, now - created_at) and (not asked or len(asked) > len(new)):
        old = tuple(name for name in asked if name not in new)
        reminder = Notification(request=request.id, occasion="reminder", names=old, number=number)
        await give_notice(ctx, reminder, request)
    print_reminder(ctx, question, request, asked, new, now)
    return now


def _is_due(question: Question, told: int, now: int) -> bool:
    """Whether there was a time to remind since `told`; both are ms since it was asked."""
    return question.remind is not None and now // question.remind > told // question.remind


def print_reminder(
    ctx: Context,
    question: Question,
    request: PromiseRecord,
    asked: tuple[str, ...],
    new: tuple[str, ...],
    now: int,
) -> None:
    """Print a line for those who are asked and cannot be reached otherwise, if there are any."""
    teller = notifier_of(ctx)
    if teller is not None:
        if not asked and recipients((), teller.directory):
            return
        left = unreached(asked, teller.directory)
        if asked and not left:
            return
        asked, new = left, tuple(name for name in new if name in left)
    id, who = request.id, ", ".join(asked) or "anybody"
    since = format_age(now - request.created_at)
    too = f" (now for {', '.join(new)} too)" if new else ""
    line = f"promise {id} waits for {who} since {since}: {question.title}{too}: {command('show', [id])}"
    print(printable(line), flush=True)


async def tell_the_others(ctx: Context, question: Question, request: PromiseRecord) -> None:
    """Have those who were asked, and did not decide it, told what came of it."""
    asked = question.asked_at((request.settled_at or request.timeout_at) - request.created_at)
    await give_notice(ctx, outcome_notification(request.id, request.state, asked), request)
