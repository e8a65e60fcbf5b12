"""Names as text: one form to store, one to compare, one to look at."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.format.names import folded, normalized, skeleton


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("reviewer", "reviewer"),
        (" reviewer\u00a0", "reviewer"),
        ("ops \t team", "ops team"),
        ("re\u200bview\u00ader\u202e", "reviewer"),
        ("\x1b\x07lead", "lead"),
        ("Ame\u0301lie", "Am\u00e9lie"),
        ("a\nb", "a b"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # spelled with a joiner
        (" \u2060 ", ""),
    ],
)
def test_a_name_is_stored_in_one_form(given: str, stored: str) -> None:
    assert normalized(given) == stored


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("reviewer", "Reviewer"),
        ("reviewer", "reviewer "),
        ("STRASSE", "stra\u00dfe"),
        ("\u00c9mile", "e\u0301mile"),
        ("lead", "le\u200cad"),
    ],
)
def test_what_means_the_same_is_folded_to_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize("other", ["r\u0435viewer", "revi\u0435wer", "\uff52eviewer", "rev\u0131ewer"])
def test_what_looks_the_same_has_one_skeleton_and_is_not_the_same(other: str) -> None:
    assert skeleton(other) == skeleton("reviewer")
    assert folded(other) != folded("reviewer")


def test_different_names_look_different() -> None:
    assert skeleton("reviewer") != skeleton("reviewers")
    assert skeleton("ann") != skeleton("anne")


@given(st.text())
def test_a_form_is_reached_at_once(name: str) -> None:
    assert normalized(normalized(name)) == normalized(name)
    assert folded(folded(name)) == folded(normalized(name)) == folded(name)
    assert folded(unicodedata.normalize("NFD", name)) == folded(name)
