"""`Sight`: what an actor may see of requests and runs. Every read of `Inbox`, `Runs` and `Ledger` passes it.

Workers, notifications and housekeeping have no actor: they see all, and tell each person what is for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.tags import AMENDS_TAG, PARENT_TAG
from hitl_cli.client.wire import audit_of, child_id, tagged
from hitl_cli.people.groups import is_among
from hitl_cli.requests.amendment_records import amendments_in, amendments_of_many
from hitl_cli.requests.amendments import asked_from_now_on
from hitl_cli.requests.demand import names_known_by
from hitl_cli.requests.question import asker_of, question_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.actor import Actor, Permission
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.amendments import Amendment
    from hitl_cli.requests.question import Question


class Sight:
    """What an actor may see. What it finds out about names is kept for its next question.

    A request is seen by who may answer it, now or once it is escalated, by name or through a group; by who
    asked it, or started its run; by who took part in its decision; by auditors; and by everyone if the
    settings say so. Who was asked before it was assigned to others does not see it any more. Without `read`
    it is seen by who asked it, and what a run asks belongs to the run. A link shows its request.

    A run is seen by who started it, by operators and auditors, and by everyone if the settings say so.
    """

    def __init__(
        self, actor: Actor, *, acting: Permission | None = None, below_own_runs: bool = False
    ) -> None:
        """`acting` is the permission to do something, which finds what it is done to without `read`.

        With `below_own_runs`, who started a run sees what it asks without `read`, too.
        """
        self.actor = actor
        self._groups = actor.groups
        self._reads = actor.reads or acting in actor.may
        self._below_own_runs = below_own_runs
        self.all = actor.sees_all or (self._reads and actor.groups.visibility.is_open)
        self._asked: dict[str, bool] = {}
        self._same: dict[str, bool] = {}

    def request(
        self,
        promise: Promise,
        run: Promise | None,
        question: Question | None,
        amendments: Sequence[Amendment],
    ) -> bool:
        """Whether the actor may see a request, of which all amendments are given."""
        if self.all or promise.id == self.actor.only:
            return True
        if not self._reads:
            return promise.is_blocking and self._me(asker_of(promise, run if self._below_own_runs else None))
        return (
            self._asks_me(promise, question, amendments)
            or self._me(asker_of(promise, run))
            or self._groups.visibility.is_public(names_known_by(promise, run))
            or (promise.state != "pending" and took_part(promise, self.actor.person, self._groups))
        )

    def run(self, root: Promise) -> bool:
        """Whether the actor may see a run."""
        if self.all or self._me(asker_of(root, None)):
            return True
        if not self._reads or self.actor.only is not None:
            return False
        return self.actor.operates or self._groups.visibility.is_public(names_known_by(root, root))

    def among(
        self, client: Client, promises: Sequence[Promise], known: Mapping[str, Promise] | None = None
    ) -> list[Promise]:
        """Return those of some requests, runs and steps that the actor may see.

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

    def lineage(self, root: Promise | None, below: Sequence[Promise]) -> list[Promise]:
        """Return the promises of a run as the actor may see them.

        Of a request that they may not see, only that it is there and its state are left; what is recorded
        under it is left out, and the step that asked it has no result.
        """
        hidden = {
            one.id: one
            for one in below
            if not self.all and one.is_blocking and not self._is_seen_in(below, one, root)
        }
        if not hidden:
            return list(below)
        under = tuple(child_id(id, "") for id in hidden)
        asking = {one.tags.get(PARENT_TAG) for one in hidden.values()}
        if root is not None:
            asking.discard(root.id)
        return [
            _emptied(one) if one.id in hidden or one.id in asking else one
            for one in below
            if not one.id.startswith(under)
        ]

    def _is_seen_in(self, below: Sequence[Promise], promise: Promise, root: Promise | None) -> bool:
        amendments = amendments_in(promise.id, tagged(below, AMENDS_TAG, promise.id))
        return self.request(promise, root, question_of(promise), amendments)

    def _asks_me(self, promise: Promise, question: Question | None, amendments: Sequence[Amendment]) -> bool:
        """Whether a request may be answered by the actor, now or later."""
        if question is None:  # it cannot be read
            return False
        names = asked_from_now_on(question, promise.created_at, amendments)
        return not names or any(map(self._is_asked, names))

    def _is_asked(self, name: str) -> bool:
        """Whether an assignee's name is the actor's, or that of a group of theirs."""
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
    """Return a promise with its place and state alone."""
    tags = {tag: value for tag, value in promise.tags.items() if tag.startswith("resonate:")}
    return replace(promise, param=None, value=None, tags=tags)


def took_part(settled: Promise, person: str, groups: Groups) -> bool:
    """Whether a person made the decision on a request, or cast a vote that counted."""
    audit = audit_of(settled)
    return any(groups.same(by, person) for by in (audit.by, *(vote.by for vote in audit.votes)))
