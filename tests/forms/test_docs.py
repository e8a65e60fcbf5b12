"""docs/guides/forms.md is right."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.forms import as_form_type, check, fill, schema_of, split_assignment

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "forms.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def test_the_example_does_what_the_page_says() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(block("python"), "docs/guides/forms.md", "exec", dont_inherit=True), names)
    schema = schema_of(names["Expense"])
    words = shlex.split(block("sh"))
    given = [split_assignment(words[at + 1]) for at, word in enumerate(words) if word == "--set"]
    data = fill(schema, given)
    assert data == json.loads(block("json"))
    assert as_form_type(names["Expense"], data).receipts == ["a.pdf", "b.pdf"]


def test_the_message_is_the_one_on_the_page() -> None:
    schema = {"properties": {"amount": {"maximum": 500}}, "required": ["account"]}
    with pytest.raises(BadInput) as refused:
        check(schema, {"amount": 600})
    said = block("text").strip()
    parts = said.removeprefix("the answer does not fit: ").removesuffix(". Nothing was changed.").split("; ")
    assert all(part in str(refused.value) for part in parts)
