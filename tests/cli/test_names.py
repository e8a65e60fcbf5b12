"""Names as they come in on the command line and in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.errors import BadSetting
from hitl_cli.requests.question import Question
from hitl_cli.settings import Settings
from tests.cli.requests import put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl

SETTINGS = """
[people.reviewer]
email = "reviewer@example.org"
[people."Lead "]
[groups.ops]
members = ["REVIEWER"]
"""


def test_one_person_is_one_approval_by_option_and_by_environment(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="Deploy?", approvals=2))
    hitl.ok("approve", "q", "--as", "reviewer")
    for args, env in (["--as", "Reviewer "], {}), ([], {"HITL_AS": "re\u200bviewer"}):
        assert hitl.run("approve", "q", *args, env=env).returncode == 0
        assert hitl.json("show", "q")["votes"] == 1
    hitl.ok("approve", "q", "--as", "lead")
    assert [vote["by"] for vote in hitl.json("show", "q")["votes_cast"]] == ["reviewer", "lead"]


def test_an_address_of_the_settings_is_its_person(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    hitl.ok("ask", "Deploy?", "--id", "q", "--to", "Reviewer@example.org", "--to", "OPS", "--no-wait")
    assert hitl.json("pending", "--mine", "--as", "REVIEWER")[0]["to"] == ["reviewer", "group:ops"]
    hitl.ok("approve", "q", "--as", "reviewer@example.org")
    assert hitl.json("show", "q")["decision"]["by"] == "reviewer"
    again = ("ask", "Deploy?", "--id", "q", "--to", "reviewer", "--to", "group:Ops", "--no-wait")
    assert hitl.ok(*again) == "q\n"


def test_two_names_of_one_person_in_the_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text('[people.reviewer]\n[people."Reviewer "]\n')
    with pytest.raises(BadSetting, match="Reviewer"):
        Settings({}, tmp_path)


def test_names_in_the_settings_are_stripped(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text(f'as = " lead"\n{SETTINGS}')
    settings = Settings({}, tmp_path)
    assert settings.person().value == "Lead"
    assert list(settings.directory().people) == ["reviewer", "Lead"]


def test_doctor_warns_of_names_that_look_alike_and_of_a_shared_address(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(
        '[people.reviewer]\nemail = "a@example.org"\n[people."r\u0435viewer"]\nemail = "A@example.org"\n'
        '[groups.ops]\nmembers = ["Iead", "lead"]\n'
    )
    found = hitl.json("doctor")["findings"]
    warned = [one["text"] for one in found if one["name"] == "people" and one["level"] == "warning"]
    assert len(warned) == 3
    assert r"'r\u0435viewer'" in warned[0]
    assert "Iead" in warned[1]
    assert "a@example.org" in warned[2]
