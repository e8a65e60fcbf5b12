"""`Inbox`: the requests on one server, for one person.

A front end makes the `Actor`, parses input and renders results; permissions are checked here. Methods import
modules when they are called, so that listing stays fast.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import NotFound
from hitl_cli.inbox.amendments import with_claims
from hitl_cli.inbox.pending import (
    EVERYTHING,
    page_of_pending,
    pending,
    sees,
    shown,
    spelled_by,
    summaries,
)
from hitl_cli.people.actor import check_person
from hitl_cli.people.away import with_deputies
from hitl_cli.people.callbacks import NO_CALLBACKS, endpoint_of
from hitl_cli.people.deputies import named_among
from hitl_cli.people.groups import as_asked, is_among
from hitl_cli.people.sight import Sight
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.amend import Amended
    from hitl_cli.inbox.ask import StandaloneRequest
    from hitl_cli.inbox.decide import Said, Settling
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.deferrals import Deferral, DeferredSession
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.inbox.held import Ended, Failed, Held
    from hitl_cli.inbox.history import HistoryEntry, HistoryFilter
    from hitl_cli.inbox.open_figures import OpenFigures
    from hitl_cli.inbox.open_requests import OpenRequests
    from hitl_cli.inbox.pending import RequestFilter, Sort
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.inbox.stats import Stats
    from hitl_cli.inbox.thread import ThreadEntry
    from hitl_cli.inbox.watch import InboxWatch
    from hitl_cli.people.actor import Actor, Permission
    from hitl_cli.people.away import Away
    from hitl_cli.people.callbacks import CallbackSettings
    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.idempotency import IdempotencyMark
    from hitl_cli.proof.signing import Signer
    from hitl_cli.requests.decision_input import DecisionInput
    from hitl_cli.requests.question import Digest, Question
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.requests.use import Use

type Listed = tuple[list[RequestSummary], bool]
type Page[T] = tuple[list[T], str | None]
type Recent = tuple[list[HistoryEntry], bool]
type Story = list[HistoryEntry]


class Inbox:
    """The requests on a server, for one actor. Calls block.

    A request is named by its id, its key, the id of a run with one open request, or an id prefix (unless
    `whole`); or it is a RequestSummary, which is not looked up again. Reading changes nothing: a request with
    a quorum is settled by the person who votes last, or by the housekeeping of workers and gateways.

    Each method raises NotAllowed without the permission (`read` to look, `decide` to decide and comment,
    `ask` to ask), and Unreachable. An actor who may only `ask` sees only the requests that they asked, by id.
    """

    def __init__(self, client: Client, actor: Actor, known: OpenRequests | None = None) -> None:
        """`known` are the open requests in memory, for lists; its client must be this one."""
        self.client = client
        self.actor = msgspec.structs.replace(actor, groups=with_deputies(client, actor.groups))
        self.signer: Signer | None = None
        """Signs what the actor decides."""
        self._known = known
        self._sight = Sight(self.actor)

    # Looking

    def list(
        self, wanted: RequestFilter = EVERYTHING, *, sort: Sort = "age", limit: int | None = None
    ) -> Listed:
        """Return the open requests, and whether there are more than `limit` (see `pending`)."""
        self.actor.require("read", "ask")
        groups, wanted, sight = self.actor.groups, self._visible(wanted), self._sight
        if self._known is not None:
            found, more = self._known.listed(wanted, sort, limit, sight)
        else:
            found, more = pending(self.client, wanted, groups=groups, sort=sort, limit=limit, sight=sight)
        return [self._as_told(item) for item in found], more

    def page(
        self,
        wanted: RequestFilter = EVERYTHING,
        *,
        sort: Sort = "age",
        limit: int,
        after: str | None = None,
    ) -> Page[RequestSummary]:
        """Return a page of open requests, and the cursor of the next one (see `paging.page_of`)."""
        self.actor.require("read", "ask")
        groups, wanted, sight = self.actor.groups, self._visible(wanted), self._sight
        known = None if self._known is None else self._known.page(wanted, sort, limit, after, sight)
        found, following = known or page_of_pending(
            self.client, wanted, groups=groups, sort=sort, limit=limit, after=after, sight=sight
        )
        return [self._as_told(item) for item in found], following

    def figures(self) -> OpenFigures:
        """Return the number of open requests, by workflow, group and priority."""
        from hitl_cli.inbox.open_figures import READ_MOST, open_figures, open_row

        self.actor.require("read")
        if self._known is not None and self._sight.all:
            return self._known.figures()
        groups, sight = self.actor.groups, self._sight
        items, partial = pending(self.client, groups=groups, limit=READ_MOST, sight=sight)
        return open_figures(map(open_row, items), self.client.now(), partial=partial)

    def find(self, request: str | RequestSummary, *, whole: bool = False) -> RequestSummary:
        """Return a request, open or decided. Raises NotFound, BadInput (ambiguous name)."""
        item = self._complete(request, whole=whole)
        return self._as_told(with_claims(self.client, [item])[0] if item.waits else item)

    def among(self, ids: Sequence[str]) -> dict[str, RequestSummary]:
        """Return the requests with these ids that the actor may see, by id, in a few round trips."""
        self.actor.require("read", request=self.actor.only)
        found = [item for item in summaries(self.client, ids).values() if item.promise.is_blocking]
        seen = [spelled_by(self.actor.groups, item) for item in found if sees(self._sight, item)]
        return {item.id: self._as_told(item) for item in with_claims(self.client, seen)}

    def _as_told(self, item: RequestSummary) -> RequestSummary:
        """Return a request as the actor may see it; without `read`, members of its groups are left out."""
        item = shown(self._sight, item)
        if self.actor.reads or not item.away:
            return item
        return msgspec.structs.replace(item, away=named_among(item.away, item.to, self.actor.groups))

    def _complete(self, request: str | RequestSummary, *, whole: bool) -> RequestSummary:
        """Return the same as `find`, with private parts but without a claim."""
        if not isinstance(request, str) and request.hidden:
            request, whole = request.id, True
        try:
            item = self._named("read", "ask", request=request, whole=whole)
        except NotFound:
            own = self._own(request)
            if own is None:
                raise
            item = self._named("read", "ask", request=own, whole=True)
        return item

    def show(self, request: str | RequestSummary, *, whole: bool = False) -> RequestDetails:
        """Return all details of a request. Raises NotFound, BadInput (ambiguous name)."""
        from hitl_cli.inbox.details import details

        item = self._complete(request, whole=whole)
        seen = details(self.client, item, self.actor.groups, self._sight)
        return msgspec.structs.replace(seen, item=self._as_told(seen.item), limited=not self.actor.reads)

    def silent(self, names: Iterable[str], directory: Directory) -> tuple[str, ...]:
        """Return the assignees that have no contact."""
        from hitl_cli.people.contacts import without_contact

        return without_contact(names, directory)

    def watch(self) -> InboxWatch:
        """Return a watcher of changes; `Change.concerns` says whether one is about an actor's requests."""
        from hitl_cli.inbox.watch import watch_inbox

        self.actor.require("read")
        return watch_inbox(self.client, self._sight)

    # Deciding

    def decide(
        self,
        request: str | RequestSummary,
        said: Said,
        *,
        whole: bool = False,
        mark: IdempotencyMark | None = None,
        expect: Callable[[RequestSummary], None] | None = None,
    ) -> DecisionResult:
        """Decide a request, or vote if several must approve.

        Exactly one decision is recorded; repeating it is not an error. A decision with a `mark` is recorded
        once, even if it is sent again. `expect` is called before the decision is first recorded, and raises
        if the request has changed.

        Raises NotFound, BadInput (ambiguous name, or an answer that does not fit), NotAllowed (not an
        assignee), Conflict (decided otherwise), TimedOut (the deadline had passed), IdempotencyKeyReused.
        Then nothing is changed.
        """
        from hitl_cli.inbox.decide import decide

        check_person(self.actor.person)
        item = self._found("decide", request=request, whole=whole, mark=mark)
        if not isinstance(request, str):
            item = shown(self._sight, self._current(item))
        return decide(self.client, self.actor, item, said, mark=mark, expect=expect, signer=self.signer)

    def hold(
        self,
        request: str | RequestSummary,
        said: Said,
        *,
        expect: Callable[[RequestSummary], None] | None = None,
    ) -> Held | DecisionResult:
        """Hold a decision for a few seconds, during which it can be undone; or decide at once.

        It decides at once if the decision needs a signature or makes a rule, or the deadline is near.
        `make_held` makes a held decision when it is due. Raises what `decide` raises; then nothing is held.
        """
        from hitl_cli.inbox.held import hold

        check_person(self.actor.person)
        [item] = with_claims(self.client, [self._found("decide", request=request, whole=False)])
        held = hold(self.client, self.actor, item, said, expect)
        return self.decide(item, said) if held is None else held

    def held(self, ids: Iterable[str]) -> Sequence[Held]:
        """Return the held decisions with these ids that are the actor's, as they are now."""
        from hitl_cli.inbox.held import held

        return held(self.client, self.actor, ids)

    def hold_many(
        self, requests: Sequence[RequestSummary], said: DecisionInput, failed: Sequence[Failed] = ()
    ) -> Held:
        """Hold one decision on many requests, which must be planned (`bulk.plan_each`) and allow holding.

        `failed` are the requests that cannot be decided; they are shown with it. Raises BadInput, TooLarge.
        """
        from hitl_cli.inbox.held import hold_many

        check_person(self.actor.person)
        self.actor.require("decide", request=self.actor.only)
        return hold_many(self.client, self.actor, requests, said, failed)

    def undo(self, id: str, ended: Ended) -> Held:
        """Undo a held decision of the actor. Raises NotFound, and Conflict if it is too late."""
        from hitl_cli.inbox.held import undo

        return undo(self.client, self.actor, id, ended)

    def make_held(self, held: Held, ended: Ended) -> Held:
        """Make a held decision that is due, unless it is undone, made or `ended`. Raises Unreachable."""
        from hitl_cli.inbox.held import make

        return make(self.client, held, self.actor.groups, ended)

    def begin(self, request: RequestSummary, said: Said) -> DecisionResult | Settling:
        """Do what `decide` does, but return the decision ready to send, to make several at once."""
        from hitl_cli.inbox.decide import begin

        check_person(self.actor.person)
        item = self._found("decide", request=request, whole=True)
        return begin(self.client, self.actor, item, said)

    def comment(
        self,
        request: str | RequestSummary,
        text: str,
        *,
        whole: bool = False,
        mark: IdempotencyMark | None = None,
    ) -> Promise:
        """Add a comment to a request, open or decided, and return its promise.

        Raises NotFound, BadInput, IdempotencyKeyReused.
        """
        from hitl_cli.inbox.comments import add_comment, check_text

        check_text(text)
        item = self._found("decide", request=request, whole=whole)
        add_comment(self.client, self.actor, item.promise, text, mark)
        return item.promise

    # Handing over

    def assign(
        self,
        request: str | RequestSummary,
        names: Sequence[str],
        directory: Directory,
        group: str,
        *,
        add: bool = False,
        anyway: bool = False,
        whole: bool = False,
    ) -> Amended:
        """Assign an open request to people and groups, in place of its assignees or (`add`) beside them.

        Its author says who may do this (`Question.reassign`). The new assignees are notified by the workers
        of its run, or without a run by those of `group`. Links of former assignees stop working. Votes stay.
        `anyway` accepts names that are not in the settings, unless `strict_people` is set.

        Raises NotFound, BadInput (invalid names, or too few for its approvals), NotAllowed, Conflict,
        TimedOut (it is decided). Then nothing is changed.
        """
        from hitl_cli.inbox import amend

        check_person(self.actor.person)
        item = self._to_amend(request, whole=whole)
        done = amend.assign(self.client, self.actor, item, names, add=add, anyway=anyway)
        amend.notify_assigned(self.client, done, directory, group)
        return self._shown_amended(done)

    def claim(
        self, request: str | RequestSummary, life_ms: int | None = None, *, whole: bool = False
    ) -> Amended:
        """Record that the actor works on an open request, by default for an hour.

        Everyone sees the claim, and only the person who made it is reminded. Others can still decide, but
        their decisions with `unless_claimed` are refused. A claim ends when its time is over, and by
        `release` or `assign`.

        Raises NotFound, BadInput, NotAllowed (not an assignee), Conflict (somebody else has claimed it, or
        it is decided), TimedOut. Then nothing is changed.
        """
        from hitl_cli.inbox import amend

        check_person(self.actor.person)
        item = self._found("decide", request=request, whole=whole)
        done = amend.claim(self.client, self.actor, item, amend.CLAIM_MS if life_ms is None else life_ms)
        return self._shown_amended(done)

    def release(self, request: str | RequestSummary, *, anyway: bool = False, whole: bool = False) -> Amended:
        """End the actor's claim on an open request; with `anyway` another's, if they may answer or assign it.

        Raises NotFound, BadInput, Conflict (somebody else has claimed it, or it is decided), TimedOut.
        """
        from hitl_cli.inbox import amend

        check_person(self.actor.person)
        item = self._to_amend(request, whole=whole)
        done = amend.release(self.client, self.actor, item, anyway=anyway)
        return self._shown_amended(done)

    def extend(
        self,
        request: str | RequestSummary,
        by_ms: int | None = None,
        *,
        until: int | None = None,
        whole: bool = False,
    ) -> Amended:
        """Move the deadline of an open request by some ms, as far as its author allows (`Question.extend`).

        Or move it to an instant (`until`, ms since the epoch).

        Raises NotFound, BadInput (too far), NotAllowed, Conflict, TimedOut (it is decided, or its deadline
        has passed). Then nothing is changed.
        """
        from hitl_cli.inbox import amend

        check_person(self.actor.person)
        item = self._to_amend(request, whole=whole)
        done = amend.extend(self.client, self.actor, item, by_ms, until)
        return self._shown_amended(done)

    def _shown_amended(self, done: Amended) -> Amended:
        """Return a change with its request as the actor may see it now."""
        return msgspec.structs.replace(done, item=shown(self._sight, done.item))

    def _to_amend(self, request: str | RequestSummary, *, whole: bool) -> RequestSummary:
        """Return a request that the actor may decide or has asked."""
        if "decide" in self.actor.may:
            return self._found("decide", request=request, whole=whole)
        self.actor.require("ask")
        return self.find(request, whole=whole)

    def _current(self, item: RequestSummary) -> RequestSummary:
        """Return a request, perhaps read earlier, with its current amendments."""
        from hitl_cli.inbox.amendments import with_amendments

        return spelled_by(self.actor.groups, with_amendments(self.client, [item])[0])

    def ask_back(self, request: str | RequestSummary, text: str, *, whole: bool = False) -> ThreadEntry:
        """Ask the asker of an open request something before deciding it, and return the entry.

        The request waits for its asker, who is notified; assignees can still decide. Repeating it changes
        nothing. Raises NotFound, BadInput, NotAllowed (not an assignee), Conflict (decided, or already asked
        back otherwise), TimedOut.
        """
        from hitl_cli.inbox.ask_back import ask_back
        from hitl_cli.inbox.comments import check_text

        check_text(text, "question")
        check_person(self.actor.person)
        return ask_back(self.client, self.actor, self._found("decide", request=request, whole=whole), text)

    def answer_back(self, request: str | RequestSummary, text: str, *, whole: bool = False) -> ThreadEntry:
        """Answer the question that was asked back about a request of the actor, and return the entry.

        The assignees are notified. Repeating it changes nothing. Raises NotFound, BadInput, NotAllowed (the
        request was asked by another), Conflict (decided, or nothing was asked back), TimedOut.
        """
        from hitl_cli.inbox.ask_back import answer_back
        from hitl_cli.inbox.comments import check_text

        check_text(text, "answer")
        check_person(self.actor.person)
        item = self._found("decide", "ask", request=self._own(request) or request, whole=whole)
        return answer_back(self.client, self.actor, item, text)

    # Being away

    def aways(self) -> Sequence[Away]:
        """Return the current and coming absences that the actor may see."""
        from hitl_cli.people.away import aways

        self.actor.require("read", "decide")
        groups, sight = self.actor.groups, self._sight
        found = aways(self.client, groups)
        hidden = {one.id for one in found if not sight.absence(one)}
        asked = {name for item in self.list()[0] for name in item.to} if hidden and self.actor.reads else ()
        return [one for one in found if one.id not in hidden or is_among(one.person, asked, groups)]

    def go_away(
        self,
        *,
        until: int,
        since: int | None = None,
        to: str | None = None,
        person: str | None = None,
        anyway: bool = False,
    ) -> Away:
        """Record that the actor is away from `since` until `until`, in place of an earlier record.

        Instants are ms since the epoch; without `since`, the absence begins now. `to` is the deputy, who may
        answer in addition. An operator may name another `person`. `anyway` accepts names that are not in the
        settings, unless `strict_people` is set. Raises BadInput, NotAllowed.
        """
        from hitl_cli.inbox.away import go_away

        return go_away(self.client, self.actor, until=until, since=since, to=to, person=person, anyway=anyway)

    def come_back(self, person: str | None = None) -> bool:
        """End the absence of the actor, or of a person, and return whether there was one."""
        from hitl_cli.inbox.away import come_back

        return come_back(self.client, self.actor, person)

    # Asking without a workflow

    def ask(
        self,
        question: Question,
        *,
        id: str,
        deadline_ms: int,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        callbacks: CallbackSettings = NO_CALLBACKS,
    ) -> StandaloneRequest:
        """Create a request, or find the existing one with the same id, open or decided.

        Its id begins with `ask-` if the actor may not start runs. An actor who may only ask cannot let the
        deadline approve it, because that would approve their own request.

        `tags` are the author's; `callbacks` say which callback is allowed. Raises BadInput (invalid
        question), Conflict (the id is taken, or was asked with a different question).
        """
        from hitl_cli.inbox import ask

        self.actor.require("ask")
        check_person(self.actor.person)
        if question.callback is not None:
            endpoint_of(question.callback, callbacks)
        asked = ask.ask(
            self.client, self.actor, id, question, key=key, tags=tags or {}, deadline_ms=deadline_ms
        )
        if self.actor.reads:
            return asked
        to = asked.question.asked_at(0)
        return msgspec.structs.replace(asked, away=named_among(asked.away, to, self.actor.groups))

    def put(
        self, asked: QuestionInput, directory: Directory, group: str, *, id: str | None = None
    ) -> StandaloneRequest:
        """Create a program's request, or find the existing one, and queue its notification and callback.

        Without an id of its own, the request gets `id`, otherwise a random one. Repeating the call queues
        them again, in case the first process has died. Raises BadInput, Conflict.
        """
        from hitl_cli.inbox import ask

        groups = self.actor.groups
        own = id if asked.id is None else asked.id
        put = self.ask(
            asked.question(lambda names: as_asked(names, groups)),
            id=ask.new_id() if own is None else own,
            key=asked.key,
            tags=asked.tags,
            deadline_ms=asked.deadline_ms,
            callbacks=directory.callbacks,
        )
        self.notify(put, directory, group)
        return put

    def notify(self, asked: StandaloneRequest, directory: Directory, group: str) -> bool:
        """Queue the notification and the callback of a request, for the workers of a group.

        Return whether any assignee has a contact. Repeating it changes nothing.
        """
        from hitl_cli.inbox import ask

        self.actor.require("ask")
        return ask.notify(self.client, asked, directory, group)

    def worker_notifies(
        self, asked: StandaloneRequest, group: str, left: Callable[[], bool] = lambda: False
    ) -> bool:
        """Whether a worker has started the notification, or is running to do so.

        If the server cannot tell which workers are running, wait a little, or until `left()`.
        """
        from hitl_cli.inbox import ask

        self.actor.require("read", "ask", request=asked.id)
        return ask.worker_notifies(self.client, asked, group, left)

    def asked(self, id: str, digest: Digest | None = None) -> StandaloneRequest:
        """Return the existing request with an id.

        Raises BadInput (invalid id), NotFound, Conflict (it is about a file with other content).
        """
        from hitl_cli.inbox import ask

        self.actor.require("read", "ask", request=id)
        asked = ask.again(self.client, self.actor, self._own(id) or id, digest)
        promise = self._shown_promise(asked.promise)
        if promise is asked.promise:
            return asked
        return msgspec.structs.replace(asked, promise=promise, question=question_of(promise))

    def wait(
        self,
        asked: StandaloneRequest,
        *,
        timeout_s: float | None = None,
        left: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        heard: Callable[[ThreadEntry], None] = lambda _: None,
    ) -> Promise:
        """Return the promise of a request once it is settled. Settles it if its votes decide it.

        Returns earlier after `timeout_s` seconds, or once `left()` is true. `heard` is called with questions
        that are asked back, and their answers. Raises NotFound (it was deleted), Unreachable (the server was
        unreachable for too long).
        """
        from hitl_cli.inbox import ask

        self.actor.require("read", "ask", request=asked.id)
        promise = ask.wait(
            self.client,
            asked,
            self.actor.groups,
            timeout_s=timeout_s,
            left=left,
            clock=clock,
            heard=heard,
        )
        return self._shown_promise(promise)

    def withdraw(self, asked: StandaloneRequest) -> Promise:
        """Cancel a request, and return its promise: canceled, or decided earlier."""
        from hitl_cli.inbox import ask

        self.actor.require("ask")
        return self._shown_promise(ask.withdraw(self.client, self.actor, asked))

    def consume(self, request: str, key: str) -> Use:
        """Use up the approval of a request with `once`, and return the use. The same key is the same use.

        Raises NotFound, NotAllowed (asked by another, and the actor lacks the permission `start`), NotCovered
        (not an approval, expired, or used before), Conflict (not decided yet), BadInput (without `once`).
        """
        from hitl_cli.inbox.use import consume

        check_person(self.actor.person)
        self.actor.require("ask")
        return consume(self.client, self.actor, self._complete(request, whole=True), key)

    # State of programs while people decide

    def defer(self, request: str, said: Deferral) -> None:
        """Record that a coding agent's session ended to wait for a request of the actor.

        Raises NotFound, NotAllowed (another has asked it), BadInput (the session cannot be resumed).
        """
        from hitl_cli.inbox.deferrals import defer

        self.actor.require("ask")
        defer(self.client, self.actor, self.find(request, whole=True), said)

    def deferred(self, host: str) -> Sequence[DeferredSession]:
        """Return the sessions on a machine that wait for requests of the actor, oldest first."""
        from hitl_cli.inbox.deferrals import deferred

        self.actor.require("ask")
        return deferred(self.client, self.actor, host)

    def take_deferred(self, request: str, key: str) -> bool:
        """Claim to resume the session of a request. Returns whether the caller was first. Raises NotFound."""
        from hitl_cli.inbox.deferrals import take

        self.actor.require("ask")
        return take(self.client, self.actor, self.find(request, whole=True), key)

    def keep_state(self, run: str, state: str) -> None:
        """Store the state of an agent's run of the actor, in place of an earlier one.

        Raises BadName, TooLarge.
        """
        from hitl_cli.inbox.kept_states import keep

        self.actor.require("ask")
        check_person(self.actor.person)
        keep(self.client, self.actor, run, state)

    def kept_state(self, run: str) -> str | None:
        """Return the state of an agent's run of the actor; None if there is none. Raises BadName."""
        from hitl_cli.inbox.kept_states import kept

        self.actor.require("ask")
        return kept(self.client, self.actor, run)

    def forget_state(self, run: str) -> None:
        """Delete the state of an agent's run of the actor, if there is one. Raises BadName."""
        from hitl_cli.inbox.kept_states import forget

        self.actor.require("ask")
        forget(self.client, self.actor, run)

    # History

    def history(self, wanted: HistoryFilter, limit: int | None = None) -> Recent:
        """Return decisions, newest first, and whether there are more than `limit`."""
        from hitl_cli.inbox.history import history

        self.actor.require("read")
        groups, sight = self.actor.groups, self._sight
        return history(self.client, wanted, limit=limit, groups=groups, sight=sight)

    def history_page(
        self, wanted: HistoryFilter, *, limit: int, after: str | None = None
    ) -> Page[HistoryEntry]:
        """Return a page of decisions, and the cursor of the next one."""
        from hitl_cli.inbox.history import page_of_history

        self.actor.require("read", "ask")
        groups, wanted, sight = self.actor.groups, self._visible(wanted), self._sight
        return page_of_history(self.client, wanted, limit=limit, after=after, groups=groups, sight=sight)

    def decisions(self, wanted: HistoryFilter) -> Iterator[HistoryEntry]:
        """Yield decisions, newest first, as they are read."""
        from hitl_cli.inbox.history import decisions

        self.actor.require("read")
        return decisions(self.client, wanted, groups=self.actor.groups, sight=self._sight)

    def story(self, name: str, wanted: HistoryFilter) -> Story:
        """Return the comments, votes and decisions on a named request or run, in order. Raises NotFound."""
        from hitl_cli.inbox.history import story

        self.actor.require("read", "ask")
        if not self.actor.reads:
            name = self.find(name).id
        return story(self.client, name, wanted, self.actor.groups, self._sight)

    def stats(self, ago_ms: int, most: int | None = None) -> Stats:
        """Return statistics of the decisions in the last `ago_ms`, at most the newest `most`."""
        from hitl_cli.inbox.stats import stats

        self.actor.require("read")
        since = max(self.client.now() - ago_ms, 0)
        return stats(self.client, since, most, self.actor.groups, self._sight)

    def _own(self, request: str | RequestSummary) -> str | None:
        """Return the id of the request that the actor named without its prefix (`own_id`), if it exists."""
        from hitl_cli.inbox.ask import own_id

        if not isinstance(request, str) or "ask" not in self.actor.may:
            return None
        own = own_id(self.actor, request)
        promise = get_promise(self.client, own) if own != request else None
        return own if promise is not None and self._sight.among(self.client, [promise]) else None

    def _shown_promise(self, promise: Promise) -> Promise:
        """Return a request's promise with the parts that the actor may see."""
        return next(iter(self._sight.shown(self.client, [promise])), promise)

    def _visible[T: (RequestFilter, HistoryFilter)](self, wanted: T) -> T:
        """Return a filter that finds only what the actor may see."""
        return wanted if self.actor.reads else msgspec.structs.replace(wanted, put_by=self.actor.person)

    def _found(
        self,
        *any_of: Permission,
        request: str | RequestSummary,
        whole: bool,
        mark: IdempotencyMark | None = None,
    ) -> RequestSummary:
        """Return the same as `_named`, with only the parts that the actor may see, also for errors."""
        return shown(self._sight, self._named(*any_of, request=request, whole=whole, mark=mark))

    def _named(
        self,
        *any_of: Permission,
        request: str | RequestSummary,
        whole: bool,
        mark: IdempotencyMark | None = None,
    ) -> RequestSummary:
        """Return a request that the actor may see, and for which they have one of the permissions."""
        from hitl_cli.inbox.resolve import find, find_exactly, no_request

        self.actor.require(*any_of, request=self.actor.only)  # before revealing whether the request exists
        deciding = "decide" in any_of
        sight = Sight(self.actor, acting="decide") if deciding else self._sight
        if not isinstance(request, str):
            item = request
            if not sees(sight, item):
                raise no_request(item.id)
        elif self.actor.reads or deciding:
            item = find(self.client, request, whole=whole, mark=mark, sight=sight)
        else:  # other names would reveal requests of other people
            item = find_exactly(self.client, request, sight)
        self.actor.require(*any_of, request=item.id)
        return spelled_by(self.actor.groups, item)
