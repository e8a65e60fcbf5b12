"""Reads the amendments of requests: who is asked instead, who works on one, a later deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.requests.amendment_records import amendments_of_many
from hitl_cli.requests.amendments import Amendment, assignees_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.requests.question import Question


def amended(item: RequestSummary, amendments: Iterable[Amendment]) -> RequestSummary:
    """Return a request with its amendments: those that came before its end."""
    end = item.promise.settled_at
    before = tuple(one for one in amendments if end is None or one.at <= end)
    return msgspec.structs.replace(item, amendments=before)


def with_amendments(client: Client, items: Sequence[RequestSummary]) -> list[RequestSummary]:
    """Return requests with their amendments as they are now. Those that cannot have any cost nothing."""
    found = amendments_of_many(client, [item.id for item in items if item.asked.can_be_amended])
    return [amended(item, found[item.id]) if item.id in found else item for item in items]


def asked_at(client: Client, id: str, question: Question, created_at: int, at: int) -> tuple[str, ...]:
    """Return who is asked at an instant; empty means anyone."""
    known = amendments_of_many(client, [id])[id] if question.can_be_amended else ()
    return assignees_of(question, created_at, known, at)
