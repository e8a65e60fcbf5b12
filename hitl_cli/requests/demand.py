"""What a decision must have at least: by its author, and by the policy of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from hitl_cli.requests.question import OWN_PREFIX, ProofKind, Question

STRENGTHS: tuple[ProofKind | None, ...] = (None, *get_args(ProofKind.__value__))
"""Kinds of proof, the weakest first."""


class Demand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings demand of decisions: `[policy] "deploy-*" = {proof = "signed", approvals = 2}`."""

    proof: ProofKind | None = None
    approvals: Annotated[int, Meta(ge=1, le=1000)] = 1


NOTHING = Demand()

type OnUnproven = Literal["fail", "ask_again"]
"""What an asker does with an approval without good proof."""

MOST_ASKED = 20
"""How often a request is asked: a forger might answer forever."""

type Policy = Mapping[str, Demand]
"""Demands by a glob for the names of a request."""


def stronger(one: ProofKind | None, other: ProofKind | None) -> ProofKind | None:
    """Return the stronger of two kinds of proof."""
    return max(one, other, key=STRENGTHS.index)


def raised(question: Question, policy: Policy, names: Iterable[str]) -> Question:
    """Return a question with what a policy adds for one of its names; it never asks for less.

    Then the request offers no rule, because a rule is not a proven decision of that many people.
    """
    fitting = [pattern for pattern in policy if any(fnmatchcase(name, pattern) for name in names)]
    proof, approvals = question.proof, question.approvals
    for pattern in fitting:
        proof = stronger(proof, policy[pattern].proof)
        approvals = max(approvals, policy[pattern].approvals)
    if (proof, approvals) == (question.proof, question.approvals):
        return question
    return replace(question, proof=proof, approvals=approvals, policy=tuple(fitting), offer=None)


def names_of(tool: str | None, key: str | None, id: str | None) -> list[str]:
    """Return what a policy knows a request without a workflow by. The id counts with and without `ask-`."""
    return [name for name in (tool, key, id, id and id.removeprefix(OWN_PREFIX)) if name]


def ids_to_ask(id: str) -> Iterator[str]:
    """Yield the id of a request without a workflow, and those under which it is asked again."""
    yield id
    yield from (f"{id}-{number}" for number in range(2, MOST_ASKED + 1))


def at_least(asked: Question, stored: Question) -> Question:
    """Return what was asked, with what a policy added to it in what is stored."""
    if not stored.policy:
        return asked
    return replace(
        asked,
        proof=stronger(asked.proof, stored.proof),
        approvals=max(asked.approvals, stored.approvals),
        policy=stored.policy,
    )


def strengthened(stored: Question, asked: Question | Demand) -> Question:
    """Return a stored question with at least the demands of the one that was asked."""
    proof, approvals = stronger(stored.proof, asked.proof), max(stored.approvals, asked.approvals)
    return replace(stored, proof=proof, approvals=approvals)
