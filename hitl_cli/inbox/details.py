"""All details of a request: votes, comments, decision, and the steps before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import search_each
from hitl_cli.client.tags import AMENDS_TAG, COMMENT_TAG, ORIGIN_TAG, THREAD_TAG, VOTE_TAG
from hitl_cli.client.wire import Promise, Vote, audit_of, tagged
from hitl_cli.format.names import folded
from hitl_cli.inbox.amendments import amended
from hitl_cli.inbox.comments import Comment, comments_in
from hitl_cli.inbox.history import HistoryEntry, decision_of
from hitl_cli.inbox.pending import shown, spelled_by, with_absences, with_votes
from hitl_cli.inbox.proof import needs_check, why_unproven
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.thread import ThreadEntry, open_question, thread_in
from hitl_cli.inbox.votes import count, leading, too_few_people, votes_in
from hitl_cli.people.away import AWAY_TAG, keep_aways, times_said
from hitl_cli.people.groups import unknown_people
from hitl_cli.proof.checking import Checked, check_decision, deciding_votes
from hitl_cli.proof.signing import too_few_sign
from hitl_cli.requests.amendments import amendments_in
from hitl_cli.requests.private import vote_without_private
from hitl_cli.requests.question import question_of, replaced_by
from hitl_cli.requests.use import Use, use_of
from hitl_cli.runs.steps import RunStep, tree_of, way_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight


class RequestDetails(Struct, frozen=True, kw_only=True):
    """A request with its votes and comments, and the steps of its run before it, oldest first.

    `votes` are the votes that count, `thread` the questions asked back and their answers. `decision` is None
    while the request is open. `lineage` are all promises of its run. `used` is the use of the approval.
    `unknown` are the assignees of an open request that are not in the settings. `limited`: the actor may see
    only requests that they asked, so contacts and members of groups are left out. `proof` is the result of
    checking the signatures, and `unproven` why the decision does not count, if it needs proof. `silent` are
    the assignees without a contact, as a gateway has reported.
    """

    item: RequestSummary
    decision: HistoryEntry | None = None
    votes: tuple[Vote, ...] = ()
    comments: tuple[Comment, ...] = ()
    thread: tuple[ThreadEntry, ...] = ()
    before: tuple[RunStep, ...] = ()
    lineage: tuple[Promise, ...] = ()
    unknown: tuple[str, ...] = ()
    used: Use | None = None
    hint: str | None = None
    limited: bool = False
    proof: tuple[Checked, ...] = ()
    unproven: str | None = None
    silent: tuple[str, ...] | None = None

    @property
    def promise(self) -> Promise:
        """The promise of the request."""
        return self.item.promise

    def approved_by_others(self, person: str) -> list[tuple[str, Json]]:
        """Return the names and data of approvals by others than a person."""
        return [
            (one.by, one.data)
            for one in self.votes
            if one.verdict == "approve" and folded(one.by) != folded(person)
        ]

    @property
    def replaced_by(self) -> str | None:
        """The id of the request that replaced it: the code changed, or its answer could not be used."""
        return replaced_by(self.promise, self.lineage)

    @property
    def unfit(self) -> str | None:
        """Why its answer could not be used, so that the workflow asked again."""
        again = next((one for one in self.lineage if one.id == self.replaced_by), None)
        question = None if again is None else question_of(again)
        return None if question is None or question.refused is None else question.refused.why


def details(
    client: Client, item: RequestSummary, groups: Groups, sight: Sight | None = None
) -> RequestDetails:
    """Return all details of a request. Changes nothing.

    With a `sight`, other requests of its run are left out if they may not be seen.
    """
    promise = item.promise
    every = _lineage_of(client, promise)
    below = every if sight is None else sight.lineage(item.run, every)
    item = spelled_by(groups, amended(item, amendments_in(item.id, tagged(every, AMENDS_TAG, item.id))))
    votes = audit_of(promise).votes
    if item.asked.several and not votes:
        votes = count(item, votes_in(item.id, tagged(every, VOTE_TAG, item.id)), groups).votes
    thread = thread_in(tagged(below, THREAD_TAG, item.id), item.id)
    signed = needs_check(item) or any(vote.proof is not None for vote in deciding_votes(promise))
    proof = check_decision(promise, item.run, groups) if signed else ()
    unknown = groups.unknown(item.to_from_now_on) if promise.state == "pending" else ()
    hints = [unknown_people(unknown, groups)] if unknown else []
    if promise.state == "pending" and (unsigned := too_few_sign(item.asked, groups, item.to_from_now_on)):
        hints.append(unsigned)
    if promise.state == "pending" and (unreachable := too_few_people(item, groups)):
        hints.append(unreachable)
    told = item if sight is None else shown(sight, item)
    root = told.run or told.promise
    if told.hidden:
        votes = tuple(vote_without_private(told.asked, vote) for vote in votes)
    return RequestDetails(
        unknown=unknown,
        hint=" ".join(hints) or None,
        item=with_absences(
            _with_thread(with_votes(told, leading(item.counted, votes, groups)), thread), groups
        ),
        decision=None if promise.state == "pending" else decision_of(told.promise, item.function),
        votes=votes,
        comments=tuple(comments_in(tagged(below, COMMENT_TAG, item.id))),
        thread=tuple(thread),
        before=tuple(_steps_before(tree_of(root, below), way_to(promise, below))),
        lineage=tuple(below),
        used=use_of(item.id, below) if item.asked.once else None,
        proof=proof,
        unproven=why_unproven(item, groups, proof or None),
    )


def _lineage_of(client: Client, promise: Promise) -> list[Promise]:
    """Return all promises of a request's run. For an open request, who is away is read with them."""
    wanted: list[dict[str, Any]] = [{"tags": {ORIGIN_TAG: promise.origin}}]
    if promise.state == "pending":
        wanted.append({"state": "pending", "tags": {AWAY_TAG: "1"}})
    said = times_said()
    every, *away = search_each(client, wanted)
    for records in away:
        keep_aways(client, records, said)
    return every


def _with_thread(item: RequestSummary, thread: Sequence[ThreadEntry]) -> RequestSummary:
    """Return a request with its open question to the asker, if any; a decision ends the thread."""
    asked = open_question(thread) if item.waits else None
    return item if asked is None else msgspec.structs.replace(item, asked_back=asked)


def _steps_before(root: RunStep, way: Sequence[str]) -> list[RunStep]:
    """Return the steps of a run that began before a request, without inner steps; an `ask` as its request.

    `way` has the request's id and those of the steps that contain it.
    """
    found: list[RunStep] = []
    above: RunStep | None = root
    while above is not None and above.promise.id != way[0]:
        inner = above.children
        above = None
        for node in inner:
            if node.promise.id in way:
                above = node
                break
            found += [child for child in node.children if child.kind == "person"] or [node]
    return found
