"""The server side of `hitl review`, in two threads, so that keys never wait for the server.

One thread watches: it lists open requests and checks whether the request on the screen has changed. The
other acts: it fetches the next request and sends decisions and comments. Each has its own client.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.cli.context import inbox_of, seen_by
from hitl_cli.cli.render.decision import sentence
from hitl_cli.errors import BadInput, HitlError, NotFound, Unreachable
from hitl_cli.inbox.amendments import check_unclaimed
from hitl_cli.inbox.decide import check, check_signs, vote_of
from hitl_cli.inbox.decision_result import already
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.pending import RequestFilter, Sort
from hitl_cli.inbox.permission import may_answer
from hitl_cli.inbox.review_queue import ReviewQueue
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.proof.signing import Signer
from hitl_cli.runs.idle import idle_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.inbox.review_queue import HeldDecision, ReviewSummary
    from hitl_cli.requests.decision_input import DecisionInput

type Lines = list[str]
"""Drawn lines, with styles as ANSI escape sequences."""

WATCH_EVERY_S = 5.0
"""How often ages are redrawn when nothing happens."""

RETRY_S = 2.0
"""The delay before a retry after a failure."""

IDLE = 20
"""The watching thread pauses at least this many times as long as a listing takes."""

MOST = 200
"""How many requests are listed at a time."""

SECOND_S = 1.0

GRACE_MS = 1_000
"""How long a request that appeared by itself must be visible before keys apply to it."""


class Look(Struct, frozen=True):
    """Which requests to review, as whom, with which signer. `every`: include requests that cannot be read."""

    actor: Actor
    wanted: RequestFilter
    sort: Sort
    every: bool = False
    signer: Signer | None = None
    people: Directory = Directory()
    group: str = defaults.GROUP
    """The contacts, and the workers that notify, for what is assigned to others."""


class Page(Struct, frozen=True):
    """A request, drawn for a terminal of this width."""

    seen: RequestDetails
    width: int
    lines: Lines


class _Where(Struct, frozen=True):
    """The number of the current request, 0 for none, and the counts. `more`: not all requests were listed."""

    place: int
    count: int
    skipped: int
    more: bool
    listed: bool
    """Whether the requests have been listed at least once."""


def offered(inbox: Inbox, look: Look, limit: int) -> tuple[list[RequestSummary], bool]:
    """Return up to `limit` requests to review, and whether there are more."""
    size = limit
    while True:
        found, more = inbox.list(look.wanted, sort=look.sort, limit=size)
        theirs = [item for item in found if look.every or item.question is not None]
        if not more or len(theirs) >= limit:
            return theirs[:limit], more or len(theirs) > limit
        size *= 4


class ReviewSession:
    """The requests under review, kept up to date. Its methods return at once; any thread may call them."""

    def __init__(
        self,
        connect: Callable[[], Client],
        look: Look,
        draw: Callable[[RequestDetails, int], Lines],
        clock: Callable[[], int],
    ) -> None:
        """`clock` is monotonic, in ms; `draw` returns the lines of a request for a width."""
        self._connect = connect
        self._look = look
        self._draw = draw
        self._clock = clock
        self._turn = threading.Condition()
        self._review = ReviewQueue()
        self._todo: deque[Callable[[Inbox], None]] = deque()
        self._unsure: tuple[str, tuple[str, ...]] | None = None
        self._page: Page | None = None
        self._runs: dict[str, Promise | None] = {}
        self._width = 0
        self._jumped = False
        self._seen_at: int | None = None
        self._ended = False
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._watch, self._serve)
        ]
        self.changed: Callable[[], None] = lambda: None
        """Called by the threads when the screen must be redrawn."""
        self.told = ""
        """The status message."""
        self.last_words: list[str] = []
        """Failures after the screen was closed."""
        self.idle: dict[str, None] = {}
        """Which groups have no worker, so that the runs of decided requests do not continue."""
        self.failure: Exception | None = None
        """An unexpected error of a thread."""
        self._listed = self._more = False

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def end(self, *, send: bool) -> tuple[HeldDecision, ...]:
        """Stop. Sends the held decisions, or returns them unsent; waits for one that is being sent."""
        with self._turn:
            dropped = () if send else self._review.drop()
            self._ended = True
            self._turn.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        return dropped

    def where(self) -> _Where:
        """Return the position in the review."""
        with self._turn:
            place, count = self._review.position
            return _Where(place, count, self._review.summary.skipped, self._more, self._listed)

    @property
    def nothing_more(self) -> str:
        """What to say when no request is left that the review is about. Others may wait."""
        if self._look.wanted == RequestFilter(person=self._look.wanted.person):
            mine = self._look.wanted.person is not None
            me = self._look.actor
            return f"No more open requests{f' for {me.person}' if mine else seen_by(me)}."
        return "No more open request matches."

    def summary(self) -> tuple[ReviewSummary, bool]:
        """Return the counts, and whether more requests are left than were counted."""
        with self._turn:
            return self._review.summary, self._more

    def page(self, width: int) -> Page | None:
        """Return the drawn current request; None while it loads. A new width triggers a redraw."""
        with self._turn:
            if width != self._width:
                self._width = width
                self._turn.notify_all()
            shown = self._page
            return shown if shown is not None and shown.seen.item.id == self._review.current else None

    def just_jumped(self) -> bool:
        """Whether this request has just appeared by itself: a key may then be meant for the previous one."""
        with self._turn:
            return self._seen_at is not None and self._clock() - self._seen_at < GRACE_MS

    def held(self) -> list[tuple[HeldDecision, int]]:
        """Return the held decisions, and in how many ms each is sent."""
        with self._turn:
            now = self._clock()
            return [(held, max(held.until - now, 0)) for held in self._review.held]

    def hold(self, item: RequestSummary, answer: DecisionInput) -> bool:
        """Hold a decision so that it can be undone; False if it is closed. Raises what `check` does."""
        actor = self._look.actor
        check(item, vote_of(answer, actor.person, item.asked, item.now), actor.groups)
        check_unclaimed(item, actor.person, actor.groups)
        self.check_signs(item)
        with self._turn:
            self._turn.notify_all()
            self._runs[item.id] = item.run
            return self._review.hold(item.id, answer, self._clock())

    def check_signs(self, item: RequestSummary) -> None:
        """Raise NotAllowed for a request that needs a signature from a person who does not sign."""
        check_signs(item, self._look.signer)

    def undo(self) -> HeldDecision | None:
        """Undo and return the last decision; None if it was already sent."""
        with self._turn:
            self._turn.notify_all()
            return self._review.undo()

    def skip(self) -> None:
        """Go on to the next request."""
        with self._turn:
            self._review.skip()
            self._turn.notify_all()

    def again(self) -> None:
        """Return to the skipped requests."""
        with self._turn:
            self._review.again()
            self._turn.notify_all()

    def comment(self, id: str, text: str) -> None:
        """Comment on a request."""
        self._later(lambda inbox: self._comment(inbox, id, text))

    def ask_back(self, id: str, text: str) -> None:
        """Ask the asker of a request, and go on to the next one."""

        def act(inbox: Inbox) -> str:
            inbox.ask_back(id, text)
            with self._turn:
                if self._review.current == id:
                    self._review.skip()
            return f"{id} waits for its answer. Press s at the end to see it again."

        self._later(partial(self._try, act, "Question not sent"))

    def claim(self, item: RequestSummary) -> None:
        """Claim a request, or release it if it is claimed by this person."""
        own = item.claim is not None and self._look.actor.groups.same(item.claim.by, self._look.actor.person)

        def act(inbox: Inbox) -> str:
            done = inbox.release(item.id) if own else inbox.claim(item.id)
            claim = done.item.claim
            return f"{item.id} released." if claim is None else f"{item.id} claimed by {claim.by}."

        self._later(partial(self._try, act, "Not changed"))

    def assign(self, id: str, names: Sequence[str]) -> None:
        """Assign a request to others. Unknown names must be given twice, as a confirmation."""
        meant = id, tuple(names)

        def act(inbox: Inbox) -> str:
            look = self._look
            anyway, self._unsure = self._unsure == meant, None
            try:
                done = inbox.assign(id, names, look.people, look.group, anyway=anyway)
            except BadInput as error:
                if error.code != "unknown-name":
                    raise
                self._unsure = meant
                raise BadInput(f"{error} Type the same again if it is right.") from error
            if not may_answer(done.item, inbox.actor.person, inbox.actor.groups):
                self._lose(id, "")
            return f"{id} assigned to {', '.join(done.item.to)}."

        self._later(partial(self._try, act, "Not assigned"))

    def _later(self, job: Callable[[Inbox], None]) -> None:
        """Queue a job for the acting thread."""
        with self._turn:
            self._todo.append(job)
            self._turn.notify_all()

    # The two threads

    def _guarded(self, work: Callable[[Inbox], None]) -> None:
        """Run a thread's work; keep an unexpected error for the main thread to report."""
        try:
            with self._connect() as client:
                inbox = inbox_of(client, self._look.actor)
                inbox.signer = self._look.signer
                work(inbox)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that has the screen
            self.failure = error
            self.changed()

    def _watch(self, inbox: Inbox) -> None:
        inbox.client.wait(0)
        trouble = ""
        while not self._ended:
            began = self._clock()
            try:
                with self._turn:
                    limit = MOST + self._review.passed
                items, more = offered(inbox, self._look, limit)
                with self._turn, self._jumping():
                    self._review.listed([item.id for item in items], complete=not more)
                    self._listed, self._more = True, more
                self._refresh(inbox)
                pause_s = (self._clock() - began) * IDLE / 1_000
                if trouble and self.told == trouble:
                    self.told = ""
            except HitlError as problem:
                trouble = str(problem)
                self.tell(trouble)
                pause_s = RETRY_S
            self.changed()
            inbox.client.wait(WATCH_EVERY_S)
            with self._turn:
                self._turn.wait_for(lambda: self._ended, pause_s - (self._clock() - began) / 1_000)

    def _refresh(self, inbox: Inbox) -> None:
        """Redraw the current request if it has changed."""
        with self._turn:
            page = self._page
        if page is None or page.seen.item.id != self._review.current:
            return  # the other thread fetches it
        seen = self._look_at(inbox, page.seen.item.id)
        if seen is not None and not _alike(seen, page.seen):
            self._show(seen, inbox.client.now())

    def _look_at(self, inbox: Inbox, id: str) -> RequestDetails | None:
        """Return a request; None, and drop it, if it no longer exists."""
        try:
            return inbox.show(id, whole=True)
        except NotFound:
            self._lose(id, f"{id} no longer exists.")
            return None

    def _serve(self, inbox: Inbox) -> None:
        while True:
            with self._turn:
                while (job := self._job()) is None:
                    if self._ended:
                        return
                    self._turn.wait(SECOND_S if self._review.held else None)
                    self.changed()  # redraw the countdown
            job(inbox)
            self.changed()

    def _job(self) -> Callable[[Inbox], None] | None:
        """Return the next job; None if there is none."""
        review, page = self._review, self._page
        held = review.flush() if self._ended else review.due(self._clock())
        if held is not None:
            return lambda inbox: self._send(inbox, held)
        if self._todo:
            return self._todo.popleft()
        current = review.current
        if self._ended or current is None or not self._width:
            return None
        if page is None or page.seen.item.id != current:
            return lambda inbox: self._fetch(inbox, current)
        if page.width != self._width:
            return lambda inbox: self._show(page.seen, inbox.client.now())
        return None

    def _send(self, inbox: Inbox, held: HeldDecision) -> None:
        try:
            decided = inbox.decide(held.id, msgspec.structs.replace(held.answer, unless_claimed=True))
        except (BadInput, Unreachable) as problem:
            with self._turn, self._jumping():
                self._review.refused(held.id)
            self.tell(f"{held.id} was not decided: {problem}")
        except HitlError as problem:
            self._lose(held.id, str(problem))
        except Exception as problem:  # noqa: BLE001 - the other held decisions are still sent
            with self._turn, self._jumping():
                self._review.refused(held.id)
            self.tell(f"{held.id} was not decided: unexpected error: {type(problem).__name__}: {problem}")
        else:
            with self._turn:
                self._review.decided(held.id, decided.verdict)
            idle = idle_groups(inbox.client, [self._runs.pop(held.id, None)]) if decided.settled else []
            self.idle |= dict.fromkeys(idle)
            if not self._ended:
                self.tell(" ".join([f"{sentence(decided, inbox.client.now())}.", *idle]))

    def _comment(self, inbox: Inbox, id: str, text: str) -> None:
        def act(inbox: Inbox) -> str:
            inbox.comment(id, text)
            with self._turn:
                self._review.commented()
            return f"Comment added to {id}."

        self._try(act, "Comment not added", inbox)

    def _try(self, act: Callable[[Inbox], str], failed: str, inbox: Inbox) -> None:
        """Carry out a job that is not a decision, and show its outcome."""
        try:
            told = act(inbox)
        except HitlError as problem:
            self.tell(f"{failed}: {problem}")
        else:
            if not self._ended:
                self.tell(told)

    def _fetch(self, inbox: Inbox, id: str) -> None:
        """Fetch and show a request."""
        try:
            seen = self._look_at(inbox, id)
            if seen is not None:
                self._show(seen, inbox.client.now())
        except HitlError as problem:
            self.tell(str(problem))
            with self._turn:
                self._turn.wait_for(lambda: self._ended, RETRY_S)

    def _show(self, seen: RequestDetails, now: int) -> None:
        """Draw a request; if it is decided, drop it with a message."""
        if seen.promise.state != "pending":
            self._lose(seen.item.id, str(already(seen.promise, now)))
            return
        width = self._width
        page = Page(seen, width, self._draw(seen, width))
        with self._turn:
            if self._review.current == seen.item.id:
                if self._page is None or self._page.seen.item.id != seen.item.id:
                    self._seen_at = self._clock() if self._jumped else None
                    self._jumped = False
                self._page = page
        self.changed()

    def _lose(self, id: str, why: str) -> None:
        """Drop a request, with a message."""
        with self._turn, self._jumping():
            self._review.gone(id)
        self.tell(why)

    @contextlib.contextmanager
    def _jumping(self) -> Iterator[None]:
        """Note that the current request changes without a key."""
        before, known = self._review.current, self._listed
        yield
        if known and self._review.current != before:
            self._jumped = True
        self._turn.notify_all()

    def tell(self, text: str) -> None:
        """Show a message: on the screen, or on stderr once it is closed."""
        if self._ended:
            self.last_words.append(text)
        else:
            self.told = text
            self.changed()


def _alike(seen: RequestDetails, shown: RequestDetails) -> bool:
    """Whether a request equals the shown one, and the age on the screen is still right."""
    recent = seen.item.now - shown.item.now < WATCH_EVERY_S * 1_000
    return recent and seen == msgspec.structs.replace(
        shown, item=msgspec.structs.replace(shown.item, now=seen.item.now)
    )
