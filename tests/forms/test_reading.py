"""An answer as people read it, and where the answers of several people differ."""

from __future__ import annotations

from hitl_cli.forms.reading import as_read, differences, in_lines, in_words

FORM = {
    "type": "object",
    "properties": {
        "due": {"type": "string", "title": "Due date"},
        "ship_to": {"type": "object", "properties": {"zip": {"type": "string", "title": "ZIP"}}},
        "region": {"oneOf": [{"const": "eu-w-1", "title": "Ireland"}, {"const": None, "title": "Nowhere"}]},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"unit_price": {"type": "number"}}},
        },
        "checks": {"type": "array", "items": {"oneOf": [{"const": 1, "title": "Stock"}]}},
    },
}


def test_names_and_values_are_read_by_their_titles() -> None:
    data = {
        "due": "2026-01-31", "ship_to": {"zip": "8004", "more": 1}, "region": "eu-w-1",
        "lines": [{"unit_price": 2.5}, {"unit_price": 3}], "checks": [1], "unknown": True,
    }  # fmt: skip
    read = as_read(FORM, data)
    assert read == {
        "Due date": "2026-01-31", "Ship to": {"ZIP": "8004", "more": 1}, "Region": "Ireland",
        "Lines": [{"Unit price": 2.5}, {"Unit price": 3}], "Checks": ["Stock"], "unknown": True,
    }  # fmt: skip
    assert in_words(read) == (
        "Due date: 2026-01-31; Ship to: (ZIP: 8004; more: 1); Region: Ireland;"
        " Lines: (Unit price: 2.5), (Unit price: 3); Checks: Stock; unknown: yes"
    )
    assert in_lines(as_read(FORM, {"region": None, "due": "x"})) == "Region: Nowhere\nDue date: x"


def test_an_answer_that_does_not_fit_is_read_as_it_is() -> None:
    for data in (None, 5, [1], "x", {"ship_to": 5, "lines": {"a": 1}}):
        in_words(as_read(FORM, data))
    assert as_read({"type": "integer"}, 5) == 5
    assert as_read(None, {"a": 1}) == {"a": 1}
    both = {"properties": {"a": {"title": "Same"}, "b": {"title": "Same"}}}
    assert as_read(both, {"a": 1, "b": 2}) == {"Same": 1, "b": 2}


def test_a_text_cannot_pass_for_another_field() -> None:
    assert in_words({"Note": "x; Amount: 5"}) == 'Note: "x; Amount: 5"'
    assert in_words({"Note": "x\nAmount: 5"}) == 'Note: "x\\nAmount: 5"'


def test_differences_are_told_by_title_and_by_person() -> None:
    said = [
        ("lead", {"due": "a", "ship_to": {"zip": "1"}, "lines": []}),
        ("reviewer", {"due": "a", "ship_to": {"zip": "2"}, "lines": [], "region": "eu-w-1"}),
    ]
    assert [one.sentence for one in differences(FORM, said)] == [
        "Ship to, ZIP: 1 (lead), 2 (reviewer)",
        "Region: - (lead), Ireland (reviewer)",
    ]
    assert differences(FORM, said[:1]) == ()
    assert [one.about for one in differences({"type": "integer"}, [("a", 1), ("b", 2)])] == ["Answer"]
