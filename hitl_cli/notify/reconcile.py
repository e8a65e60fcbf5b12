"""Queues missing notifications: for requests of other SDKs, of scripts elsewhere, and of canceled runs.

`ask` queues those of its own requests. A worker with contacts regularly looks for other new requests, and for
the outcomes of those that it has seen open.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import PAGE, as_promise, get_promises, search_pages
from hitl_cli.client.tags import REQUEST_TAG, SAID_TAG, THREAD_TAG
from hitl_cli.client.wire import EXTERNAL, audit_of
from hitl_cli.errors import BadInput, Conflict
from hitl_cli.format.stable_ids import short_stable_id
from hitl_cli.inbox.amendments import asked_at
from hitl_cli.inbox.ask_back import notification_of
from hitl_cli.inbox.history import settled_since
from hitl_cli.inbox.pending import RequestFilter, blocking_pages, pending
from hitl_cli.inbox.permission import deputy_for
from hitl_cli.inbox.thread import ThreadEntry, entry_in, open_questions
from hitl_cli.notify.status import heard_by_others
from hitl_cli.people.away import with_deputies
from hitl_cli.people.contacts import NotificationSettings, concerns, recipients
from hitl_cli.people.deputies import reached_deputies
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.notification import (
    NOTIFICATION_LIFE_MS,
    Notification,
    callback_ends_at,
    callback_of,
    outcome_notification,
)
from hitl_cli.requests.question import asker_of, question_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hitl_cli.client.protocol import Client, ProtocolRequest
    from hitl_cli.client.wire import Promise

type _New = tuple[Notification, str, int]
"""A notification, the run of its request, and its deadline."""

logger = logging.getLogger(__name__)

type _Deputyship = tuple[str, str, int]
"""Who is away, their deputy, and since when that deputy stands in."""

LATE_MS = 2_000
"""How long a worker may not know about a new deputy."""

NUMBER_DIGITS = 12
"""Hexadecimal digits of the number that distinguishes the notifications of deputies."""

LOOK_BACK_MS = 3 * 86_400_000
"""Older requests are not notified of: it covers a long weekend. New settings must not cause thousands of
notifications of requests that have been open for months."""

OVERLAP_MS = 60_000
"""Overlap with the last check, because clocks differ and commits take time."""

BATCH = 500
"""Notifications to create in one round trip."""

MOST = 100_000
"""Requests to remember. Beyond that, assignees are not notified of outcomes."""


class Reconciler:
    """Finds missing notifications, and queues them."""

    def __init__(self, reach: NotificationSettings, target: str) -> None:
        """`target` is the address of the workers that deliver."""
        self._reach = reach
        self._target = target
        self._groups = NO_GROUPS
        self._waiting: dict[str, int] = {}
        self._told_deputies: frozenset[_Deputyship] = frozenset()
        self._stood_in: set[str] = set()
        self._looked_at: int | None = None

    def look(self, client: Client) -> None:
        """Queue missing notifications, if anyone has a contact, and missing callbacks. Raises Unreachable."""
        if not (self._reach.now.reaches_somebody or self._reach.now.callbacks.names_hosts):
            return
        now = client.now()
        self._groups = with_deputies(client, self._reach.now.members)
        waiting, fresh = set(), []
        for promise in self._waiting_now(client):
            waiting.add(promise.id)
            if promise.id not in self._waiting and self._concerns(promise):
                fresh.append(promise)
        self._give(client, [notice for promise in fresh for notice in self._asked(promise, now)])
        for promise in fresh:  # after queueing, so that a failure is repeated next time
            if len(self._waiting) < MOST:
                self._waiting[promise.id] = promise.timeout_at
        self._give(client, list(self._threads(client, now)))
        self._tell_deputies(client, now)
        ended = self._ended(client, now, waiting)
        self._give(client, [notice for promise in ended for notice in self._outcome(client, promise, now)])
        for promise in ended:
            self._waiting.pop(promise.id, None)
            self._stood_in.discard(promise.id)
        self._looked_at = now

    # New requests

    def _waiting_now(self, client: Client) -> Iterator[Promise]:
        """Yield open requests; from a server that can sort, only those since the last check."""
        can = client.capabilities
        if not (can.sort and can.open):
            yield from (p for page in blocking_pages(client) for p in page)
            return
        since = 0 if self._looked_at is None else self._looked_at - OVERLAP_MS
        query = {"state": "pending", "tags": EXTERNAL, "sort": "-created"}
        for page in search_pages(client, PAGE if self._looked_at is None else BATCH, **query):
            yield from (p for p in page if p.is_blocking and p.created_at >= since)
            if any(p.created_at < since for p in page):
                return

    def _concerns(self, promise: Promise) -> bool:
        """Whether an assignee of a promise has a contact, or it has a callback."""
        question = question_of(promise)
        if question is None or (promise.tags.get(REQUEST_TAG) != "1" and not self._reach.now.anybody):
            return False
        return question.callback is not None or self._reaches(question.everyone)

    def _reaches(self, names: Sequence[str]) -> bool:
        """Whether any of these people and groups, or their deputies, has a contact."""
        people = self._reach.now
        return bool(recipients(names, people) or reached_deputies(names, self._groups, people))

    def _asked(self, promise: Promise, now: int) -> Iterator[_New]:
        """Yield the notification of a new request, and its callback, unless it is too old."""
        question = question_of(promise)
        if question is None or promise.created_at < now - LOOK_BACK_MS:
            return
        asked = question.asked_at(0)
        if reached_deputies(asked, self._groups, self._reach.now):
            self._stood_in.add(promise.id)
        if self._reaches(asked):
            notice = Notification(request=promise.id, occasion="asked", names=asked)
            yield notice, promise.origin, promise.timeout_at
        if question.callback is not None and self._reach.now.callbacks.names_hosts:
            yield callback_of(promise.id), promise.origin, callback_ends_at(promise)

    # Deputies

    def _tell_deputies(self, client: Client, now: int) -> None:
        """Queue notifications to deputies about requests that were open before they became deputies.

        All workers queue the same one. If one was already queued for an earlier absence, its delivery sees
        that the deputy was notified. Later requests notify deputies by themselves
        (hitl_cli/notify/deliver.py).
        """
        people = self._reach.now
        active = {
            (one.person, deputy, one.since)
            for one in self._groups.away
            for deputy in reached_deputies((one.person,), self._groups, people)
        }
        new = active - self._told_deputies
        for _, deputy, since in sorted(new):
            mine = RequestFilter(person=deputy)
            items, _ = pending(client, mine, groups=self._groups)
            theirs = [item for item in items if deputy_for(item, deputy, self._groups)]
            self._stood_in.update(item.id for item in theirs)
            number = int(short_stable_id(f"{since} {people.members.key(deputy)}", NUMBER_DIGITS), 16)
            self._give(
                client,
                [
                    (
                        Notification(request=item.id, occasion="deputy", names=(deputy,), number=number),
                        item.workflow,
                        item.promise.timeout_at,
                    )
                    for item in theirs
                    if item.created_at <= since + LATE_MS
                ],
            )
        self._told_deputies = frozenset(one for one in active if one[2] + LATE_MS < now)

    # Threads

    def _threads(self, client: Client, now: int) -> Iterator[_New]:
        """Yield the notifications of open questions to askers, and of recent answers."""
        since = (now if self._looked_at is None else self._looked_at) - OVERLAP_MS
        entries = [*open_questions(client).values(), *_answers_since(client, since)]
        requests = get_promises(client, sorted({entry.request for entry in entries}))
        runs = get_promises(client, sorted({promise.origin for promise in requests.values()}))
        for entry in entries:
            promise = requests.get(entry.request)
            question = None if promise is None else question_of(promise)
            if promise is None or question is None or promise.state != "pending":
                continue
            asker = asker_of(promise, runs.get(promise.origin))
            names: tuple[str, ...] = () if asker is None else (asker,)
            if entry.kind == "answer-back":
                names = asked_at(client, promise.id, question, promise.created_at, now)
            told = bool(names) or entry.kind == "answer-back"  # without names, the request is for anyone
            if told and recipients(names, self._reach.now):
                yield notification_of(entry, names), promise.origin, promise.timeout_at

    # Outcomes

    def _ended(self, client: Client, now: int, waiting: Collection[str]) -> list[Promise]:
        """Return requests that were seen open and have ended; `waiting` are the open ones now."""
        if self._looked_at is None:
            return []
        plain = client.capabilities.plain
        gone = [
            id
            for id, timeout_at in self._waiting.items()
            if timeout_at <= now or (plain and id not in waiting)
        ]
        found: dict[str, Promise] = {}
        for at in range(0, len(gone), BATCH):
            found.update(get_promises(client, gone[at : at + BATCH]))
        others: list[Promise] = []
        # A Resonate Server would read all promises.
        for promise in () if plain else settled_since(client, self._looked_at - OVERLAP_MS):
            # `ask` in a workflow queues the others, but not in a run that has ended.
            over = promise.state == "rejected_canceled" or promise.expired_at is not None
            alone = promise.origin == promise.id
            if promise.id in self._waiting or ((over or alone) and self._concerns(promise)):
                found[promise.id] = promise
            elif over or alone:
                others.append(promise)
        for at in range(0, len(others), BATCH):  # a person was notified who is no longer a deputy
            batch = others[at : at + BATCH]
            heard = heard_by_others(client, batch, (audit_of(one).by for one in batch), self._reach.now)
            told = {promise.id: promise for promise, was in zip(batch, heard, strict=True) if was}
            self._stood_in.update(told)
            found |= told
        for id in gone:
            if id not in found:
                del self._waiting[id]
        return [promise for promise in found.values() if promise.state != "pending"]

    def _outcome(self, client: Client, promise: Promise, now: int) -> Iterator[_New]:
        """Yield the notification of a request's outcome."""
        question = question_of(promise)
        if question is None:
            return
        end = promise.settled_at or promise.timeout_at
        asked = asked_at(client, promise.id, question, promise.created_at, end)
        if concerns(asked, self._reach.now, audit_of(promise).by) or promise.id in self._stood_in:
            notice = outcome_notification(promise, asked)
            yield notice, promise.origin, now + NOTIFICATION_LIFE_MS

    def _give(self, client: Client, notices: Sequence[_New]) -> None:
        """Create the notifications that do not exist yet."""
        for at in range(0, len(notices), BATCH):
            batch = notices[at : at + BATCH]
            there = get_promises(client, [notice.id for notice, *_ in batch])
            missing: list[ProtocolRequest] = [
                notice.create(self._target, until, origin)
                for notice, origin, until in batch
                if notice.id not in there
            ]
            for one, answer in zip(missing, client.call_many(missing) if missing else [], strict=True):
                try:
                    as_promise(answer)
                except (BadInput, Conflict) as error:  # one failure must not stop the others
                    id = one.data["id"]
                    about = {"request": id.rpartition(":")[0]}
                    logger.warning("notification %s was not queued: %s", id, error, extra=about)


def _answers_since(client: Client, since: int) -> Iterator[ThreadEntry]:
    """Yield the answers since an instant."""
    sort = {"sort": "-created"} if client.capabilities.sort else {}
    for page in search_pages(client, BATCH, tags={SAID_TAG: "1"}, **sort):
        for promise in page:
            entry = entry_in(promise) if promise.created_at >= since and THREAD_TAG in promise.tags else None
            if entry is not None and entry.kind == "answer-back":
                yield entry
        if sort and any(promise.created_at < since for promise in page):
            return
