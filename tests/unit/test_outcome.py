"""The names of outcomes, in one place."""

from __future__ import annotations

import pytest

from hitl_cli.people.gateway_file import without_page
from hitl_cli.requests.outcome import given_reason, headline


def test_a_headline_names_who_decided_and_what() -> None:
    assert headline("approved", by="lead") == "Approved by lead"
    assert headline("canceled") == "Canceled by another tool"
    assert headline("approved", by="lead", answer="eu") == "lead answered: eu"
    assert headline("expired", deadline=True) == "The deadline passed"
    assert headline("rejected", deadline=True) == "The deadline passed, so this counts as rejected"


def test_the_outcome_itself_is_no_reason() -> None:
    assert given_reason("canceled", "canceled") is None
    assert given_reason("canceled", "typo") == "typo"
    assert given_reason("approved", None) is None


@pytest.mark.parametrize(
    ("url", "gateway"),
    [
        ("https://a.example/history", "https://a.example"),
        ("https://a.example/hitl/runs/release-1", "https://a.example/hitl"),
        ("https://a.example/r/release-1:2.1", "https://a.example"),
        ("https://a.example/hitl", None),
        ("https://a.example", None),
    ],
)
def test_the_url_of_a_page_tells_the_gateways(url: str, gateway: str | None) -> None:
    assert without_page(url) == gateway
