"""`Sight`: what an actor may see of requests and runs. Every read of `Inbox`, `Runs` and `Ledger` uses it.

Workers, notifications and housekeeping have no actor: they see everything, and send each person only what
that person may see.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.tags import AMENDS_TAG, PARENT_TAG, VOTE_TAG
from hitl_cli.client.wire import audit_of, child_id, tagged
from hitl_cli.people.deputies import represented
from hitl_cli.people.groups import is_among
from hitl_cli.requests.amendments import amendments_in, amendments_of_many, asked_from_now_on
from hitl_cli.requests.demand import names_known_by
from hitl_cli.requests.private import vote_record_without_private, without_private
from hitl_cli.requests.question import asker_of, question_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.actor import Actor, Permission
    from hitl_cli.people.away import Away
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.amendments import Amendment
    from hitl_cli.requests.question import Question


class Sight:
    """What an actor may see. It caches its results about names.

    A request may be seen by people who may answer it, now or after an escalation, by name or through a group;
    by the person who asked it or started its run; by people who took part in its decision; by auditors; and
    by everyone if the settings say so. Former assignees of an assigned request no longer see it. Without
    `read`, only the asker sees it, and requests of a run belong to the run. A link shows its request.

    The private parts of a request may be seen by people who may answer it, by its asker if it has no run, and
    by auditors.

    An absence may be seen by the absent person, their deputy, members of a common group, and operators; and
    by people who may see an open request of which that person is an assignee (`Inbox.aways`).

    A run may be seen by the person who started it, by operators and auditors, and by everyone if the settings
    say so.
    """

    def __init__(
        self, actor: Actor, *, acting: Permission | None = None, below_own_runs: bool = False
    ) -> None:
        """`acting` is a permission whose holder may find the objects to act on, even without `read`.

        With `below_own_runs`, the person who started a run also sees its requests without `read`.
        """
        self.actor = actor
        self._groups = actor.groups
        self._reads = actor.reads or acting in actor.may
        self._below_own_runs = below_own_runs
        self.all = actor.sees_all or (self._reads and actor.groups.visibility.is_open)
        settings = actor.groups.visibility.settings
        self._some_public = "everyone" in (settings.default, *settings.workflows.values())
        self._asked: dict[str, bool] = {}
        self._same: dict[str, bool] = {}

    def request(
        self,
        promise: Promise,
        run: Promise | None,
        question: Question | None,
        amendments: Sequence[Amendment],
    ) -> bool:
        """Whether the actor may see a request; `amendments` must be complete."""
        if self.all or promise.id == self.actor.only:
            return True
        if not self._reads:
            return promise.is_blocking and self._me(asker_of(promise, run if self._below_own_runs else None))
        return (
            self._asks_me(promise, question, amendments)
            or self._me(asker_of(promise, run))
            or (self._some_public and self._groups.visibility.is_public(names_known_by(promise, run)))
            or (promise.state != "pending" and took_part(promise, self.actor.person, self._groups))
        )

    def may_see(self, ever_asked: Sequence[str], asker: str | None) -> bool:
        """Whether the actor might see an open request: a fast check for long lists. False is certain."""
        return (
            self.all
            or self._some_public
            or self.actor.only is not None
            or not ever_asked
            or any(map(self._is_asked, ever_asked))
            or self._me(asker)
            or self._is_deputy
        )

    @cached_property
    def _is_deputy(self) -> bool:
        """Whether the actor is the deputy of an absent person."""
        groups = self._groups
        return groups.key(self.actor.person) in groups.stands_in

    def run(self, root: Promise) -> bool:
        """Whether the actor may see a run."""
        if self.all or self._me(asker_of(root, None)):
            return True
        if not self._reads or self.actor.only is not None:
            return False
        return self.actor.operates or self._groups.visibility.is_public(names_known_by(root, root))

    def absence(self, away: Away) -> bool:
        """Whether the actor may see an absence, even without a common request."""
        if self.all or any(map(self._me, (away.person, away.to, away.by))):
            return True
        groups, both = self._groups, {self._groups.key(self.actor.person), self._groups.key(away.person)}
        return self._reads and (
            self.actor.operates or any(both <= group for group in groups.members.values())
        )

    def among(
        self, client: Client, promises: Sequence[Promise], known: Mapping[str, Promise] | None = None
    ) -> list[Promise]:
        """Return the requests, runs and steps among some promises that the actor may see.

        Runs that are `known` are not read.
        """
        if self.all or not promises:
            return list(promises)
        runs = {**(known or {})}
        runs |= get_promises(client, sorted({promise.origin for promise in promises} - runs.keys()))
        asked = {one.id: question_of(one) for one in promises if one.is_blocking}
        amended = amendments_of_many(client, [id for id, one in asked.items() if one and one.can_be_amended])

        def is_seen(one: Promise) -> bool:
            root = runs.get(one.origin)
            if one.id in asked:
                return self.request(one, root, asked[one.id], amended.get(one.id, ()))
            return root is not None and root.is_run and self.run(root)

        return [promise for promise in promises if is_seen(promise)]

    def asked(self, promise: Promise, run: Promise | None) -> Question | None:
        """Return the question of a request, with all its private parts; None if it is not a valid request."""
        question = question_of(promise) if promise.is_blocking else None
        return None if question is None else self._groups.visibility.asked(question, promise, run)

    def sees_private(
        self, promise: Promise, question: Question | None, amendments: Sequence[Amendment]
    ) -> bool:
        """Whether the actor may also see the private parts of a request. `question` is from `asked`."""
        return (
            question is None
            or not question.private
            or self._asks_me(promise, question, amendments)
            or self._me(asker_of(promise, None))
            or self.actor.audits
        )

    def shown(
        self, client: Client, promises: Sequence[Promise], known: Mapping[str, Promise] | None = None
    ) -> list[Promise]:
        """Return the same as `among`, without private parts that the actor may not see."""
        seen = self.among(client, promises, known)
        runs = known or {}
        if self._groups.visibility.settings.private:  # private parts depend on the workflow
            runs = {**runs, **get_promises(client, sorted({one.origin for one in seen} - runs.keys()))}
        private = {
            one.id: question
            for one in seen
            if (question := self.asked(one, runs.get(one.origin))) is not None and question.private
        }
        if not private:
            return seen
        amended = amendments_of_many(client, [id for id, one in private.items() if one.can_be_amended])
        return [
            one
            if one.id not in private or self.sees_private(one, private[one.id], amended.get(one.id, ()))
            else without_private(one, private[one.id])
            for one in seen
        ]

    def lineage(self, root: Promise | None, below: Sequence[Promise]) -> list[Promise]:
        """Return the promises of a run, with only the parts that the actor may see.

        Of a request that they may not see, only its existence and state remain. Records under it are left
        out, and the step that asked it has no result. A request with hidden private parts is treated alike.
        """
        hidden: dict[str, Promise] = {}
        partly: dict[str, Question] = {}
        for one in below:
            question = self.asked(one, root)
            if not one.is_blocking or (self.all and (question is None or not question.private)):
                continue
            amendments = amendments_in(one.id, tagged(below, AMENDS_TAG, one.id))
            if not self.request(one, root, question, amendments):
                hidden[one.id] = one
            elif question is not None and not self.sees_private(one, question, amendments):
                partly[one.id] = question
        if not hidden and not partly:
            return list(below)
        under = tuple(child_id(id, "") for id in hidden)
        asking = {one.tags.get(PARENT_TAG) for one in below if one.id in hidden or one.id in partly}
        asking.discard(None if root is None else root.id)

        def shown(one: Promise) -> Promise:
            if one.id in hidden or one.id in asking:
                return _emptied(one)
            voted = partly.get(one.tags.get(VOTE_TAG, ""))
            if voted is not None:
                return vote_record_without_private(voted, one)
            return without_private(one, partly[one.id]) if one.id in partly else one

        return [shown(one) for one in below if not (under and one.id.startswith(under))]

    def _asks_me(self, promise: Promise, question: Question | None, amendments: Sequence[Amendment]) -> bool:
        """Whether the actor may answer a request, now or later."""
        if question is None:  # it cannot be read
            return False
        names = asked_from_now_on(question, promise.created_at, amendments)
        if not names or any(map(self._is_asked, names)):
            return True
        return self._groups.stands_in != {} and bool(
            represented(question, names, None, self.actor.person, self._groups)
        )

    def _is_asked(self, name: str) -> bool:
        """Whether an assignee is the actor, or a group of theirs."""
        known = self._asked.get(name)
        if known is None:
            known = self._asked[name] = is_among(self.actor.person, [name], self._groups)
        return known

    def _me(self, name: str | None) -> bool:
        """Whether a name is the actor's."""
        if name is None:
            return False
        known = self._same.get(name)
        if known is None:
            known = self._same[name] = self._groups.same(self.actor.person, name)
        return known


def _emptied(promise: Promise) -> Promise:
    """Return a promise with only its place and state."""
    tags = {tag: value for tag, value in promise.tags.items() if tag.startswith("resonate:")}
    return replace(promise, param=None, value=None, tags=tags)


def took_part(settled: Promise, person: str, groups: Groups) -> bool:
    """Whether a person made the decision on a request, or cast a vote that counted."""
    audit = audit_of(settled)
    return any(groups.same(by, person) for by in (audit.by, *(vote.by for vote in audit.votes)))
