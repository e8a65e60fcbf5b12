"""Minimum demands on a decision: by its author, and by the policy of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.format.durations import parse_duration
from hitl_cli.format.names import folded
from hitl_cli.requests.question import (
    KEY_TAG,
    OWN_PREFIX,
    TOOL_TAG,
    WORKFLOW_TAG,
    ApprovalCount,
    ApprovalsBy,
    ProofKind,
    Question,
    Reassign,
)

if TYPE_CHECKING:
    from hitl_cli.client.wire import Promise

STRENGTHS: tuple[ProofKind | None, ...] = (None, *get_args(ProofKind.__value__))
"""Kinds of proof, the weakest first."""


class Demand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand of the settings on decisions: `[policy] "deploy-*" = {proof = "signed", approvals = 2}`.

    `approvals` is how many people must approve, or how many of each group.
    """

    proof: ProofKind | None = None
    approvals: ApprovalCount | ApprovalsBy = 1


NOTHING = Demand()


class Allowance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults for what requests allow: `[requests] "deploy-*" = {reassign = "assignees"}`.

    `extend` is a duration.
    """

    reassign: Reassign | None = None
    extend: str | None = None


type OnUnproven = Literal["fail", "ask_again"]
"""What an asker does with an approval without valid proof."""

MOST_ASKED = 20
"""How often a request is asked: a forger might answer forever."""

type Allowances = Mapping[str, Allowance]
"""Allowances by a glob for the names of a request."""

type Policy = Mapping[str, Demand]
"""Demands by a glob for the names of a request."""


def stronger(one: ProofKind | None, other: ProofKind | None) -> ProofKind | None:
    """Return the stronger of two kinds of proof."""
    return max(one, other, key=STRENGTHS.index)


def raised(question: Question, policy: Policy, names: Iterable[str]) -> Question:
    """Return a question with the demands of a policy for one of its names added. It never demands less.

    If something is added, the request offers no rule: a rule is not a proven decision of several people.
    """
    fitting = [pattern for pattern in policy if any(fnmatchcase(name, pattern) for name in names)]
    more = question
    for pattern in fitting:
        more = strengthened(more, policy[pattern])
    if more == question:
        return question
    return replace(more, policy=tuple(fitting), offer=None)


def as_allowed(question: Question, allowances: Allowances, names: Iterable[str]) -> Question:
    """Return a question with the settings' defaults for one of its names, where its author says nothing.

    If several globs match, the one that allows least counts. Nothing is added where proof is needed:
    assignments are not signed, so the author must allow them.
    """
    if not allowances or question.proof is not None:
        return question
    known = tuple(names)
    fitting = [one for glob, one in allowances.items() if any(fnmatchcase(name, glob) for name in known)]
    who = [one.reassign for one in fitting if one.reassign is not None]
    longer = [parse_duration(one.extend) for one in fitting if one.extend is not None]
    most = {"reassign": min(who, key=_WIDEST.index, default=None), "extend": min(longer, default=None)}
    added = {name: most[name] for name in most if most[name] is not None and getattr(question, name) is None}
    return replace(question, **added, granted=tuple(added)) if added else question


_WIDEST: tuple[Reassign, ...] = get_args(Reassign.__value__)
"""Who may assign a request, the fewest first."""


def names_of(tool: str | None, key: str | None, id: str | None) -> list[str]:
    """Return a policy's names for a request without a workflow. The id counts with and without `ask-`."""
    return [name for name in (tool, key, id, id and id.removeprefix(OWN_PREFIX)) if name]


def ids_to_ask(id: str) -> Iterator[str]:
    """Yield the id of a request without a workflow, and then the ids under which it is asked again."""
    yield id
    yield from (f"{id}-{number}" for number in range(2, MOST_ASKED + 1))


def names_known_by(promise: Promise, run: Promise | None) -> list[str]:
    """Return the names of a request or run for globs of the settings.

    They are its workflows; without one its tag `tool`, its key and its id.
    """
    call = run.call if run is not None and run.is_run else None
    workflows = [call and call.func, promise.tags.get(WORKFLOW_TAG)]
    tags = promise.tags
    return [one for one in workflows if one] or names_of(tags.get(TOOL_TAG), tags.get(KEY_TAG), promise.id)


def at_least(asked: Question, stored: Question, *, allowed: bool = True) -> Question:
    """Return the caller's question, with what a policy, or `allowed` settings, added to the stored one."""
    if allowed and asked.proof is None and stored.granted:
        added = {name: getattr(stored, name) for name in stored.granted if getattr(asked, name) is None}
        asked = replace(asked, **added, granted=stored.granted)
    if not stored.policy:
        return asked
    return replace(strengthened(asked, stored), policy=stored.policy)


def strengthened(stored: Question, asked: Question | Demand) -> Question:
    """Return a stored question with at least the demands of the caller's question, or of a policy.

    A group that the stored question does not name must approve in addition to its assignees.
    """
    count, by = _needed(asked)
    proof, every = stronger(stored.proof, asked.proof), _merged(stored.approvals_by, by)
    known = set(map(folded, stored.everyone))
    added = sum(most for name, most in every.items() if known and folded(name) not in known)
    approvals = max(stored.approvals + added, count, sum(every.values()))
    return replace(stored, proof=proof, approvals=approvals, approvals_by=every)


def _needed(asked: Question | Demand) -> tuple[int, ApprovalsBy]:
    """Return the number of required approvals, in all and by group."""
    if isinstance(asked, Question):
        return asked.approvals, asked.approvals_by
    given = asked.approvals
    return (given, {}) if isinstance(given, int) else (1, given)


def _merged(one: ApprovalsBy, other: ApprovalsBy) -> ApprovalsBy:
    """Return the higher count for each group."""
    every = dict(one)
    known = {folded(name): name for name in one}
    for name, count in other.items():
        own = known.get(folded(name), name)
        every[own] = max(every.get(own, 0), count)
    return every
