"""One line of the inbox: a request with its run."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from hitl_cli.client.wire import Promise
from hitl_cli.inbox.thread import ThreadEntry
from hitl_cli.people.groups import Absence
from hitl_cli.people.quorum import in_words, with_noun
from hitl_cli.requests.amendments import (
    Amendment,
    asked_from_now_on,
    assignees_of,
    claim_of,
    counted_by,
    deadline_of,
    ever_asked,
)
from hitl_cli.requests.demand import names_known_by
from hitl_cli.requests.question import (
    KEY_TAG,
    PLAIN,
    UNREADABLE,
    WORKFLOW_TAG,
    Question,
    asker_of,
    own_tags,
)


class RequestSummary(Struct, frozen=True, kw_only=True, gc=False):
    """A request, with its run. Instants are ms since the epoch.

    `question` is None if it is not valid, `run` if there is none. `votes` is the number of approvals so far,
    if several are needed, and `votes_by` the same by group, if they are needed by group. `amendments` are the
    changes since it was asked, in order. `asked_back` is the open question to its asker, for whom it then
    waits. `away` are the assignees who are away, by the groups that it was read with. `memo` is a cache for
    callers, of values that do not depend on `now`: all lists share the one of a request in memory; otherwise
    it is None. `hidden`: its private parts are left out.
    """

    promise: Promise
    question: Question | None
    run: Promise | None
    now: int
    votes: int = 0
    votes_by: dict[str, int] = {}
    asked_back: ThreadEntry | None = None
    away: tuple[Absence, ...] = ()
    memo: dict[str, Any] | None = None
    amendments: tuple[Amendment, ...] = ()
    hidden: bool = False

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.promise.id

    @property
    def waits(self) -> bool:
        """Whether it can still be answered."""
        return self.promise.state == "pending"

    @property
    def workflow(self) -> str:
        """The id of the run that asks."""
        return self.promise.origin

    @property
    def function(self) -> str | None:
        """The name of the workflow that asks; from the request if the run is gone."""
        call = self.run.call if self.run is not None and self.run.is_run else None
        return call.func if call else self.promise.tags.get(WORKFLOW_TAG)

    @property
    def starter(self) -> str | None:
        """Who started the run; None if that is not recorded."""
        return None if self.run is None else asker_of(self.run, None)

    @property
    def asker(self) -> str | None:
        """Who asks, or who started the run; None if neither is recorded."""
        return asker_of(self.promise, self.run)

    @property
    def prompt(self) -> str | None:
        """The title of the prompt; None if the promise has none."""
        if self.question is None:
            return UNREADABLE
        return self.question.title or None

    @property
    def created_at(self) -> int:
        """When it was asked."""
        return self.promise.created_at

    @property
    def deadline(self) -> int:
        """The deadline."""
        return deadline_of(self.promise, self.amendments)

    @property
    def asked(self) -> Question:
        """The question; a plain one if it is not valid."""
        return self.question or PLAIN

    @property
    def to(self) -> tuple[str, ...]:
        """The assignees now; empty means anyone."""
        return assignees_of(self.asked, self.created_at, self.amendments, self.now)

    @property
    def to_from_now_on(self) -> tuple[str, ...]:
        """The assignees now, and those of later escalations; empty means anyone."""
        return asked_from_now_on(self.asked, self.created_at, self.amendments)

    @property
    def claim(self) -> Amendment | None:
        """The claim of the person who works on it now; None if nobody does."""
        return claim_of(self.amendments, self.now)

    @property
    def ever_asked(self) -> tuple[str, ...]:
        """All former and present assignees, and those of escalations; empty means anyone."""
        return ever_asked(self.asked, self.amendments)

    @property
    def counted(self) -> Question:
        """The question for counting its quorum: with all assignees so far."""
        return counted_by(self.asked, self.amendments)

    @property
    def so_far(self) -> str:
        """How many have approved, as `2 of 3`; empty if one is enough."""
        return in_words(self.votes, self.asked, self.votes_by) if self.asked.several else ""

    @property
    def progress(self) -> str:
        """The same with its noun, as `2 of 3 approvals`; empty if one is enough."""
        return with_noun(self.so_far, self.asked) if self.asked.several else ""

    @property
    def key(self) -> str | None:
        """The key, another name of the request."""
        return self.promise.tags.get(KEY_TAG)

    @property
    def names(self) -> list[str]:
        """Its names for a policy: its workflow; without one, its tag `tool`, its key and its id."""
        return names_known_by(self.promise, self.run)

    @property
    def tags(self) -> dict[str, str]:
        """The author's tags."""
        return own_tags(self.promise.tags)
