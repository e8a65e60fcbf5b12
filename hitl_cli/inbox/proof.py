"""Checks whether the decision on a request that needs proof has it."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.wire import Vote, audit_of, decode, same_json
from hitl_cli.errors import Unproven
from hitl_cli.inbox.history import settled_at, settled_since
from hitl_cli.inbox.pending import demanded, summaries, summary_of
from hitl_cli.inbox.permission import is_excluded, may_answer
from hitl_cli.people.deputies import may_stand_in
from hitl_cli.people.groups import Absence
from hitl_cli.people.quorum import approvals, voice_of
from hitl_cli.proof.checking import Checked, check_decision, deciding_votes
from hitl_cli.requests.editable import kind_of_approval
from hitl_cli.requests.question import OWN_PREFIX, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight
    from hitl_cli.runs.run import Run


BATCH = 100
"""Requests that are read at once."""

type VerifiedState = Literal["proven", "claimed", "wrong", "open"]


class Verified(Struct, frozen=True, kw_only=True):
    """The result of checking the proof of a decision.

    `proven`: everyone who decided has signed. `claimed`: not everyone has. `wrong`: a signature is not valid,
    or a request that needs proof was approved without. `open`: no person has decided it.
    """

    id: str
    state: VerifiedState
    proof: tuple[Checked, ...] = ()
    why: str | None = None


def verified(item: RequestSummary, groups: Groups) -> Verified:
    """Check the proof of the decision on a request against the demands of the request.

    A policy that came later does not make an earlier decision wrong.
    """
    if item.hidden:
        told = "it has parts that only its assignees see, so only they and auditors can check it"
        return Verified(id=item.id, state="open" if item.waits else "claimed", why=told)
    groups = msgspec.structs.replace(groups, policy={})
    proof = check_decision(item.promise, item.run, groups)
    why = why_unproven(item, groups, proof) or next((one.why for one in proof if one.state == "wrong"), None)
    states = {one.state for one in proof}
    state: VerifiedState = "proven" if states == {"proven"} else "claimed" if states else "open"
    return Verified(id=item.id, state="wrong" if why else state, proof=proof, why=why)


def verify_since(
    client: Client, since: int, until: int | None, groups: Groups, sight: Sight
) -> Iterator[Verified]:
    """Yield the results for the decisions from `since` until before `until`, newest first."""
    settled = (one for one in settled_since(client, since) if until is None or settled_at(one) < until)
    for some in batched(settled, BATCH):
        runs = get_promises(client, sorted({one.origin for one in some}))
        seen = sight.among(client, some, runs)
        yield from (verified(summary_of(client, one, runs.get(one.origin)), groups) for one in seen)


def check_proven(item: RequestSummary, groups: Groups) -> None:
    """Raise Unproven for a request that was approved with less proof than it or the settings demand."""
    if (why := why_unproven(item, groups)) is not None:
        raise unproven(item.id, why)


def check_ended(client: Client, run: Run, groups: Groups) -> None:
    """Raise Unproven if a run that was waited for is in fact a request, and was approved without proof."""
    if run.kind == "run" or run.state != "completed":
        return
    item = summaries(client, [run.id]).get(run.id)
    if item is not None and item.promise.is_blocking:
        check_proven(item, groups)


def check_is_the_same(id: str, answered: str) -> None:
    """Raise Unproven if a gateway responds with another request, whose approval would count for this one."""
    if answered not in (id, f"{OWN_PREFIX}{id}"):
        raise unproven(id, f"the gateway answered about {answered}")


def unproven(id: str, why: str) -> Unproven:
    """Return the error for a request that was approved without valid proof."""
    return Unproven(f"{id} was approved without valid proof: {why}.")


def needs_check(item: RequestSummary) -> bool:
    """Whether the approval of a request must be checked for proof, or for the demands of a policy."""
    question = item.asked
    return outcome_of(item.promise) == "approved" and (question.proof is not None or bool(question.policy))


def why_unproven(item: RequestSummary, groups: Groups, proof: Sequence[Checked] | None = None) -> str | None:
    """Return why the approval of a request that needs proof does not count; None if it counts.

    It counts if as many different people have signed as must approve, also from each required group, and each
    of them could answer when they signed. `groups` are the people of the settings with their keys. `proof` is
    the result of `check_decision` with them, if known. A rejection needs no proof, because nothing happens
    after it.
    """
    groups = msgspec.structs.replace(groups, standing=None)  # present absences change no decision
    item = demanded(item, groups)
    question = item.asked
    if not needs_check(item):
        return None
    if item.promise.state != "resolved":
        return "its deadline approved it, and nobody signed"
    proof = check_decision(item.promise, item.run, groups) if proof is None else proof
    audit, data = audit_of(item.promise), decode(item.promise.value)
    proven: list[Vote] = []
    missing: list[str] = []
    votes = deciding_votes(item.promise)
    for vote, found in zip(votes, proof, strict=True):
        if found.state == "wrong" or (found.state == "claimed" and question.proof is not None):
            missing.append(found.why or f"{vote.by or 'who approved it'} did not sign")
        elif question.proof == "passkey" and found.kind != "passkey":
            missing.append(f"{vote.by} signed with an SSH key, and it needs a passkey")
        elif not _could_answer(item, vote, groups):
            missing.append(f"{vote.by} is not allowed to answer it")
        elif vote.verdict == "approve":
            proven.append(vote)
    decided = kind_of_approval(question, Vote(by="", verdict="approve", at=0, choice=audit.choice, data=data))
    equal = [vote for vote in proven if kind_of_approval(question, vote) == decided]
    if not any(same_json(vote.data, data) for vote in equal):
        missing.append("nobody signed this answer")
    elif _approvals(item, equal, groups) >= question.approvals:
        return None
    return (
        "; ".join(missing) or f"too few people have {'approved it' if question.proof is None else 'signed'}"
    )


def _approvals(item: RequestSummary, votes: Sequence[Vote], groups: Groups) -> int:
    voices = [voice_of(vote.by, groups, vote.deputy_for) for vote in votes]
    return approvals(item.counted, voices, groups)


def _could_answer(item: RequestSummary, vote: Vote, groups: Groups) -> bool:
    """Whether a person could answer when they decided. Their clock may differ from the server's."""
    instants = {_said_at(vote), item.promise.settled_at or _said_at(vote)}
    if not item.amendments:
        instants = {_said_at(vote)}
    then = [msgspec.structs.replace(item, now=at) for at in instants]
    return any(may_answer(one, vote.by, groups) or _was_deputy(one, vote, groups) for one in then)


def _was_deputy(item: RequestSummary, vote: Vote, groups: Groups) -> bool:
    """Whether a person could answer as deputy. Where proof is needed, only deputies in the settings count."""
    return (
        bool(vote.deputy_for)
        and all(
            may_answer(item, absent, groups)
            and may_stand_in(item.asked, item.starter, Absence(person=absent, until=0), vote.by, groups)
            for absent in vote.deputy_for
        )
        and not is_excluded(item.asked, item.starter, vote.by, groups)
    )


def _said_at(vote: Vote) -> int:
    """Return when a person decided, as signed."""
    return vote.at if vote.proof is None else vote.proof.at
