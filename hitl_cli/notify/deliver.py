"""`hitl.tell`: delivers a notification to all its recipients.

A single recipient whose first channel accepts the message needs no step: the result is that of the
notification. Several recipients have a step each, so that no recorded message is repeated after a worker has
died. If the first channel does not accept the message, further steps use the other channels, and try again
while the message still matters. A step returns its result and never fails.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), and has to know the types of the arguments.

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from resonate.context import Context
from resonate.retry import Never
from resonate.types import PromiseRecord

from hitl_cli import tracing
from hitl_cli.client.pool import Batches, ClientPool, InLoop
from hitl_cli.client.protocol import Client
from hitl_cli.client.wire import Promise, audit_of
from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.errors import HitlError, logged
from hitl_cli.inbox.amendments import amended
from hitl_cli.inbox.permission import deputy_for, is_excluded, may_answer
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.thread import open_question, thread_of
from hitl_cli.notify.channels import registry
from hitl_cli.notify.channels.http_post import Connections, kept
from hitl_cli.notify.compose import ASKING, compose, look_up
from hitl_cli.notify.concurrency_limit import ConcurrencyLimit
from hitl_cli.notify.digest_store import DigestEntry, end_of_digest, gather
from hitl_cli.notify.messages import DecisionMessage, DeliveryFailed, Message
from hitl_cli.notify.status import DeliveryAttempt, heard_before, heard_by_others
from hitl_cli.people.away import read_aways, with_deputies
from hitl_cli.people.contacts import (
    Address,
    Directory,
    NotificationSettings,
    assignees,
    concerns,
    is_reached,
    recipients,
)
from hitl_cli.people.deputies import absences_among, may_stand_in, reached_deputies
from hitl_cli.people.groups import is_among
from hitl_cli.requests.amendments import Amendment, amendments_of_many, assignees_of
from hitl_cli.requests.notification import NOTIFICATION_LIFE_MS, Notification, outcome_notification
from hitl_cli.requests.question import Question
from hitl_cli.sdk import context as sdk

logger = logging.getLogger(__name__)

THREADS = 2
"""Threads that compose messages; a step uses one for some milliseconds."""

SEND_S = 60.0
"""Timeout for sending one message, whatever the channel's own timeout is."""

TOGETHER_S = 0.02
"""How long the record of a sent message may wait for those that are being sent."""

QUICK = (timedelta(0), timedelta(seconds=2), timedelta(seconds=10))
"""Pauses before each attempt with one channel; a server that restarts is back by the last."""

ROUNDS = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
    timedelta(days=1),
)
"""Pauses before each round through all channels: an operator has a day and a half to repair a channel."""

SETTLES = timedelta(minutes=1)
"""A digest is normally sent within this time after its window."""

DIGESTS = 5
"""After missing this many digests in a row, a notification is sent on its own."""

DEPUTY_WINDOW = "1m"
"""A deputy gets one message about what is open when somebody goes away; later requests are sent at once."""

LIFE = timedelta(milliseconds=DEADLINE_MS)
"""Timeout of a step. The notification it belongs to ends earlier."""


class Notifier:
    """The worker's means to reach people, which durable functions get as a dependency."""

    def __init__(
        self,
        reach: NotificationSettings,
        target: str,
        open_client: Callable[[], Client],
        at_once: int,
        client: Client | None = None,
        noted: Callable[[DeliveryAttempt], None] = lambda _: None,
    ) -> None:
        """`target` is the address of the workers that deliver; `at_once` limits messages per place.

        A `client` is used in the event loop, instead of threads that read. `noted` gets each attempt.
        """
        self._noted = noted
        self._limit = ConcurrencyLimit(at_once)
        self._connections = Connections()
        self.reach = reach
        self.target = target
        self._sending = 0
        self._sent = asyncio.Event()
        self._sent.set()
        self.bridge = ClientPool(open_client, THREADS)
        reads = self.bridge if client is None else InLoop(client)
        self.cases = Batches(reads, partial(_cases, reach=reach))
        self.outlooks = Batches(reads, partial(_outlooks, reach=reach))
        self._deputies = Batches(reads, partial(_reach_deputies, reach=reach))

    async def close(self) -> None:
        """Wait for the look-ups in progress, and close all connections."""
        self.bridge.close()
        await self._connections.close()

    @property
    def directory(self) -> Directory:
        """The contacts and groups of the current settings."""
        return self.reach.now

    async def reaches_deputy(self, notice: Notification, origin: str, decided_by: str | None) -> bool:
        """Whether an absent assignee has a deputy with a contact, or a deputy was notified before."""
        directory = self.directory
        if not notice.names or not directory.reaches_somebody:
            return False
        return await self._deputies.ask(_Named(notice.request, origin, decided_by, notice))

    async def send(
        self, composing: Awaitable[Message | str], who: str, place: int, now: int
    ) -> DeliveryAttempt:
        """Send a message to a recipient's nth address, counted from 0, and return the result."""
        directory = self.directory
        contact = directory.contact(who)
        addresses = contact.addresses if contact is not None else ()
        tried = partial(DeliveryAttempt, who=who, at=now, more=place + 1 < len(addresses))
        address = addresses[place] if place < len(addresses) else None
        return await self.attempt(tried, composing, address, partial(registry.send, directory=directory))

    async def attempt[M: (Message, DecisionMessage)](
        self,
        tried: Callable[..., DeliveryAttempt],
        composing: Awaitable[M | str],
        address: Address | None,
        send: Callable[[M, Address], Awaitable[str | None]],
    ) -> DeliveryAttempt:
        """Compose a message, send it to an address, and return the result, which `tried` makes."""
        with tracing.span("send message", {"hitl.channel": address.kind if address else ""}):
            attempt = await self._attempt(tried, composing, address, send)
        self._noted(attempt)
        return attempt

    async def _attempt[M: (Message, DecisionMessage)](
        self,
        tried: Callable[..., DeliveryAttempt],
        composing: Awaitable[M | str],
        address: Address | None,
        send: Callable[[M, Address], Awaitable[str | None]],
    ) -> DeliveryAttempt:
        channel = None
        self._sending += 1
        try:
            message = await composing
            if isinstance(message, str):
                return tried(outcome="over", why=message)
            if address is None:
                why = "no contact in the worker's settings"
                return tried(outcome="failed", why=why, for_good=True)
            channel = address.kind
            async with self._limit.slot(address), asyncio.timeout(SEND_S):
                kept.set(self._connections)
                receipt = await send(message, address)
        except DeliveryFailed as error:
            return tried(
                outcome="failed",
                channel=channel,
                why=str(error),
                for_good=error.for_good,
                after_ms=error.after_ms,
            )
        except TimeoutError:
            return tried(outcome="failed", channel=channel, why=f"not accepted within {SEND_S:.0f} s")
        except (HitlError, OSError) as error:
            return tried(outcome="failed", channel=channel, why=str(error))
        except Exception as error:  # an unexpected error in one channel must not stop the others
            logger.exception("a notification through %s failed", channel)
            # The error's text may contain an address with a secret.
            return tried(
                outcome="failed", channel=channel, why=f"{type(error).__name__}, see the worker's log"
            )
        finally:
            self._sending -= 1
            if not self._sending:
                self._sent.set()
        await self._together()
        return tried(outcome="sent", channel=channel, shown=message.shown, receipt=receipt)

    async def _together(self) -> None:
        """Wait for the other messages in progress, at most a moment.

        Their results are then recorded in one commit. A commit costs as much as everything else about a
        message.
        """
        if not self._sending:
            return
        if self._sent.is_set():
            self._sent = asyncio.Event()
            asyncio.get_running_loop().call_later(TOGETHER_S, self._sent.set)
        await self._sent.wait()


def notifier_of(ctx: Context) -> Notifier | None:
    """Return the worker's Notifier; None if it has none."""
    try:
        return ctx.get_dependency(Notifier)
    except KeyError:
        return None


async def give_notice(ctx: Context, notice: Notification, request: PromiseRecord | Promise) -> None:
    """Queue a notification, if this worker has a contact of any recipient. Does not wait for the delivery.

    Its promise has an id of its own, so that the SDK's ids do not depend on the settings, which may change
    before a replay.
    """
    teller = notifier_of(ctx)
    headers = request.value.headers if request.value is not None else None
    decided_by, origin = (headers or {}).get("hitl:by"), ctx.info.origin_id
    if teller is None or not (
        concerns(notice.names, teller.directory, decided_by)
        or await sdk.read(teller.reaches_deputy(notice, origin, decided_by))
    ):
        return
    ends_at = request.timeout_at if request.state == "pending" else sdk.now(ctx) + NOTIFICATION_LIFE_MS
    tags = notice.tags(origin, teller.target)
    await sdk.create(ctx, notice.id, notice.call, tags, ends_at)


async def tell_outcome(ctx: Context, question: Question, request: PromiseRecord | Promise) -> None:
    """Queue the notification of an outcome to the assignees who did not decide it."""
    end = request.settled_at or request.timeout_at
    known = await amendments_in_run(ctx, question, request)
    asked = assignees_of(question, request.created_at, known, end)
    await give_notice(ctx, outcome_notification(request, asked), request)


async def amendments_in_run(
    ctx: Context, question: Question, request: PromiseRecord | Promise
) -> tuple[Amendment, ...]:
    """Return the amendments of a request; empty in a worker that hitl did not start."""
    if not question.can_be_amended:
        return ()
    try:
        pool = ctx.get_dependency(ClientPool)
    except KeyError:
        return ()
    return (await sdk.read(pool.run(amendments_of_many, [request.id])))[request.id]


# One notification


class _Named(NamedTuple):
    """A notification whose assignees have no contact of their own, or decided its request."""

    id: str
    origin: str
    decided_by: str | None
    notice: Notification


class Outlook(Struct, frozen=True, kw_only=True):
    """The current recipients of a notification, and its request; None if that no longer exists."""

    people: tuple[str, ...] = ()
    case: RequestSummary | None = None


async def tell(ctx: Context, notice: Notification) -> tuple[DeliveryAttempt, ...] | int:
    """Notify all recipients. Returns the result if no step was needed, otherwise how many were notified."""
    first = await tell_at_once(ctx, notice) if _is_new(ctx) else None
    if first is not None and all(map(_is_final, first)):
        return first
    tried = {attempt.who: attempt for attempt in first or ()}
    people = await step(ctx).run(whom, notice)
    told = await asyncio.gather(*(step(ctx).run(tell_one, notice, who, tried.get(who)) for who in people))
    return sum(said if isinstance(said, bool) else said.outcome == "sent" for said in told)


async def tell_at_once(ctx: Context, notice: Notification) -> tuple[DeliveryAttempt, ...] | None:
    """Try to notify a single recipient without a step. Returns None if steps are needed."""
    teller = ctx.get_dependency(Notifier)
    try:
        outlook = await teller.outlooks.ask(notice)
    except (HitlError, OSError) as error:  # a step can be retried
        about = {"request": notice.request}
        logger.warning("notification %s failed, retrying: %s", notice.id, logged(error), extra=about)
        return None
    match outlook.people:
        case ():
            return ()
        case (who,) if not _digest_of(teller, notice, who):
            return (await teller.send(_composed(teller, notice, who, outlook.case), who, 0, sdk.now(ctx)),)
    return None


def _is_new(ctx: Context) -> bool:
    """Whether a function has no step yet, from an earlier attempt."""
    return sdk.found(ctx, sdk.first_id(ctx.info.id)) is None


def _is_final(attempt: DeliveryAttempt) -> bool:
    """Whether there is nothing to try after an attempt."""
    return attempt.outcome != "failed" or (attempt.for_good and not attempt.more)


async def whom(ctx: Context, notice: Notification) -> tuple[str, ...]:
    """Return the recipients."""
    return (await ctx.get_dependency(Notifier).outlooks.ask(notice)).people


def _outlooks(
    client: Client, notices: Sequence[Notification], reach: NotificationSettings
) -> list[Outlook | Exception]:
    """Return the outlook of each notification, in few round trips."""
    cases = look_up(client, [notice.request for notice in notices], reach.now.members)
    decided = [
        notice.request
        for notice in notices
        if (notice.occasion == "deputy" or notice.occasion not in ASKING) and notice.request in cases
    ]
    heard = dict(zip(decided, heard_before(client, [cases[id].promise for id in decided]), strict=True))
    return [_outlook(client, notice, cases.get(notice.request), heard, reach.now) for notice in notices]


def _outlook(
    client: Client,
    notice: Notification,
    case: RequestSummary | None,
    heard: Mapping[str, frozenset[str]],
    directory: Directory,
) -> Outlook | Exception:
    try:
        return Outlook(people=tuple(_whom_to_tell(client, notice, case, heard, directory)), case=case)
    except Exception as error:  # noqa: BLE001 - raised to who asked for this one
        return error


def _cases(
    client: Client, requests: Sequence[str], reach: NotificationSettings
) -> list[RequestSummary | None]:
    """Return the current requests."""
    found = look_up(client, requests, reach.now.members)
    return [found.get(id) for id in requests]


def _whom_to_tell(
    client: Client,
    notice: Notification,
    case: RequestSummary | None,
    heard: Mapping[str, frozenset[str]],
    directory: Directory,
) -> tuple[str, ...]:
    """Return the recipients of a notification of a request.

    For an outcome: the people who were notified of the request (`heard`), also as deputies, and did not
    decide it themselves. For a reminder: the people who have not voted, or only the one who has claimed it. A
    deputy is not notified twice of the same request.
    """
    from hitl_cli.inbox.votes import votes_of

    if case is None or (notice.occasion in ASKING and not case.waits):
        return ()
    if notice.occasion == "asked-back":
        asker = () if case.asker is None else assignees((case.asker,), directory)
        return asker if open_question(thread_of(client, case.id)) is not None else ()
    groups = directory.members
    told = frozenset(map(groups.key, heard.get(notice.request, ())))
    if notice.occasion == "deputy":
        read_aways(client, anew=True)  # another process has just seen the absence
        now = with_deputies(client, groups)
        new = (who for who in recipients(notice.names, directory) if groups.key(who) not in told)
        return tuple(who for who in new if deputy_for(case, who, now))
    asked = assignees(case.to_from_now_on, directory)  # only these, and not the names in the notification
    people = tuple(who for who in _named_in(notice, directory) if who in asked)
    if notice.occasion in ASKING:
        left_out: frozenset[str] = frozenset()
        if notice.occasion == "reminder" and open_question(thread_of(client, case.id)) is not None:
            return ()  # it waits for its asker
        if notice.occasion == "reminder" and case.asked.several:
            left_out = frozenset(groups.key(ballot.vote.by) for ballot in votes_of(client, case.promise.id))
        if notice.occasion == "reminder":
            people = _who_works_on(client, case, directory) or people
        people = (*people, *_deputies(client, case, notice, directory))
        return tuple(
            who
            for who in people
            if groups.key(who) not in left_out and not is_excluded(case.asked, case.starter, who, groups)
        )
    decided_by = audit_of(case.promise).by
    people = tuple(who for who in people if groups.key(who) in told)
    people = (*people, *_stood_in(case, heard[notice.request], directory))
    return tuple(who for who in people if not groups.same(who, decided_by))


def _stood_in(case: RequestSummary, heard: frozenset[str], directory: Directory) -> tuple[str, ...]:
    """Return the people who were notified only as deputies, and never were assignees."""
    ever = case.ever_asked
    meant = assignees(ever, directory) if ever else heard
    return tuple(
        who
        for who in sorted(heard)
        if who not in meant and not is_among(who, ever, directory.members) and is_reached(who, directory)
    )


def _who_works_on(client: Client, case: RequestSummary, directory: Directory) -> tuple[str, ...]:
    """Return the person who has claimed a request, if they have a contact and may still answer it."""
    known = amendments_of_many(client, [case.id])[case.id]
    case = amended(case, known)
    claim, groups = case.claim, with_deputies(client, directory.members)
    if claim is None or not may_answer(case, claim.by, groups):
        return ()
    return recipients((claim.by,), directory)


def _deputies(
    client: Client, case: RequestSummary, notice: Notification, directory: Directory
) -> tuple[str, ...]:
    """Return the deputies of a notification's absent assignees."""
    groups = with_deputies(client, directory.members)
    names = [
        name
        for one in absences_among(case.asked, notice.names, groups)
        for name in one.deputies
        if may_stand_in(case.asked, case.starter, one, name, groups)
    ]
    known = {groups.key(name) for name in notice.names}
    found = recipients(names, directory) if names else ()
    return tuple(who for who in found if groups.key(who) not in known)


def _reach_deputies(client: Client, named: Sequence[_Named], reach: NotificationSettings) -> list[bool]:
    """Return for each whether a named assignee has a deputy with a contact; for an outcome, or had one."""
    directory = reach.now
    groups = with_deputies(client, directory.members)
    reached = [bool(reached_deputies(one.notice.names, groups, directory)) for one in named]
    unsure = [at for at, one in enumerate(named) if not reached[at] and one.notice.occasion not in ASKING]
    decided = [named[at] for at in unsure]
    heard = heard_by_others(client, decided, (one.decided_by for one in decided), directory)
    for at, told in zip(unsure, heard, strict=True):
        reached[at] = told
    return reached


def _named_in(notice: Notification, directory: Directory) -> Iterator[str]:
    """Yield the assignees that a notification names, including group members without a contact.

    Members without a contact are recorded as not notified, but not for each reminder.
    """
    known = directory.members
    named = {known.key(name) for name in notice.names}
    for who in assignees(notice.names, directory):
        if is_reached(who, directory) or (notice.occasion != "reminder" and known.key(who) not in named):
            yield who


async def tell_one(
    ctx: Context, notice: Notification, who: str, first: DeliveryAttempt | None = None
) -> DeliveryAttempt | bool:
    """Notify a person, or a group that has a contact of its own, and return the last attempt.

    `first` is an earlier attempt, if any. An earlier version returned whether it succeeded.
    """
    teller = ctx.get_dependency(Notifier)
    if first is None and _is_new(ctx) and not _digest_of(teller, notice, who):
        first = await teller.send(_composed(teller, notice, who), who, 0, sdk.now(ctx))
        if _is_final(first):
            return first
    for _ in range(DIGESTS):
        gathered = await step(ctx).run(gather_for, notice, who)
        if gathered is None:
            break
        said = await in_digest(ctx, notice, who, gathered)
        if said.outcome != "missed":
            return said
    made = [] if first is None else [first]
    return await in_rounds(ctx, lambda place: step(ctx, once=True).run(send, notice, who, place, made))


async def send(
    ctx: Context, notice: Notification, who: str, place: int, made: list[DeliveryAttempt]
) -> DeliveryAttempt:
    """Send a notification to a recipient's nth address; or return the first attempt, if it was made."""
    if made:
        return made.pop()
    teller = ctx.get_dependency(Notifier)
    return await teller.send(_composed(teller, notice, who), who, place, sdk.now(ctx))


async def _composed(
    teller: Notifier, notice: Notification, who: str, case: RequestSummary | None = None
) -> Message | str:
    """Return the message to a person, about the current request."""
    case = case or await teller.cases.ask(notice.request)
    return compose(case, notice, who, teller.reach)


async def in_rounds(ctx: Context, send: Callable[[int], Awaitable[DeliveryAttempt]]) -> DeliveryAttempt:
    """Try all channels in their order, in rounds, until one accepts the message or all failed permanently.

    `send` tries the nth channel. One that failed permanently is left out of later rounds.
    """
    refused: dict[int, DeliveryAttempt] = {}
    patience = timedelta(0)
    for pause in ROUNDS:
        if pause:
            await ctx.sleep(max(pause, patience))
        tries = await one_round(ctx, send, refused)
        if tries[-1].outcome != "failed" or all(tried.for_good for tried in tries):
            break
        patience = timedelta(milliseconds=max(tried.after_ms or 0 for tried in tries))
    return tries[-1]


async def one_round(
    ctx: Context, send: Callable[[int], Awaitable[DeliveryAttempt]], refused: dict[int, DeliveryAttempt]
) -> list[DeliveryAttempt]:
    """Try each channel that is not in `refused`, and return the last attempts.

    Permanent failures are added to `refused`.
    """
    tries: list[DeliveryAttempt] = []
    more = True
    while more:
        place = len(tries)
        tried = refused.get(place) or await quickly(ctx, partial(send, place))
        tries.append(tried)
        if tried.for_good:
            refused[place] = tried
        more = tried.outcome == "failed" and tried.more
    return tries


async def quickly(ctx: Context, send: Callable[[], Awaitable[DeliveryAttempt]]) -> DeliveryAttempt:
    """Try one channel a few times within seconds, and return the last attempt."""
    for pause in QUICK:
        if pause:
            await ctx.sleep(pause)
        tried = await send()
        if tried.outcome != "failed" or tried.for_good or tried.after_ms:
            break
    return tried


# Digests


async def gather_for(ctx: Context, notice: Notification, who: str) -> DigestEntry | None:
    """Add a notification to the recipient's digest, if they want digests. Returns None to send it at once."""
    teller = ctx.get_dependency(Notifier)
    window = _digest_of(teller, notice, who)
    if window is None:
        return None
    return await teller.bridge.run(gather, notice=notice, who=who, window=window, target=teller.target)


def _digest_of(teller: Notifier, notice: Notification, who: str) -> str | None:
    """Return the window of a recipient's digests, if they want digests. A deputy gets all in one message."""
    contact = teller.directory.contact(who)
    together = DEPUTY_WINDOW if notice.occasion == "deputy" else None
    return together if contact is None else contact.digest or together


async def in_digest(ctx: Context, notice: Notification, who: str, gathered: DigestEntry) -> DeliveryAttempt:
    """Wait for the digest, and return the result for this notification."""
    for pause in (timedelta(milliseconds=gathered.left_ms) + SETTLES, *ROUNDS[1:]):
        await ctx.sleep(pause)
        said = await step(ctx).run(look_at_digest, notice, who, gathered.digest)
        if said.outcome != "gathered":
            break
    return said


async def look_at_digest(ctx: Context, notice: Notification, who: str, digest: str) -> DeliveryAttempt:
    """Return the result for a notification in a digest."""
    teller = ctx.get_dependency(Notifier)
    return await teller.bridge.run(end_of_digest, digest=digest, notice=notice, who=who)


# Steps


def step(ctx: Context, *, once: bool = False) -> Context:
    """Return a context for a step with a long timeout. With `once` the SDK does not retry it."""
    return ctx.options(timeout=LIFE, retry_policy=Never() if once else None)
