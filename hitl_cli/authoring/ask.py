"""`ask`: how a workflow asks a person and gets the decision.

Each request has a step of its own, `asking`. The first promise of that step is the request. It is created
with its content, under the id that the step's first `ctx.promise()` will have (which would create it without
data). Reminders are durable sleeps. So nothing stays in memory during the wait, and a worker that runs the
step again repeats the same calls.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

import asyncio
import logging
from collections.abc import Awaitable, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn, Unpack, overload

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
from hitl_cli.authoring.proof import (
    as_author_allows,
    as_policy_demands,
    people_of,
    proven,
    why_not_proven,
)
from hitl_cli.authoring.refused_answer import put_again, refusal, refused_before, without_proof
from hitl_cli.authoring.use import consume_in_run
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import Client, get_promise
from hitl_cli.client.tags import DEADLINE_TAG
from hitl_cli.client.wire import is_blocking
from hitl_cli.errors import BadInput, NotAwaited, QuestionChanged
from hitl_cli.format.durations import Duration, duration_ms, format_age, format_duration
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import instant
from hitl_cli.forms import as_form_type, schema_of
from hitl_cli.inbox.ask import digest_of as digest_of_file
from hitl_cli.inbox.decision_log import log_seen, trace_request
from hitl_cli.inbox.proof import unproven
from hitl_cli.inbox.rule_decisions import decide_by_rule
from hitl_cli.inbox.rule_offers import check_offer
from hitl_cli.inbox.votes import check_people, starter_matters
from hitl_cli.notify.deliver import amendments_in_run, give_notice, notifier_of, tell_outcome
from hitl_cli.people.contacts import NotificationSettings, recipients, unreached
from hitl_cli.people.groups import NO_GROUPS, Groups, unknown_people
from hitl_cli.proof.signing import too_few_sign
from hitl_cli.requests.amendments import assignees_of, deadline_of
from hitl_cli.requests.decision import Decision, KeptDecision, decision_by_deadline, decision_on
from hitl_cli.requests.demand import OnUnproven
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.question import (
    Digest,
    Escalation,
    Instead,
    Priority,
    ProofKind,
    Question,
    Reassign,
    Refused,
    asker_of,
    found_by,
    not_askable,
    quorum_of,
    sensible,
)
from hitl_cli.requests.question_input import QuestionOptions, offer_of
from hitl_cli.requests.use import consume_at
from hitl_cli.rules.matching import TOOL
from hitl_cli.sdk import context as sdk
from hitl_cli.sdk.replay import note_question
from hitl_cli.sdk.suspension import end_if_over

logger = logging.getLogger(__name__)

type OnDeadline = Literal["expire", "approve", "reject"] | Any
"""The outcome when the deadline passes. Any other value is the data of an approval."""


PLAIN_DEADLINES = ("expire", "approve", "reject")

LIFE = timedelta(milliseconds=defaults.DEADLINE_MS)

SHORTENED = 0.99
"""Warn if a request can be answered for less than this part of its deadline."""


def _not_awaited(*_: object) -> NoReturn:
    raise NotAwaited("this is not a decision yet: await it first, as in `await ask(...)`.")


class PendingDecision[T](Awaitable[Decision[T]]):
    """A request whose decision can be awaited, the result of `ask`. Awaiting it gives the `Decision`.

    To ask several people at the same time, await later:

        security = ask(ctx, "Security review?", to="group:security")
        legal = ask(ctx, "Legal review?", to="group:legal")
        decisions = await ask_all(security, legal)

    Any use other than `await`, `id()` and comparison raises NotAwaited, so that `if ask(...)` without `await`
    fails instead of counting as a yes.
    """

    __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = __str__ = __format__ = _not_awaited
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __int__ = __float__ = _not_awaited
    __hash__ = object.__hash__

    def __init__(self, place: Place, form: Any) -> None:
        self._place = place
        self._form = form
        self._begin()

    def _begin(self) -> None:
        """Start the step that asks, or resume it."""
        place = self._place
        self._placed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        note_question(place.step, place.id, keep=place.put.keep)
        self._step: ResonateFuture[KeptDecision] = place.step.run(
            asking, place.put, self._placed, place.before, self._form
        )
        sdk.on_end(self._step, self._end)  # nothing else reports that the request was not created

    async def id(self) -> str:
        """Return the id of the request, once it exists, for example to send a link to it."""
        return await asyncio.shield(self._placed)  # canceling this wait must not cancel the request

    def __eq__(self, other: object) -> bool:
        return self is other or (not isinstance(other, PendingDecision) and _not_awaited())

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # Python and tools look for such names on any object
            raise AttributeError(name)
        _not_awaited()

    def _end(self, step: asyncio.Task[Any]) -> None:
        """Settle the id, if the request was created in an earlier attempt, or this attempt has ended."""
        if self._placed.done():
            return
        failure = None if step.cancelled() else step.exception()
        if failure is None and not step.cancelled():
            self._placed.set_result(step.result().id)
        elif failure is None or isinstance(failure, Exception):  # awaiting the decision raises it
            self._placed.set_result(sdk.first_id(self._place.id))
        else:
            self._placed.set_exception(failure)
            self._placed.exception()  # no warning if nobody awaits the id

    def __await__(self) -> Generator[Any, None, Decision[T]]:
        return self._typed().__await__()

    async def _typed(self) -> Decision[T]:
        decision: KeptDecision = await self._step
        while self._place.is_left(decision):
            self._begin()
            decision = await self._step
        if decision.approved:
            decision = await proven(self._place, decision)
        check_kept(self._place.put, decision)
        data = decision.data
        if data is not None and self._form is not None:
            data = as_form_type(self._form, data)
        decided: Decision[T] = told(self._place.put, decision, data)
        return decided


consume_at.register(Context, consume_in_run)

Asked = PendingDecision
"""The name of PendingDecision before 0.2."""


class _AskOptions(QuestionOptions, total=False):
    """The options of `ask` besides the prompt and the form."""

    on_unproven: OnUnproven
    remind: Duration | None
    escalate: Mapping[str, str | Sequence[str]] | None
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
    arguments: Any = None,
    editable: Any = None,
    form: Any = None,
    choices: Sequence[str] = (),
    to: str | Sequence[str] = (),
    reassign: Reassign | None = None,
    approvals: int | Mapping[str, int] = 1,
    allow_self: bool = True,
    deadline: Duration | None = None,
    extend: Duration | None = None,
    on_deadline: OnDeadline = "expire",
    valid_for: Duration | None = None,
    once: bool = False,
    proof: ProofKind | None = None,
    on_unproven: OnUnproven = "fail",
    remind: Duration | None = None,
    escalate: Mapping[str, str | Sequence[str]] | None = None,
    key: str | None = None,
    priority: Priority = "normal",
    tags: Mapping[str, str] | None = None,
    link: str | None = None,
    digest: Digest | None = None,
    offer: Mapping[str, Any] | None = None,
    private: Sequence[str] = (),
    on_change: OnChange = "ask",
) -> PendingDecision[Any]:
    """Ask people for a decision; await the returned `PendingDecision` to get it.

        decision = await ask(ctx, "Deploy 1.4.2?", to="group:ops", deadline="2d", remind="4h")
        if decision.approved:
            await ctx.run(deploy)

    What is asked:

    - `prompt`: Markdown.
    - `details`: any JSON, shown as a table. Parts such as `{"$view": "diff", "text": …}` are drawn.
    - `arguments`: what will be done after an approval, as JSON. They are shown, and their digest is in the
      decision, so that `decision.covers(arguments)` refuses any others.
    - `editable`: a JSON Schema of the arguments, or a type. People may change the values that have a field in
      it, and approve the result: `decision.arguments`. With True they may change all values, but no names and
      no types.
    - `form`: a JSON Schema, or a type (msgspec Struct, dataclass, pydantic model …). The data of an approval
      must fit it. With a type, `decision.data` is an instance of it.
    - `choices`: answers to offer instead of Approve. People can still reject.
    - `digest`: the file that the request is about, from `digest_of`.
    - `offer`: a standing rule that people may make with their approval, for the same workflow and person, as
      in `{"where": {"amount": 20}, "longest": "8h"}`: docs/guides/rules.md.

    Who may answer:

    - `to`: the assignees, one name or several; `group:NAME` for a group. Default: anyone.
    - `reassign`: who may assign it to others: `"assignees"` (and the person who asked), `"anyone"` or
      `"nobody"`. Default: nobody. With an explicit `"nobody"`, deputies of absent assignees may not answer
      either.
    - `approvals`: how many people must approve, or how many of each group, as in `{"group:ops": 1,
      "group:legal": 1}`. Each person counts once. Default: 1.
    - `allow_self`: whether the person who started the run may answer. Default: yes.
    - `proof`: `"signed"` requires a signature by the person's SSH key or passkey, `"passkey"` one by a
      passkey. An approval without valid proof raises Unproven. The `[policy]` of the settings may also
      require proof.
    - `on_unproven`: `"ask_again"` asks again instead of raising Unproven. Default: `"fail"`.
    - `escalate`: additional assignees after some time, as in `{"8h": ["lead"]}`.
    - `private`: parts that only assignees and auditors see, as in `["details.iban", "form.salary"]`.

    When (durations are texts like `90s`, `1h30m`, `2d`, or timedeltas):

    - `deadline`: how long the request can be answered. Default: 365 days.
    - `extend`: by how much the deadline can be moved in all, with `hitl extend`, by the person who asked and
      people who may assign the request. Default: not at all.
    - `on_deadline`: the outcome at the deadline: `"expire"`, `"approve"`, `"reject"`, or a value that becomes
      the data of an approval. Default: `"expire"`.
    - `valid_for`: how long an approval is valid, checked by `decision.covers`. Default: without limit.
    - `once`: whether it may be used only once, by `decision.consume`. Default: no.
    - `remind`: how often the assignees are reminded. Default: never.

    How it is found:

    - `key`: a name of your choice by which people can also answer the request.
    - `priority`, `tags`, `link`: shown in the inbox, for sorting and filters.

    `on_change` says what happens if this step has already asked something else, because the code was changed:
    `"ask"` (default) cancels that request and asks again; `"keep"` keeps it and its decision.

    Raises BadInput for an invalid option, and QuestionChanged if the same code asks something else when it
    runs again. docs/reference/wire.md describes all options.
    """
    question = Question(
        prompt=prompt,
        details=details,
        arguments=arguments,
        editable=editable if editable is None or isinstance(editable, bool) else schema_of(editable),
        form=None if form is None else schema_of(form),
        choices=_several("choices", choices),
        to=_names_of(to),
        reassign=reassign,
        extend=None if extend is None else duration_ms(extend),
        **quorum_of(approvals),
        allow_self=allow_self,
        on_deadline=on_deadline if on_deadline in PLAIN_DEADLINES else Instead(value=on_deadline),
        once=once,
        valid_for=None if valid_for is None else duration_ms(valid_for),
        proof=proof,
        remind=None if remind is None else duration_ms(remind),
        escalate=escalations_of(escalate or {}),
        priority=priority,
        link=link,
        digest=digest,
        offer=offer_of(offer),
        private=_several("private", private),
        code=code_of(ctx, sdk.calling_module()),
    )
    if on_change not in ("ask", "keep"):
        raise not_askable(f'on_change={on_change!r} must be "ask" or "keep".')
    if on_unproven not in ("fail", "ask_again"):
        raise not_askable(f'on_unproven={on_unproven!r} must be "fail" or "ask_again".')
    if isinstance(on_deadline, str) and on_deadline not in PLAIN_DEADLINES and not choices and form is None:
        raise not_askable(f'on_deadline={on_deadline!r} must be "expire", "approve" or "reject".')
    if isinstance(question.on_deadline, Instead) and form is not None and not choices:
        as_form_type(form, on_deadline)  # otherwise the run would fail at the deadline
    if deadline is not None and any(step.after >= duration_ms(deadline) for step in question.escalate):
        raise not_askable("escalate has a time that is not before the deadline.")
    end_if_over()
    question = sensible(question)
    found = found_by(question, key, ctx.info.func_name, tags or {})
    check_offer(question, found.get(TOOL))
    put = NewRequest(
        question=question,
        tags=found,
        deadline_ms=defaults.DEADLINE_MS if deadline is None else duration_ms(deadline),
        chosen=deadline is not None,
        typed=form is not None and not isinstance(form, Mapping),
        keep=on_change == "keep",
        again=on_unproven == "ask_again",
    )
    return PendingDecision(Place(_step_of(ctx, put), put), form)


def _step_of(ctx: Context, put: NewRequest) -> Context:
    """Return the context for the step that asks.

    The step's deadline is after that of its request. It is not retried: an exception in it is a mistake in
    the workflow, and would occur again.
    """
    life = timedelta(milliseconds=put.deadline_ms + (put.question.extend or 0) + defaults.DEADLINE_MS)
    return ctx.options(timeout=life, retry_policy=Never())


async def ask_all(*asked: PendingDecision[Any]) -> list[Decision[Any]]:
    """Return the decisions on several requests, in the given order, once all have been made.

        first, second = await ask_all(ask(ctx, "Legal?"), ask(ctx, "Security?"))

    Raises what awaiting one of them raises.
    """
    return list(await asyncio.gather(*asked))


def _several(what: str, values: Any) -> tuple[str, ...]:
    """Return a list of texts as a tuple. Raises BadInput, also for a single text."""
    try:
        return msgspec.convert(values, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise not_askable(f"{what} must be a list of texts, not {values!r}.") from error


def _names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return a name or a list of names as a tuple. Raises BadInput."""
    return _several("to", [names] if isinstance(names, str) else names)


def escalations_of(escalate: Mapping[str, str | Sequence[str]]) -> tuple[Escalation, ...]:
    """Return the escalations, in ms. Raises BadInput."""
    if not isinstance(escalate, Mapping):
        raise not_askable('escalate must map a duration to names, as in {"8h": ["lead"]}.')
    return tuple(
        Escalation(after=duration_ms(after), to=_names_of(names)) for after, names in escalate.items()
    )


async def digest_of(_ctx: Context, path: str | Path) -> Digest:
    """Return the name and the SHA-256 of a file, to ask about exactly this content.

        digest = await ctx.run(digest_of, "app.tar")
        await ask(ctx, "Deploy it?", digest=digest)

    Run it as a step, as above, so that the file is read once. Compare the digest before you use the file.
    Raises BadInput if the file cannot be read.
    """
    return await asyncio.to_thread(digest_of_file, str(path))


async def asking(
    ctx: Context,
    put: NewRequest,
    placed: asyncio.Future[str] | None = None,
    before: PromiseRecord | None = None,
    form: Any = None,
) -> KeptDecision:
    """Create the request, wait for the decision, and return it.

    `placed` gets the request's id once the request exists. `before` is a promise that an earlier version of
    the code has left in this place. If the type `form` refuses an answer, the request is asked again.
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
        await until_answered(ctx, question, request)
    if found == "newer":
        leave_to_newer(request.id)
    again = sdk.beside(request.id)
    await sdk.settle_children(ctx, but=again)  # sleeps and reminders that were not due yet
    decision = await taken(ctx, put, request, question, form)
    if isinstance(decision, Refused):
        refused = decision
        known = await amendments_in_run(ctx, question, request)
        question = await as_author_allows(ctx, put, question)
        new = put_again(request, question, put, refused, sdk.now(ctx), known)
        note_question(ctx, again, keep=put.keep)
        given: KeptDecision = await sdk.named(_step_of(ctx, new), again).run(asking, new, None, None, form)
        return msgspec.structs.replace(given, answers=question)
    rule = (request.value.headers or {}).get("hitl:rule")
    log_seen(ctx.info.origin_id, decision, rule)
    decided_at = request.settled_at or request.created_at
    outcome = "approved" if decision.approved else "expired" if decision.expired else "rejected"
    trace_request(request.id, request.param.headers, request.created_at, decided_at, outcome, decision.via)
    if rule is None:
        await tell_outcome(ctx, question, request)
    return KeptDecision(**msgspec.structs.asdict(decision), answers=question)


async def taken(
    ctx: Context, put: NewRequest, request: PromiseRecord, question: Question, form: Any
) -> Decision[Any] | Refused:
    """Return the decision on a settled request; or the refusal after which the request is asked again.

    Raises DoesNotFit, Unproven.
    """
    refused = refused_before(ctx, sdk.beside(request.id))
    if refused is not None:
        return refused
    if (why := await why_not_proven(ctx, put, request, question)) is not None:
        if not put.again:
            raise unproven(request.id, why)
        return without_proof(request, question, why)
    decision = decision_on(request, question, request.value.data, request.value.headers)
    if question.extend is not None and not decision.expired:
        deadline = deadline_of(request, await amendments_in_run(ctx, question, request))
        if decision.at >= instant(deadline):  # by another tool, which does not check the form
            decision = decision_by_deadline(request.id, question, deadline)
    private = bool(question.private or people_of(ctx).visibility.settings.private)
    return refusal(form, decision, question, private=private) or decision


async def until_answered(ctx: Context, question: Question, request: PromiseRecord) -> None:
    """Notify the assignees and remind them, unless a rule answers, and wait for the decision."""
    ruled = await is_ruled(ctx, question, request)
    if not ruled:
        await give_notice(
            ctx, Notification(request=request.id, occasion="asked", names=question.asked_at(0)), request
        )
    answer = ctx.promise()
    if await answer.id() != request.id:
        raise RuntimeError(f"{request.id} was created, but the step waits for {await answer.id()}")
    if not ruled:
        await remind_until_answered(ctx, question, request)
    await answer  # pending, so this attempt ends here


async def ask_beside(
    ctx: Context,
    request: PromiseRecord,
    found: Question | None,
    put: NewRequest,
    placed: asyncio.Future[str] | None,
    form: Any,
) -> KeptDecision:
    """Ask in place of an earlier request, whose answer is not used, and return the decision."""
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
    """Cancel a request and notify its assignees. `step` asks the request that replaces it."""
    if not is_blocking(request.tags):
        return
    request = await take_back(ctx, request, None if step is None else sdk.first_id(step), put)
    await sdk.settle_children(ctx, but=step)
    if found is not None:
        await tell_outcome(ctx, found, request)


asking.__name__ = "ask"  # the name of the step in the tree of a run


async def create(ctx: Context, put: NewRequest) -> PromiseRecord:
    """Create the request under the id that the first `ctx.promise()` will have, or return it if it exists."""
    now = sdk.now(ctx)
    groups = people_of(ctx)
    question = await _to_ask(ctx, put, groups)
    tags = put.tags if question is put.question else {**put.tags, **question.tags(key=None, workflow=None)}
    deadline = now + put.deadline_ms
    tags = {**tags, DEADLINE_TAG: str(deadline)} if question.extend is not None else tags
    ends_at = deadline + (question.extend or 0)
    created = await sdk.create_first(ctx, msgspec.to_builtins(question), tags, ends_at)
    about = {"request": created.id}
    if created.created_at >= now and (unknown := groups.unknown(put.question.everyone)):
        why = printable(unknown_people(unknown, groups))
        logger.warning("%s waits for an answer: %s", created.id, why, extra=about)
    if created.created_at >= now and (unsigned := too_few_sign(question, groups)):
        logger.warning("%s waits for an answer: %s", created.id, unsigned, extra=about)
    shortened = created.created_at >= now and created.timeout_at < now + SHORTENED * put.deadline_ms
    # Without a deadline in the call, ending with the run is what the author expects.
    if shortened and (put.chosen or ":" in ctx.info.parent_id):
        left = format_duration(created.timeout_at - now)
        logger.warning(
            "%s must be answered within %s: the function that asks it ends then",
            created.id,
            left,
            extra=about,
        )
    return created


async def _to_ask(ctx: Context, put: NewRequest, groups: Groups) -> Question:
    """Return the question to ask, with what the settings add to it. Raises BadInput if nobody can answer it.

    A request that exists already stays as it was asked, even if the settings now demand more than its
    assignees can give.
    """
    try:
        question = await as_policy_demands(ctx, put, groups)
        check_people(question, await _starter(ctx, question, groups), groups)
    except BadInput:
        pool = ctx.get_dependency(ClientPool)
        if await sdk.read(pool.run(get_promise, sdk.first_id(ctx.info.id))) is None:
            raise
        return put.question
    return question


async def _starter(ctx: Context, question: Question, groups: Groups) -> str | None:
    """Return who started the run, if that may be why too few people can approve."""
    if groups is NO_GROUPS or not starter_matters(question, groups):
        return None
    run = await sdk.read(ctx.get_dependency(ClientPool).run(get_promise, ctx.info.origin_id))
    return None if run is None else asker_of(run, None)


async def is_ruled(ctx: Context, question: Question, request: PromiseRecord) -> bool:
    """Whether a standing rule has decided a request, so that nobody need be notified."""
    if question.arguments is None or sdk.is_rehearsal(ctx):
        return False
    try:
        pool = ctx.get_dependency(ClientPool)
        groups = ctx.get_dependency(NotificationSettings).now.members
    except KeyError:  # a worker that hitl did not start
        return False

    def decide(client: Client) -> bool:
        promise = get_promise(client, request.id)
        return promise is not None and decide_by_rule(client, groups, promise, question).state != "pending"

    return await sdk.read(pool.run(decide))


async def remind_until_answered(ctx: Context, question: Question, request: PromiseRecord) -> None:
    """Send each reminder and escalation when it is due, with a durable sleep in between."""
    told = request.created_at
    while (due := next_occasion(question, request.created_at, told)) < request.timeout_at:
        left = max(due - sdk.now(ctx), 1)
        await ctx.sleep(timedelta(milliseconds=left))
        step = ctx.options(timeout=LIFE)  # a day, the SDK's default, can pass while no worker runs
        told = await step.run(remind, question, request, told)


def next_occasion(question: Question, created_at: int, told: int) -> int:
    """Return when the next reminder or escalation is due, in ms since the epoch; a far future if never."""
    due = [created_at + step.after for step in question.escalate if created_at + step.after > told]
    if question.remind is not None:
        times = (told - created_at) // question.remind + 1
        due.append(created_at + times * question.remind)
    return min(due, default=2**63)


async def remind(ctx: Context, question: Question, request: PromiseRecord, told: int) -> int:
    """Send the reminders due since `told`, and return the time up to which all are sent, in ms.

    Assignees with a contact get a message. For the others a line is printed.
    """
    created_at = request.created_at
    now = max(sdk.now(ctx), next_occasion(question, created_at, told))
    known = await amendments_in_run(ctx, question, request)
    asked = assignees_of(question, created_at, known, now)
    before = question.asked_at(told - created_at)
    late = [name for name in question.asked_at(now - created_at) if name not in before]
    new = tuple(name for name in asked if name in late)
    number = int(ctx.info.id.rpartition(".")[2])  # the same in each attempt
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
    """Whether a reminder was due after `told` and until `now`, both in ms since it was asked."""
    return question.remind is not None and now // question.remind > told // question.remind


def print_reminder(
    ctx: Context,
    question: Question,
    request: PromiseRecord,
    asked: tuple[str, ...],
    new: tuple[str, ...],
    now: int,
) -> None:
    """Print a line for the assignees without a contact, if there are any."""
    teller = notifier_of(ctx)
    if teller is not None:
        if not asked and recipients((), teller.directory):
            return
        left = unreached(asked, teller.directory)
        if asked and not left:
            return
        asked, new = left, tuple(name for name in new if name in left)
    id, who = request.id, ", ".join(asked) or "anyone"
    age = format_age(now - request.created_at)
    too = f" (now for {', '.join(new)} too)" if new else ""
    line = f"{id} has been waiting for {who} for {age}: {question.title}{too}: {command('show', [id])}"
    print(printable(line), flush=True)
