"""`Inbox` at a gateway. Permissions and rules are checked there; a signature is made here."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from hitl_cli.client.waiting import PATIENCE_S
from hitl_cli.client.wire import Promise, fresh_id
from hitl_cli.errors import Unreachable
from hitl_cli.inbox.amend import CLAIM_MS, Amended
from hitl_cli.inbox.ask import StandaloneRequest
from hitl_cli.inbox.decide import check_signs, vote_of
from hitl_cli.inbox.decision_result import DecisionResult
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.history import HistoryEntry
from hitl_cli.inbox.inbox import Inbox
from hitl_cli.inbox.pending import EVERYTHING
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.stats import Stats
from hitl_cli.inbox.thread import ThreadEntry
from hitl_cli.people.away import Away
from hitl_cli.proof.statement import asked_digest, statement_of
from hitl_cli.remote import calls
from hitl_cli.remote.calls import MOST
from hitl_cli.remote.client import read_pages
from hitl_cli.requests.question import PLAIN
from hitl_cli.requests.question_input import ASKED, OfferInput, QuestionInput
from hitl_cli.requests.use import Use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.history import HistoryFilter
    from hitl_cli.inbox.inbox import Listed, Page, Recent, Story
    from hitl_cli.inbox.pending import RequestFilter, Sort
    from hitl_cli.people.contacts import Directory
    from hitl_cli.remote.calls import Via
    from hitl_cli.remote.client import RemoteClient
    from hitl_cli.requests.question import Digest, Question

LOOK_S = 2.0
"""How long one request waits for a decision, and so how long Ctrl-C may take."""


class RemoteInbox(Inbox):
    """The requests at a gateway, for the person who has signed in there. See Inbox for each method."""

    def __init__(self, client: RemoteClient, via: Via = "cli") -> None:
        self._remote = client
        self._via = via
        super().__init__(client, client.me)
        self.actor = msgspec.structs.replace(client.me, via=via)  # the gateway knows the absences

    def _ask[R](self, name: str, args: Struct, result: type[R]) -> R:
        return self._remote.ask(name, args, result, self._via)

    def _ask_about[R](
        self,
        name: str,
        kind: type[Struct],
        request: str | RequestSummary,
        result: type[R],
        *,
        whole: bool,
        **more: Any,
    ) -> R:
        """Return the result of a call about a request."""
        named = _named(request, whole=whole)
        return self._ask(name, kind(name=named.name, whole=named.whole, **more), result)

    # Looking

    def list(
        self, wanted: RequestFilter = EVERYTHING, *, sort: Sort = "age", limit: int | None = None
    ) -> Listed:
        """Return the open requests, and whether there are more than `limit`."""
        return read_pages(partial(self.page, wanted, sort=sort), limit)

    def page(
        self,
        wanted: RequestFilter = EVERYTHING,
        *,
        sort: Sort = "age",
        limit: int,
        after: str | None = None,
    ) -> Page[RequestSummary]:
        """Return a page of open requests, and the cursor of the next one."""
        page = self._ask(
            "requests",
            calls.WantedRequests(wanted=wanted, sort=sort, limit=limit, after=after),
            calls.Page[RequestSummary],
        )
        return [_plain(item) for item in page.items], page.next

    def find(self, request: str | RequestSummary, *, whole: bool = False) -> RequestSummary:
        """Return a request, open or decided."""
        if not isinstance(request, str):
            return request
        return _plain(self._ask("find", calls.Named(name=request, whole=whole), RequestSummary))

    def show(self, request: str | RequestSummary, *, whole: bool = False) -> RequestDetails:
        """Return all details of a request."""
        seen = self._ask("show", _named(request, whole=whole), RequestDetails)
        return msgspec.structs.replace(seen, item=_plain(seen.item))

    def silent(self, names: Iterable[str], directory: Directory) -> tuple[str, ...]:  # noqa: ARG002
        """Return the assignees that have no contact in the settings of the gateway."""
        return self._ask("silent", calls.Names(names=tuple(names)), tuple[str, ...])

    # Deciding

    def decide(
        self, request: str | RequestSummary, said: Said, *, whole: bool = False, **_: Any
    ) -> DecisionResult:
        """Decide a request, or vote. With a signer, sign the request as this person saw it."""
        named = _named(request, whole=whole)
        if not callable(said) and self.signer is None:
            return self._decided(calls.Decided(name=named.name, whole=named.whole, said=said))
        item = self.find(request, whole=whole)
        given = said(item) if callable(said) else said
        decided = calls.Decided(name=item.id, whole=True, said=given)
        if self.signer is None or not item.waits:
            return self._decided(decided)
        check_signs(item, self.signer, given.verdict or "approve")
        at = self.client.now()
        vote = vote_of(given, self.actor.person, item.asked, at)
        proof = self.signer(statement_of(item.promise, item.run, vote, fresh_id(), at))
        shown = asked_digest(item.promise, item.run)
        return self._decided(msgspec.structs.replace(decided, proof=proof, asked=shown))

    def _decided(self, decided: calls.Decided) -> DecisionResult:
        return self._ask("decide", decided, DecisionResult)

    def comment(self, request: str | RequestSummary, text: str, *, whole: bool = False, **_: Any) -> Promise:
        """Add a comment to a request, and return its promise."""
        return self._ask_about("comment", calls.Commented, request, Promise, whole=whole, text=text)

    # Handing over

    def assign(
        self,
        request: str | RequestSummary,
        names: Sequence[str],
        directory: Directory,  # noqa: ARG002 - the gateway's settings count
        group: str,
        *,
        add: bool = False,
        anyway: bool = False,
        whole: bool = False,
    ) -> Amended:
        """Assign a request to others."""
        to = tuple(names)
        return self._amended(
            "assign", calls.Assigned, request, whole=whole, to=to, add=add, anyway=anyway, group=group
        )

    def claim(
        self, request: str | RequestSummary, life_ms: int | None = None, *, whole: bool = False
    ) -> Amended:
        """Record that this person works on a request."""
        life = CLAIM_MS if life_ms is None else life_ms
        return self._amended("claim", calls.ForTime, request, whole=whole, ms=life)

    def release(self, request: str | RequestSummary, *, anyway: bool = False, whole: bool = False) -> Amended:
        """End the claim on a request."""
        return self._amended("release", calls.Released, request, whole=whole, anyway=anyway)

    def extend(
        self,
        request: str | RequestSummary,
        by_ms: int | None = None,
        *,
        until: int | None = None,
        whole: bool = False,
    ) -> Amended:
        """Move the deadline of a request."""
        return self._amended("extend", calls.Extended, request, whole=whole, ms=by_ms or 0, until=until)

    def _amended(
        self, name: str, kind: type[Struct], request: str | RequestSummary, *, whole: bool, **more: Any
    ) -> Amended:
        done = self._ask_about(name, kind, request, Amended, whole=whole, **more)
        return msgspec.structs.replace(done, item=_plain(done.item))

    def ask_back(self, request: str | RequestSummary, text: str, *, whole: bool = False) -> ThreadEntry:
        """Ask the asker of a request something, and return the entry."""
        return self._ask_about("ask-back", calls.Commented, request, ThreadEntry, whole=whole, text=text)

    def answer_back(self, request: str | RequestSummary, text: str, *, whole: bool = False) -> ThreadEntry:
        """Answer a question that was asked back, and return the entry."""
        return self._ask_about("answer-back", calls.Commented, request, ThreadEntry, whole=whole, text=text)

    # Being away

    def aways(self) -> Sequence[Away]:
        """Return the current and coming absences."""
        return self._ask("aways", calls.Nothing(), list[Away])

    def go_away(
        self,
        *,
        until: int,
        since: int | None = None,
        to: str | None = None,
        person: str | None = None,
        anyway: bool = False,
    ) -> Away:
        """Record that this person is away."""
        said = calls.GoneAway(until=until, since=since, to=to, person=person, anyway=anyway)
        return self._ask("go-away", said, Away)

    def come_back(self, person: str | None = None) -> bool:
        """End this person's absence. Returns whether there was one."""
        return self._ask("come-back", calls.Someone(person=person), bool)

    # Asking without a workflow

    def ask(
        self,
        question: Question,
        *,
        id: str,
        deadline_ms: int,
        key: str | None = None,
        tags: Any = None,
        **_: Any,
    ) -> StandaloneRequest:
        """Create a request, or find the existing one."""
        put = calls.Put(asked=_as_input(question, id, deadline_ms, key, tags or {}))
        return self._ask("ask", put, StandaloneRequest)

    def notify(self, asked: StandaloneRequest, directory: Directory, group: str) -> bool:  # noqa: ARG002
        """Queue the notification of a request. Return whether any assignee has a contact at the gateway."""
        return self._ask("notify", calls.Existing(id=asked.id, group=group), bool)

    def worker_notifies(
        self,
        asked: StandaloneRequest,
        group: str,
        left: Callable[[], bool] = lambda: False,  # noqa: ARG002 - the gateway waits at most two seconds
    ) -> bool:
        """Whether a worker has started the notification, or is running to do so."""
        return self._ask("worker-notifies", calls.Existing(id=asked.id, group=group), bool)

    def asked(self, id: str, digest: Digest | None = None) -> StandaloneRequest:
        """Return the existing request with an id."""
        return self._ask("asked", calls.Existing(id=id, digest=digest), StandaloneRequest)

    def wait(
        self,
        asked: StandaloneRequest,
        *,
        timeout_s: float | None = None,
        left: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        heard: Callable[[ThreadEntry], None] = lambda _: None,
    ) -> Promise:
        """Return the promise of a request once it is settled, after a timeout, or once `left()`."""
        end = None if timeout_s is None else clock() + timeout_s
        heard_at, last = clock(), 0
        while True:
            rest = LOOK_S if end is None else min(end - clock(), LOOK_S)
            try:
                now = self.asked(asked.id)
                promise, heard_at = now.promise, clock()
                if now.asked_back is not None and now.asked_back.number > last:
                    last = now.asked_back.number
                    heard(now.asked_back)
            except Unreachable:
                if clock() > heard_at + PATIENCE_S:
                    raise
                promise = asked.promise
            if promise.state != "pending" or rest <= 0 or left():
                return promise
            self._until_changed(asked.id, rest)

    def _until_changed(self, id: str, wait_s: float) -> None:
        """Return once a request is decided, or after a while."""
        path = f"/requests/{quote(id, safe='')}"
        try:
            self._remote.api.send("GET", path, msgspec.Raw, {"wait": f"{wait_s:.3f}s"}, wait_s=wait_s)
        except Unreachable:
            time.sleep(min(wait_s, 1.0))

    def withdraw(self, asked: StandaloneRequest) -> Promise:
        """Cancel a request, and return its promise."""
        return self._ask("withdraw", calls.Existing(id=asked.id), Promise)

    def consume(self, request: str, key: str) -> Use:
        """Use up an approval of a request."""
        return self._ask("consume", calls.Consumed(name=request, key=key), Use)

    # History

    def history(self, wanted: HistoryFilter, limit: int | None = None) -> Recent:
        """Return decisions, newest first, and whether there are more than `limit`."""
        return read_pages(partial(self.history_page, wanted), limit)

    def history_page(
        self, wanted: HistoryFilter, *, limit: int, after: str | None = None
    ) -> Page[HistoryEntry]:
        """Return a page of decisions, and the cursor of the next one."""
        page = self._ask(
            "history", calls.WantedHistory(wanted=wanted, limit=limit, after=after), calls.Page[HistoryEntry]
        )
        return page.items, page.next

    def decisions(self, wanted: HistoryFilter) -> Iterator[HistoryEntry]:
        """Yield decisions, newest first, as they are read."""
        after: str | None = None
        while True:
            items, after = self.history_page(wanted, limit=MOST, after=after)
            yield from items
            if after is None:
                return

    def story(self, name: str, wanted: HistoryFilter) -> Story:
        """Return the comments, votes and decisions on a named request or run, in order."""
        return self._ask("story", calls.WantedHistory(wanted=wanted, name=name), list[HistoryEntry])

    def stats(self, ago_ms: int, most: int | None = None) -> Stats:
        """Return statistics of the decisions in the last `ago_ms`."""
        return self._ask("stats", calls.Ago(ago_ms=ago_ms, most=most), Stats)


def _named(request: str | RequestSummary, *, whole: bool) -> calls.Named:
    """Return the name of a request; of one that was looked up, its id."""
    if isinstance(request, str):
        return calls.Named(name=request, whole=whole)
    return calls.Named(name=request.id, whole=True)


def _plain(item: RequestSummary) -> RequestSummary:
    """Return a received request. One without a question gets the object PLAIN itself."""
    return msgspec.structs.replace(item, question=PLAIN) if item.question == PLAIN else item


def _as_input(
    question: Question, id: str, deadline_ms: int, key: str | None, tags: dict[str, str]
) -> QuestionInput:
    """Return a question in the form in which a program sends it."""
    offer = question.offer
    given = {
        "id": id,
        "key": key,
        "tags": dict(tags),
        "deadline": f"{deadline_ms}ms",
        "approvals": question.approvals_by or question.approvals,
        "extend": None if question.extend is None else f"{question.extend}ms",
        "valid_for": None if question.valid_for is None else f"{question.valid_for}ms",
        "offer": None if offer is None else OfferInput(where=offer.where, longest=f"{offer.longest}ms"),
    }
    return QuestionInput(**{name: getattr(question, name) for name in ASKED} | given)
