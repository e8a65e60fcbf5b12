"""Standing rules as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import Json, Verdict
from hitl_cli.rules.rule import RuleState
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.rules.rule import Rule


class RuleDocument(Struct, frozen=True, kw_only=True):
    """A standing rule of a person. `where` are the arguments that it matches, by path.

    `asker` and `workflow` limit the requests; null means anyone except the author, and any workflow.
    """

    id: str
    by: str
    verdict: Verdict
    where: dict[str, Json]
    asker: str | None
    workflow: str | None
    reason: str | None
    state: RuleState
    created_at: str
    ends_at: str


class RulesDocument(Struct, frozen=True):
    """Rules, the oldest first."""

    items: list[RuleDocument]


def rule_document(rule: Rule) -> RuleDocument:
    """Return a rule."""
    return document_of(RuleDocument, rule)
