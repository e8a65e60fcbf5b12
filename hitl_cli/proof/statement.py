"""The statement that a person signs for a decision: canonical JSON (docs/reference/proof.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Verdict, decode
from hitl_cli.errors import Conflict, NotSignable
from hitl_cli.format.canonical_json import canonical, json_digest
from hitl_cli.requests.editable import approved_arguments
from hitl_cli.requests.question import KEY_TAG, PLAIN, WORKFLOW_TAG, asker_of, own_tags, question_of

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json, Promise, Vote

VERSION = "hitl-decision/1"


class Statement(Struct, frozen=True, kw_only=True):
    """The content of a signed decision. Digests are SHA-256 of canonical JSON, in hex.

    - `asked`: the digest of the request as the person saw it: see `asked_digest`.
    - `arguments`: the digest of the arguments that are approved; None for a request without.
    - `data`: the digest of the data of an approval; None for a rejection.
    - `at`: when it was decided, in ms since the epoch.
    - `decision`: the id of the decision, so that a signature counts once.
    """

    statement: str = VERSION
    request: str
    asked: str
    arguments: str | None
    verdict: Verdict
    choice: str | None
    data: str | None
    reason: str | None
    comment: str | None
    by: str
    at: int
    decision: str

    def canonical(self) -> bytes:
        """Return the signed bytes: the canonical JSON (RFC 8785). Raises NotSignable."""
        try:
            return canonical(msgspec.to_builtins(self))
        except ValueError as error:
            raise _not_signable(self.request, error) from error

    def challenge(self) -> bytes:
        """Return the challenge for a passkey: the SHA-256 of these bytes."""
        from hashlib import sha256

        return sha256(self.canonical()).digest()


def statement_of(promise: Promise, run: Promise | None, vote: Vote, decision: str, at: int) -> Statement:
    """Return the statement of a decision, or of a vote, on a request; `run` is the run that asks.

    `decision` is the id of the decision, `at` its instant in ms since the epoch.

    Raises NotSignable for a request or an answer that has no canonical JSON, such as one with an integer
    beyond 2**53.
    """
    approves = vote.verdict == "approve"
    question = question_of(promise) or PLAIN
    try:
        arguments = question.arguments
        if question.editable is not None and approves:
            arguments = approved_arguments(question, vote.data)
        return Statement(
            request=promise.id,
            asked=asked_digest(promise, run),
            arguments=None if arguments is None else json_digest(arguments),
            verdict=vote.verdict,
            choice=vote.choice,
            data=json_digest(vote.data) if approves else None,
            reason=vote.reason,
            comment=vote.comment,
            by=vote.by,
            at=at,
            decision=decision,
        )
    except ValueError as error:
        raise _not_signable(promise.id, error) from error


def _not_signable(request: str, error: ValueError) -> NotSignable:
    return NotSignable(f"{request} cannot be signed: it has no canonical JSON ({error}).")


def asked_digest(promise: Promise, run: Promise | None) -> str:
    """Return the digest of everything that a request shows to a person. Raises ValueError.

    That is its question as stored, who asks and when, the run, its workflow and arguments, the key and the
    author's tags, and the deadline. Comments, votes and earlier steps are by others, and are not included.
    """
    shown: dict[str, Json] = {
        "id": promise.id,
        "question": decode(promise.param),
        "by": asker_of(promise, run),
        "run": promise.origin,
        "call": None if run is None or not run.is_run else decode(run.param),
        "workflow": promise.tags.get(WORKFLOW_TAG),
        "key": promise.tags.get(KEY_TAG),
        "tags": own_tags(promise.tags),
        "created": promise.created_at,
        "deadline": promise.timeout_at,
    }
    return json_digest(shown)


def check_unchanged(promise: Promise, run: Promise | None, seen: str) -> None:
    """Raise Conflict for a request that is not the one with the digest that a person has seen."""
    if asked_digest(promise, run) != seen:
        raise Conflict(changed_since(promise.id), code="request-changed")


def changed_since(request: str) -> str:
    """Return the sentence about a request that has changed since a person read it."""
    return f"{request} has changed since you read it: read it again. Nothing was changed."
