"""Commands show the same over HTTP as on the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.server.conftest import Served

AGES = re.compile(r" *(\d+s ago|\b\d+[smhd]( \d+[smhd])?\b|\"age_s\": \d+)")
FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


@pytest.fixture
def asked(hitl: Hitl) -> None:
    """Requests to several people, with votes and a remark."""
    (hitl.folder / "hitl.toml").write_text('[groups.ops]\nmembers = ["ada"]\n')
    put(hitl, "a:1", Question(prompt="A?", to=("group:ops", "bob"), approvals=2), by="eve", tags={"t": "1"})
    put(
        hitl, "b:1", Question(prompt="B?", form=FORM, details={"x": {"y": 1}}, priority="urgent"), key="b-key"
    )
    put(hitl, "c:1", Question(prompt="C?", to=("eve",), choices=("one", "two")), by="ada")
    hitl.ok("approve", "a:1", "--as", "bob")
    hitl.ok("comment", "a:1", "a remark")


@pytest.mark.usefixtures("asked")
def test_requests_are_listed_and_shown_over_http_as_on_the_file(hitl: Hitl, served: Served) -> None:
    for command in (
        ["pending"],
        ["pending", "--json"],
        ["pending", "--mine", "--tag", "t=1", "--json"],
        ["pending", "--to", "eve", "--from", "ada"],
        ["pending", "--sort", "priority", "--due", "2d"],
        ["show", "a:1"],
        ["show", "b-key", "--json"],
        ["show", "c"],
    ):
        # The commands that are shown name the server again.
        over_http, on_file = (
            AGES.sub("AGE", hitl.ok(*command, "-S", url)).replace(f" -S {url}", " -S URL")
            for url in (served.url, hitl.url)
        )
        assert over_http == on_file
        assert over_http.strip() not in ("", "[]")
