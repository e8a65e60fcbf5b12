"""Checks the proof of decisions and votes against the public keys of the settings. No I/O except OpenSSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.wire import SignatureKind, Vote, audit_of, decode, error_message, same_json
from hitl_cli.errors import BadProof, NotSignable
from hitl_cli.format.times import iso
from hitl_cli.people.groups import KeyLife
from hitl_cli.proof import ssh
from hitl_cli.proof.statement import statement_of
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Promise, Proof
    from hitl_cli.people.groups import Groups
    from hitl_cli.proof.statement import Statement
    from hitl_cli.requests.question import ProofKind


ALWAYS = KeyLife()

type ProofState = Literal["proven", "claimed", "wrong"]


class Checked(Struct, frozen=True, kw_only=True):
    """The result of checking the proof of a decision or a vote.

    `proven`: the person's `key` (a fingerprint) signed exactly this. `claimed`: it has no signature. `wrong`:
    its signature does not prove it; `why` says why. `kind` is that of the signature.
    """

    by: str | None
    state: ProofState
    kind: SignatureKind | None = None
    key: str | None = None
    why: str | None = None


def meets(found: Checked, proof: ProofKind | None) -> bool:
    """Whether a proof is of the kind that a request needs."""
    return found.state == "proven" and (proof != "passkey" or found.kind == "passkey")


def check_vote(
    promise: Promise, run: Promise | None, vote: Vote, groups: Groups, recorded_at: int = 0
) -> Checked:
    """Check the proof of one person's decision, or vote, on a request; `run` is the run that asks.

    `recorded_at` is when the server recorded it, in ms since the epoch, if known.
    """
    if vote.proof is None:
        return Checked(by=vote.by, state="claimed")
    try:
        stated = statement_of(promise, run, vote, vote.proof.decision, vote.proof.at)
        key = signed_with(vote.proof, stated, groups)
        check_life(key, groups.lives.get(key, ALWAYS), vote.proof.at, recorded_at)
        _check_instant(vote, vote.proof)
    except (NotSignable, BadProof) as error:
        return Checked(by=vote.by, state="wrong", kind=vote.proof.kind, why=str(error))
    return Checked(by=vote.by, state="proven", kind=vote.proof.kind, key=key)


def _check_instant(vote: Vote, proof: Proof) -> None:
    """Raise BadProof if the recorded instant, from which an approval is valid, is not the signed one."""
    if vote.at != proof.at:
        raise BadProof("the recorded time is not the one that was signed")


def check_life(key: str, life: KeyLife, signed_at: int, recorded_at: int) -> None:
    """Raise BadProof for a signature from before or after the life of a key.

    A thief of a key can backdate a signature. So the instant at which the server recorded the decision must
    also be before the end of the key's life, if it is known.
    """
    if life.since is not None and signed_at < life.since:
        raise BadProof(f"the key {key} is valid only from {iso(life.since)}")
    if life.until is not None and max(signed_at, recorded_at) >= life.until:
        raise BadProof(f"the key {key} is revoked since {iso(life.until)}")


def signed_with(proof: Proof, stated: Statement, groups: Groups) -> str:
    """Return the fingerprint of the person's key that signed a statement. Raises BadProof if none did."""
    person = groups.key(stated.by)
    if proof.kind == "passkey":
        from hitl_cli.proof import passkeys

        return passkeys.verify(proof, stated.challenge(), groups.passkeys.get(person, ()))
    keys = groups.ssh.get(person, ())
    key = ssh.verify(proof.signature, stated.canonical(), keys) if keys else None
    if key is None:
        why = f"no key of {stated.by} signed this decision on this request"
        raise BadProof(why if keys else f"the settings have no key of {stated.by}")
    return key


def check_decision(promise: Promise, run: Promise | None, groups: Groups) -> tuple[Checked, ...]:
    """Check the proof of a decided request: of each vote that counted, or of the one decision.

    Empty if no person decided: at the deadline, or if it was canceled.
    """
    votes = deciding_votes(promise)
    recorded_at = 0 if audit_of(promise).votes else promise.settled_at or 0
    found = tuple(check_vote(promise, run, vote, groups, recorded_at) for vote in votes)
    if any(one.state == "proven" for one in found) and not _is_recorded_as_signed(promise, votes):
        why = "the recorded decision is not the one that was signed"
        found = tuple(replace(one, state="wrong", why=one.why or why) for one in found)
    return found


def _is_recorded_as_signed(promise: Promise, votes: Sequence[Vote]) -> bool:
    """Whether the headers and the data of a decision are those of the vote that decided it.

    `hitl:via` is not signed.
    """
    audit, approves, question = audit_of(promise), promise.state == "resolved", question_of(promise)
    if question is not None and question.several and not audit.votes:
        return False
    vote = next((vote for vote in votes if vote.by == audit.by), None)
    if vote is None or vote.proof is None:
        return vote is not None
    recorded = (audit.id, audit.at, audit.comment, audit.choice, audit.rule, audit.proof)
    if recorded != (vote.proof.decision, vote.proof.at, vote.comment, vote.choice, None, vote.proof):
        return False
    if vote.verdict != ("approve" if approves else "reject"):
        return False
    data = decode(promise.value)
    return same_json(data, vote.data) if approves else error_message(promise.value) == vote.reason


def deciding_votes(promise: Promise) -> tuple[Vote, ...]:
    """Return the votes that decided a request; a decision by one person is returned as a vote."""
    if promise.state not in ("resolved", "rejected"):
        return ()
    audit = audit_of(promise)
    if audit.votes:
        return audit.votes
    approves = promise.state == "resolved"
    return (
        Vote(
            by=audit.by or "",
            verdict="approve" if approves else "reject",
            at=audit.at or 0,
            choice=audit.choice,
            data=decode(promise.value) if approves else None,
            reason=None if approves else error_message(promise.value),
            comment=audit.comment,
            proof=audit.proof,
            deputy_for=audit.deputy_for,
        ),
    )
