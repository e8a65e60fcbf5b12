"""People in a test: they answer an open request, or every request that matches a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.testing.test_keys import TestKeys

VIA = "test"
"""The `via` of decisions in a test."""


class NotAsked(AssertionError):
    """No open request matches, or several do."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A filter of requests: all given fields must match. `prompt` is a part of the prompt."""

    prompt: str = ""
    id: str | None = None
    workflow: str | None = None

    def fits(self, item: RequestSummary) -> bool:
        """Whether a request matches; `workflow` may be the workflow or the id of its run."""
        asked = item.asked.prompt if item.question is not None else ""
        return (
            self.prompt in asked
            and self.id in (None, item.id)
            and self.workflow in (None, item.workflow, item.function)
        )


class Rule(Struct, kw_only=True):
    """How a person answers requests: at most `left` times, None for always."""

    person: Person
    wanted: Wanted
    said: DecisionInput
    left: int | None


class Person:
    """A person who answers requests. `hitl_test` makes them: `hitl.person("reviewer")`.

    `approve` and `reject` answer the one open request that matches, now. `approves` and `rejects` add a rule
    that answers every matching request from now on. The first matching rule counts, so several rules with
    `times=1` answer in turn.

    A request matches if `prompt` is a part of its prompt, and `id` and `workflow` (a name, or the id of a
    run) are equal to its own.
    """

    def __init__(
        self,
        name: str,
        groups: Groups,
        inbox: Callable[[Actor], Inbox],
        rules: list[Rule],
        keys: TestKeys | None = None,
    ) -> None:
        self.name = name
        self.actor = Actor(person=name, via=VIA, groups=groups)
        self._open_inbox = inbox
        self._keys = keys
        self._rules = rules

    def approve(
        self,
        prompt: str = "",
        *,
        id: str | None = None,
        workflow: str | None = None,
        data: Any = UNSET,
        arguments: Any = UNSET,
        choice: str | None = None,
        comment: str | None = None,
    ) -> None:
        """Approve the open request, with the data of its form, changed arguments or a choice.

        Raises NotAsked unless exactly one matches, and the errors of `hitl approve`: NotAllowed, BadInput, …
        """
        self._answer(
            Wanted(prompt=prompt, id=id, workflow=workflow), _approval(data, arguments, choice, comment)
        )

    def reject(
        self,
        prompt: str = "",
        *,
        id: str | None = None,
        workflow: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
    ) -> None:
        """Reject the open request. Raises as `approve` does."""
        said = DecisionInput(verdict="reject", reason=reason, comment=comment)
        self._answer(Wanted(prompt=prompt, id=id, workflow=workflow), said)

    def approves(
        self,
        prompt: str = "",
        *,
        id: str | None = None,
        workflow: str | None = None,
        data: Any = UNSET,
        arguments: Any = UNSET,
        choice: str | None = None,
        comment: str | None = None,
        times: int | None = None,
    ) -> Person:
        """Approve each matching request that this person may answer, as soon as it is asked."""
        said = _approval(data, arguments, choice, comment)
        return self._rule(Wanted(prompt=prompt, id=id, workflow=workflow), said, times)

    def rejects(
        self,
        prompt: str = "",
        *,
        id: str | None = None,
        workflow: str | None = None,
        reason: str | None = None,
        times: int | None = None,
    ) -> Person:
        """Reject each matching request that this person may answer, as soon as it is asked."""
        said = DecisionInput(verdict="reject", reason=reason)
        return self._rule(Wanted(prompt=prompt, id=id, workflow=workflow), said, times)

    def inbox(self) -> Inbox:
        """Return the Inbox of this person."""
        return self._open_inbox(self.actor)

    def _rule(self, wanted: Wanted, said: DecisionInput, times: int | None) -> Person:
        self._rules.append(Rule(person=self, wanted=wanted, said=said, left=times))
        return self

    def _answer(self, wanted: Wanted, said: DecisionInput) -> None:
        inbox = self.inbox()
        opened, _ = inbox.list()
        found = [item for item in opened if wanted.fits(item)]
        if len(found) != 1:
            count = "no open request fits" if not found else f"{len(found)} open requests fit"
            lines = [f"{item.id} for {', '.join(item.to) or 'anyone'}: {item.prompt}" for item in opened]
            asked = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value}
            raise NotAsked("\n  ".join([f"{count} {asked}. Open are:", *(lines or ["none"])]))
        self.decide(inbox, found[0], said)

    def decide(self, inbox: Inbox, item: RequestSummary, said: DecisionInput) -> None:
        """Decide a request, signed if it needs that."""
        if self._keys is not None and item.asked.proof is not None:
            inbox.signer = self._keys.signer
        inbox.decide(item, said)


def _approval(data: Any, arguments: Any, choice: str | None, comment: str | None) -> DecisionInput:
    data, arguments = (one if one is UNSET else msgspec.to_builtins(one) for one in (data, arguments))
    return DecisionInput(verdict="approve", data=data, arguments=arguments, choice=choice, comment=comment)
