"""`hitl.tell`: tells everyone who must be told of one occasion of one request, as durable steps.

Each is told by a step of its own, through the first of their channels that takes the message. A step says
what came of it and never fails; where none was taken, it is tried again, for as long as it matters.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step
# (resonate/durable.py, _resolve_annotation), and has to know the types of the arguments.

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial

from resonate.context import Context
from resonate.retry import Never
from resonate.types import PromiseRecord

from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import Client
from hitl_cli.client.wire import Promise, audit_of
from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.errors import HitlError
from hitl_cli.inbox.permission import is_excluded
from hitl_cli.notify.channels import registry
from hitl_cli.notify.compose import ASKING, compose, look_up
from hitl_cli.notify.concurrency_limit import ConcurrencyLimit
from hitl_cli.notify.digest_store import DigestEntry, end_of_digest, gather
from hitl_cli.notify.messages import DeliveryFailed, Message
from hitl_cli.notify.status import DeliveryAttempt, heard_before
from hitl_cli.people.contacts import Directory, NotificationSettings, assignees, is_reached, recipients
from hitl_cli.requests.notification import NOTIFICATION_LIFE_MS, Notification
from hitl_cli.sdk import context as sdk

logger = logging.getLogger(__name__)

THREADS = 2
"""Clients with which it is asked what to say: a step each that tells somebody, for some milliseconds."""

SEND_S = 60.0
"""How long one message may take, whatever the channel thinks of it."""

QUICK = (timedelta(0), timedelta(seconds=2), timedelta(seconds=10))
"""How long before each of the tries of one channel: a server that restarts is back by the last."""

ROUNDS = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
    timedelta(days=1),
)
"""How long before each of the rounds through all channels; in a day and a half, somebody sees to it."""

SETTLES = timedelta(minutes=1)
"""How long after its window a digest is sent at the latest where all goes well."""

DIGESTS = 5
"""How many digests are tried of which each has just ended, before it is said at once after all."""

LIFE = timedelta(milliseconds=DEADLINE_MS)
"""How long a step may be left lying. What it is a step of ends sooner."""


class Notifier:
    """What a worker needs to reach people: the dependency by which durable functions find it."""

    def __init__(
        self, reach: NotificationSettings, target: str, open_client: Callable[[], Client], at_once: int
    ) -> None:
        """`target` is the address of the workers that tell, `at_once` how many messages go to one place."""
        self._limit = ConcurrencyLimit(at_once)
        self.reach = reach
        self.target = target
        self.bridge = ClientPool(open_client, THREADS)

    @property
    def directory(self) -> Directory:
        """How people are reached."""
        return self.reach.now

    async def send(
        self, say: Callable[[Client], Message | str], who: str, place: int, now: int
    ) -> DeliveryAttempt:
        """Say something to somebody at their nth address, counted from 0, and return what came of it."""
        contact = self.directory.contact(who)
        addresses = contact.addresses if contact is not None else ()
        tried = partial(DeliveryAttempt, who=who, at=now, more=place + 1 < len(addresses))
        channel = None
        try:
            message = await self.bridge.run(say)
            if isinstance(message, str):
                return tried(outcome="over", why=message)
            if place >= len(addresses):
                why = "no contact in the worker's settings"
                return tried(outcome="failed", why=why, for_good=True)
            channel = addresses[place].kind
            async with self._limit.slot(addresses[place]), asyncio.timeout(SEND_S):
                receipt = await registry.send(message, addresses[place], self.directory)
        except DeliveryFailed as error:
            return tried(
                outcome="failed",
                channel=channel,
                why=str(error),
                for_good=error.for_good,
                after_ms=error.after_ms,
            )
        except TimeoutError:
            return tried(outcome="failed", channel=channel, why=f"it was not taken within {SEND_S:.0f} s")
        except (HitlError, OSError) as error:
            return tried(outcome="failed", channel=channel, why=str(error))
        except Exception as error:  # what nobody foresaw in one channel must not keep the others from it
            logger.exception("%s could not be told through %s", who, channel)
            # What it says may have an address in it, and with that a secret.
            return tried(outcome="failed", channel=channel, why=f"{type(error).__name__}; the log has more")
        shown = tuple(item.request for item in message.items)
        return tried(outcome="sent", channel=channel, shown=shown, receipt=receipt)


def notifier_of(ctx: Context) -> Notifier | None:
    """Return what reaches people, if this worker has it."""
    try:
        return ctx.get_dependency(Notifier)
    except KeyError:
        return None


async def give_notice(ctx: Context, notice: Notification, request: PromiseRecord | Promise) -> None:
    """Have people told, if this worker knows how to reach any of them. Nothing waits for it.

    The promise has an id of its own, so that none of the SDK's depends on settings, which may change before
    this is replayed.
    """
    teller = notifier_of(ctx)
    if teller is None or not recipients(notice.names, teller.directory):
        return
    ends_at = request.timeout_at if request.state == "pending" else sdk.now(ctx) + NOTIFICATION_LIFE_MS
    tags = notice.tags(ctx.info.origin_id, teller.target)
    await sdk.create(ctx, notice.id, notice.call, tags, ends_at)


# One occasion of one request


async def tell(ctx: Context, notice: Notification) -> int:
    """Tell everyone of it, and return how many were told."""
    people = await step(ctx).run(whom, notice)
    told = await asyncio.gather(*(step(ctx).run(tell_one, notice, who) for who in people))
    return sum(told)


async def whom(ctx: Context, notice: Notification) -> tuple[str, ...]:
    """Return who is to be told."""
    teller = ctx.get_dependency(Notifier)
    return await teller.bridge.run(_whom_to_tell, notice=notice, directory=teller.directory)


def _whom_to_tell(client: Client, notice: Notification, directory: Directory) -> tuple[str, ...]:
    """Return who is to be told of a notice: nobody who knows it already, or has nothing to do with it.

    Of what came of it, those who were told that it was asked, and did not decide it themselves. Reminded are
    those who have not voted.
    """
    from hitl_cli.inbox.votes import votes_of

    case = look_up(client, [notice.request]).get(notice.request)
    if case is None or (notice.occasion in ASKING and not case.waits):
        return ()
    asked = assignees(case.asked.everyone, directory)  # whoever made the notice, it is for these
    people = tuple(who for who in _named_in(notice, directory) if who in asked)
    groups = directory.members
    if notice.occasion in ASKING:
        left_out: frozenset[str] = frozenset()
        if notice.occasion == "reminder" and case.asked.approvals > 1:
            left_out = frozenset(groups.key(ballot.vote.by) for ballot in votes_of(client, case.promise.id))
        return tuple(
            who
            for who in people
            if groups.key(who) not in left_out and not is_excluded(case.asked, case.starter, who, groups)
        )
    heard = frozenset(map(groups.key, heard_before(client, case.promise)))
    decided_by = audit_of(case.promise).by
    return tuple(who for who in people if groups.key(who) in heard and not groups.same(who, decided_by))


def _named_in(notice: Notification, directory: Directory) -> Iterator[str]:
    """Yield whom a notice concerns; of the members of a group once also those who have no contact.

    What is recorded of these is that they were not told.
    """
    known = directory.members
    named = {known.key(name) for name in notice.names}
    for who in assignees(notice.names, directory):
        if is_reached(who, directory) or (notice.occasion != "reminder" and known.key(who) not in named):
            yield who


async def tell_one(ctx: Context, notice: Notification, who: str) -> bool:
    """Tell one person, or a group where it is reached together; return whether they were told."""
    for _ in range(DIGESTS):
        gathered = await step(ctx).run(gather_for, notice, who)
        if gathered is None:
            break
        said = await in_digest(ctx, notice, who, gathered)
        if said.outcome != "missed":
            return said.outcome == "sent"
    said = await in_rounds(ctx, lambda place: step(ctx, once=True).run(send, notice, who, place))
    return said.outcome == "sent"


async def send(ctx: Context, notice: Notification, who: str, place: int) -> DeliveryAttempt:
    """Say it to somebody at their nth address."""
    teller = ctx.get_dependency(Notifier)
    say = partial(compose, notice=notice, who=who, reach=teller.reach)
    return await teller.send(say, who, place, sdk.now(ctx))


async def in_rounds(ctx: Context, send: Callable[[int], Awaitable[DeliveryAttempt]]) -> DeliveryAttempt:
    """Try all channels in their order, in rounds, until one takes the message or there is no use.

    `send` tries the nth of them. One that refused for good is left out of later rounds.
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
    """Try each channel but those that `refused`, which grows; return the last try of each."""
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
    """Try one channel a few times, as long as it may be a matter of moments, and return the last try."""
    for pause in QUICK:
        if pause:
            await ctx.sleep(pause)
        tried = await send()
        if tried.outcome != "failed" or tried.for_good or tried.after_ms:
            break
    return tried


# Gathered with others


async def gather_for(ctx: Context, notice: Notification, who: str) -> DigestEntry | None:
    """Have it said with others at the end of a window, if they want that; None says it is said at once."""
    teller = ctx.get_dependency(Notifier)
    contact = teller.directory.contact(who)
    window = contact.digest if contact is not None else None
    if window is None:
        return None
    return await teller.bridge.run(gather, notice=notice, who=who, window=window, target=teller.target)


async def in_digest(ctx: Context, notice: Notification, who: str, gathered: DigestEntry) -> DeliveryAttempt:
    """Return what came of it in the message with the others, once that is known."""
    for pause in (timedelta(milliseconds=gathered.left_ms) + SETTLES, *ROUNDS[1:]):
        await ctx.sleep(pause)
        said = await step(ctx).run(look_at_digest, notice, who, gathered.digest)
        if said.outcome != "gathered":
            break
    return said


async def look_at_digest(ctx: Context, notice: Notification, who: str, digest: str) -> DeliveryAttempt:
    """Return what came of it in a digest."""
    teller = ctx.get_dependency(Notifier)
    return await teller.bridge.run(end_of_digest, digest=digest, notice=notice, who=who)


# Steps


def step(ctx: Context, *, once: bool = False) -> Context:
    """Return a context for a step that may be left lying; `once`, it is not the SDK's to do again."""
    return ctx.options(timeout=LIFE, retry_policy=Never() if once else None)
