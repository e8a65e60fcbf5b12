"""Votes on requests that several people must approve, and when they decide (docs/reference/wire.md)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import send
from hitl_cli.client.records import records_of_many, settling, store, under
from hitl_cli.client.tags import VOTE_TAG
from hitl_cli.client.wire import (
    Audit,
    Verdict,
    Vote,
    audit_in,
    child_id,
    decode_as,
    encode,
    error_value,
    headers_of,
    said_at,
    same_json,
)
from hitl_cli.format.stable_ids import short_stable_id
from hitl_cli.format.validation import about
from hitl_cli.inbox.permission import is_excluded
from hitl_cli.people.groups import NO_GROUPS, check_known, everyone_in
from hitl_cli.people.quorum import Voice, approvals, filled, voice_of
from hitl_cli.requests.editable import answer_form, approved_arguments, kind_of_approval
from hitl_cli.requests.question import not_askable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from hitl_cli.client.protocol import Client, ProtocolRequest
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.forms.reading import Difference
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


NO_REASON = "rejected"
"""The reason of a rejection without one."""


class RecordedVote(Struct, frozen=True, kw_only=True):
    """A vote as it was cast: `number` counts the votes of its author, from 1.

    `recorded_at` is when the server recorded it, or up to an hour earlier, in ms since the epoch.
    """

    number: int
    vote: Vote
    audit: Audit
    recorded_at: int = 0


class Tally(Struct, frozen=True, kw_only=True):
    """The tally of a request: the ballots that count, one per person, and the one that decided.

    `leading` is the highest number of equal approvals, `leading_by` the same by group.
    """

    counted: tuple[RecordedVote, ...]
    leading: int
    leading_by: dict[str, int] = {}
    deciding: RecordedVote | None = None

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The votes that count, oldest first."""
        return tuple(ballot.vote for ballot in self.counted)


type Kind = tuple[str | None, str | None]
"""What an approval approves: see `kind_of_approval`. Only equal ones count together."""


class _Said(Struct, frozen=True):
    verdict: Verdict
    choice: str | None = None
    data: Any = None
    reason: str | None = None


def leading(question: Question, votes: Iterable[Vote], groups: Groups) -> dict[str, int]:
    """Return the highest number of equal approvals, by the groups of the quorum."""
    kinds: dict[Kind, list[Voice]] = defaultdict(list)
    for vote in votes:
        if vote.verdict == "approve":
            kinds[kind_of_approval(question, vote)].append(_voice(vote, groups))
    every = [filled(question, voices, groups) for voices in kinds.values()]
    return max(every, key=lambda taken: sum(taken.values()), default={})


def tally(
    question: Question,
    electorate: frozenset[str] | None,
    ballots: Iterable[RecordedVote],
    groups: Groups = NO_GROUPS,
) -> Tally:
    """Count ballots in order, up to the one that decides.

    A person's later ballot replaces an earlier one, also under another of their names. The request is
    approved when enough ballots approve the same choice, with the same arguments if they can be changed, and
    enough of them are by members of each group that must approve. It is rejected when too few of the
    electorate are left for that; if the electorate is unknown, when as many reject as would have to approve.
    """
    counted: dict[str, RecordedVote] = {}
    deciding = None
    for ballot in ballots:
        person = groups.key(ballot.vote.by)
        counted.pop(person, None)
        counted[person] = ballot
        if ballot.vote.verdict == "approve":
            kind = kind_of_approval(question, ballot.vote)
            equal = [
                _voice(other.vote, groups)
                for other in counted.values()
                if other.vote.verdict == "approve" and kind_of_approval(question, other.vote) == kind
            ]
            decided = approvals(question, equal, groups) >= question.approvals
        else:
            decided = _is_lost(question, electorate, counted, groups)
        if decided:
            deciding = ballot
            break
    most = leading(question, (ballot.vote for ballot in counted.values()), groups)
    return Tally(
        counted=tuple(counted.values()), leading=sum(most.values()), leading_by=most, deciding=deciding
    )


def _is_lost(
    question: Question,
    electorate: frozenset[str] | None,
    counted: Mapping[str, RecordedVote],
    groups: Groups,
) -> bool:
    """Whether the quorum can no longer be reached."""
    votes = {person: ballot.vote for person, ballot in counted.items()}
    yes = {person: vote for person, vote in votes.items() if vote.verdict == "approve"}
    noes = {person for person in votes if person not in yes}
    if electorate is None:
        return len(noes) >= question.approvals or _a_group_is_lost(question, noes, groups)
    seats = frozenset[str]().union(*(_voice(votes[person], groups).seats for person in noes))
    gone = noes | (
        seats - yes.keys()
    )  # a deputy's no counts as that of the absent person, unless that person votes
    rest = [_voice(vote, groups) for vote in yes.values()]
    rest += [voice_of(person, groups) for person in electorate - gone - yes.keys()]
    return approvals(question, rest, groups) < question.approvals


def _voice(vote: Vote, groups: Groups) -> Voice:
    """Return for whom a vote can count: its author, or the people whose deputy they are."""
    return voice_of(vote.by, groups, vote.deputy_for)


def _a_group_is_lost(question: Question, noes: AbstractSet[str], groups: Groups) -> bool:
    """Whether too few members of the groups whose members are known are left."""
    known = {name: everyone_in([name], groups) for name in question.approvals_by}
    wanted = {name: question.approvals_by[name] for name, people in known.items() if people is not None}
    people = frozenset[str]().union(*(people for people in known.values() if people is not None))
    rest = [voice_of(person, groups) for person in people - noes]
    return sum(filled(question, rest, groups, wanted).values()) < sum(wanted.values())


def electorate(item: RequestSummary, groups: Groups) -> frozenset[str] | None:
    """Return the keys of all people who may ever vote; None if they cannot be known.

    The assignees of later escalations are included from the start, so that the result does not depend on
    which process counts, and when.
    """
    return _not_excluded(item.asked, item.to_from_now_on, item.starter, groups)


def _not_excluded(
    question: Question, names: Iterable[str], starter: str | None, groups: Groups
) -> frozenset[str] | None:
    """Return the keys of all people in `names` who may answer; None if they cannot be known."""
    people = everyone_in(names, groups)
    if people is None:
        return None
    return frozenset(person for person in people if not is_excluded(question, starter, person, groups))


def too_few_people(item: RequestSummary, groups: Groups) -> str:
    """Return a sentence if the assignees are too few for the required approvals; otherwise nothing."""
    limit = _limit(item.counted, item.to_from_now_on, item.starter, groups)
    if not limit or not item.asked.several:
        return f"Nobody may answer it: {limit}." if limit else ""
    return f"It needs {item.asked.approvals} approvals, but {limit}."


def check_people(question: Question, starter: str | None, groups: Groups) -> None:
    """Raise BadInput for an assignee that strict settings lack, or if too few people can approve a question.

    `starter` is who asks, or who started the run that asks. A group with unknown members has enough.
    """
    if groups.strict:
        with about("to"):
            check_known(question.everyone, groups)
    limit = _limit(question, question.everyone, starter, groups)
    if limit and not question.several:
        raise not_askable(f"nobody may answer it: {limit}.", "to")
    if limit:
        by = f" by the policy {question.policy[0]!r}" if question.policy else ""
        raise not_askable(f"approvals is {question.approvals}{by}, but {limit}.", "approvals")


def starter_matters(question: Question, groups: Groups) -> bool:
    """Whether too few people may be left to approve a question if who started its run is excluded."""
    if question.allow_self or question.several:
        return not question.allow_self
    people = everyone_in(question.everyone, groups)
    return people is not None and len(people) == 1


def _limit(question: Question, to: Iterable[str], starter: str | None, groups: Groups) -> str:
    """Return why a question cannot be approved; nothing if it can."""
    if question.allow_self and not question.several:
        return ""
    people = _not_excluded(question, to, starter, groups)
    if not question.several:
        alone = people is not None and not people
        return f"{starter} is its only assignee, and may not answer what they ask or start" if alone else ""
    if people is None:
        excluded = frozenset() if question.allow_self or starter is None else {groups.key(starter)}
        lost = _a_group_is_lost(question, excluded, groups)
        return "a group that must approve has too few members" if lost else ""
    most = approvals(question, [voice_of(person, groups) for person in people], groups)
    return "" if most >= question.approvals else f"its assignees can give only {most}: a person counts once"


def count(item: RequestSummary, cast: Iterable[RecordedVote], groups: Groups) -> Tally:
    """Return the tally of a request after the votes that were cast.

    For a request that needs proof, votes without a valid signature do not count.
    """
    if (proof := item.asked.proof) is not None:
        from hitl_cli.proof.checking import check_vote, meets

        asked = (item.promise, item.run)
        cast = [one for one in cast if meets(check_vote(*asked, one.vote, groups, one.recorded_at), proof)]
    return tally(item.counted, electorate(item, groups), cast, groups)


def differing_votes(question: Question, votes: Iterable[Vote]) -> tuple[Difference, ...]:
    """Return the differences in the data of equal approvals. The last approval's data counts.

    Approvals with different arguments do not count together.
    """
    from hitl_cli.forms.reading import differences

    said: dict[str | None, list[tuple[str, Json]]] = {}
    for vote in votes:
        if vote.verdict == "approve":
            data = vote.data if question.editable is None else approved_arguments(question, vote.data)
            said.setdefault(vote.choice, []).append((vote.by, data))
    form = answer_form(question)
    return tuple(one for same in said.values() if len(same) > 1 for one in differences(form, same))


def differs_from(question: Question, votes: Iterable[Vote], vote: Vote) -> tuple[Difference, ...]:
    """Return the differences between a new vote's data and that of equal approvals."""
    same = [one for one in votes if one.by != vote.by and one.choice == vote.choice]
    return differing_votes(question, [*same, vote])


def settle_request(request: Promise, vote: Vote, audit: Audit) -> ProtocolRequest:
    """Return the promise.settle with which a vote decides a request.

    Its response has the winning decision.
    """
    audit = msgspec.structs.replace(audit, choice=vote.choice)
    if vote.verdict == "approve":
        return settling(request.id, "resolved", encode(vote.data, audit.headers()))
    return settling(request.id, "rejected", error_value(vote.reason or NO_REASON, audit.headers()))


def complete(client: Client, request: Promise, tallied: Tally) -> Promise:
    """Settle a request with its deciding vote, and return it.

    Each process that counts the votes gets the same result, and the first one settles the request.
    """
    deciding = tallied.deciding
    assert deciding is not None
    audit = msgspec.structs.replace(deciding.audit, votes=tallied.votes)
    return send(client, settle_request(request, deciding.vote, audit))


def votes_of(client: Client, id: str) -> list[RecordedVote]:
    """Return the ballots on a request, in the order in which they were cast."""
    return votes_of_many(client, [id])[id]


def votes_of_many(client: Client, ids: Sequence[str]) -> dict[str, list[RecordedVote]]:
    """Return the ballots on each of several requests, in one round trip."""
    found = records_of_many(client, VOTE_TAG, ids)
    return {id: votes_in(id, cast) for id, cast in found.items()}


def votes_in(id: str, cast: Iterable[Promise]) -> list[RecordedVote]:
    """Return the ballots in promises, in the order in which they were cast."""
    return [ballot for promise in cast if (ballot := _recorded_vote_in(promise, id)) is not None]


def _recorded_vote_in(promise: Promise, id: str) -> RecordedVote | None:
    """Return the ballot in a promise; None if it is not valid."""
    said, audit = decode_as(promise.param, _Said), audit_in(headers_of(promise.param))
    number = promise.id.rpartition("-")[2]
    if said is None or audit.by is None:
        return None
    if not number.isdecimal() or promise.id != _vote_id(id, audit.by, int(number)):
        return None
    recorded_at = said_at(promise, audit)
    vote = Vote(
        by=audit.by,
        at=recorded_at if audit.proof is None else audit.proof.at,
        comment=audit.comment,
        proof=audit.proof,
        deputy_for=audit.deputy_for,
        **msgspec.structs.asdict(said),
    )
    return RecordedVote(number=int(number), vote=vote, audit=audit, recorded_at=recorded_at)


def _vote_id(id: str, person: str, number: int) -> str:
    """Return the id of a person's vote on a request; works for any name."""
    return child_id(id, f"v{short_stable_id(person)}-{number}")


def record_vote(
    client: Client,
    request: Promise,
    vote: Vote,
    audit: Audit,
    cast_before: Sequence[RecordedVote],
    groups: Groups = NO_GROUPS,
) -> bool:
    """Store a vote, and return whether that was needed: it is not if it repeats its author's last vote.

    Its number is the author's next one, over all of their names. If another process takes that number first,
    under the same name, the vote gets the following number.
    """
    own = [ballot for ballot in cast_before if groups.same(ballot.vote.by, vote.by)]
    number = max((ballot.number for ballot in own), default=0)
    last = own[-1].vote if own else None
    repeats = (
        last is not None
        and same_vote(last, vote)
        and last.deputy_for == vote.deputy_for
        and vote.comment in (None, last.comment)
    )
    if repeats and _proves(own[-1].audit, audit):
        return False
    while True:
        number += 1
        create = create_request(request, vote, audit, number)
        kept = store(client, create)
        said = _recorded_vote_in(kept, request.id)
        if said is None:
            continue
        if said.audit.id == audit.id or (same_vote(said.vote, vote) and _proves(said.audit, audit)):
            return True


def _proves(recorded: Audit, now: Audit) -> bool:
    """Whether a recorded vote has a signature, if the new one has."""
    return now.proof is None or recorded.proof is not None


def same_vote(one: Vote, other: Vote) -> bool:
    """Whether two votes are equal, ignoring their times."""
    return (one.verdict, one.choice, one.reason) == (
        other.verdict,
        other.choice,
        other.reason,
    ) and same_json(one.data, other.data)


def create_request(request: Promise, vote: Vote, audit: Audit, number: int) -> ProtocolRequest:
    """Return the promise.create that is a vote."""
    said: dict[str, Json] = {
        "verdict": vote.verdict,
        "choice": vote.choice,
        "data": vote.data,
        "reason": vote.reason,
    }
    return under(request, _vote_id(request.id, vote.by, number), VOTE_TAG, said, audit)
