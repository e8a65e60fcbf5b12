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


def test_a_misspelled_person_of_a_token_or_a_link_is_said(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    put(hitl, "q", Question(prompt="Deploy?"))
    decides = ("token", "create", "--can", "decide", "--as")
    for args in decides, ("link", "q", "--for"):
        assert "Did you mean reviewer?" in hitl.run(*args, "revewer").stderr
        assert "Did you mean" not in hitl.run(*args, "Reviewer").stderr
    asks = hitl.run("token", "create", "--as", "ci", "--can", "ask")
    assert (asks.returncode, "settings" in asks.stderr) == (0, False)


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
    assert len(warned) >= 3
    assert r"'r\u0435viewer'" in warned[0]
    assert "Iead" in warned[1]
    assert "a@example.org" in warned[2]


# Names that the settings do not know

TYPO = ("ask", "Deploy?", "--id", "q", "--to", "group:opps", "--no-wait")


def test_whoever_asks_a_name_that_is_not_in_the_settings_is_told(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    told = hitl.run(*TYPO).stderr
    assert "group:opps is not in the settings" in told
    assert "group:ops?" in told
    shown = hitl.json("show", "q")
    assert shown["unknown_names"] == ["group:opps"]
    listed = hitl.run("ask", "Deploy?", "--id", "listed", "--to", "reviewer,lead", "--no-wait").stderr
    assert "--to lead --to ops" in listed  # two names are one that nobody has
    assert "group:opps is not in the settings" in hitl.ok("show", "q")
    put(hitl, "other", Question(prompt="Deploy?", to=("reviewer", "group:OPS", "reviewer@example.org")))
    assert hitl.json("show", "other")["unknown_names"] == []


def test_without_settings_a_person_may_be_anybody_and_a_group_has_nobody(hitl: Hitl) -> None:
    assert "not in the settings" not in hitl.run("ask", "Deploy?", "--to", "reviewer", "--no-wait").stderr
    assert "group:opps is not in the settings" in hitl.run(*TYPO).stderr


def test_strict_settings_refuse_to_ask_a_name_that_is_not_in_them(hitl: Hitl) -> None:
    hitl.ok(*TYPO)  # before they were strict
    (hitl.folder / "hitl.toml").write_text("strict_people = true\n" + SETTINGS)
    assert hitl.ok(*TYPO) == "q\n"
    refused = ("ask", "Deploy?", "--id", "r", "--to", "revewer", "--no-wait")
    assert "reviewer?" in hitl.fails(2, *refused, code="unknown-person")
    hitl.fails(3, "show", "r")
    hitl.ok("ask", "Deploy?", "--id", "r", "--to", "lead", "--no-wait")


def test_a_page_says_that_a_name_is_not_in_the_settings(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    put(hitl, "q", Question(prompt="Deploy?", to=("group:opps",)))
    from tests.gateway.visiting import Browser, Visited

    visited = Visited(hitl, directory=Settings({}, hitl.folder).directory())
    try:
        assert "group:opps is not in the settings" in Browser(visited.address).get("/r/q").text
    finally:
        visited.stop()


# Settings that change while a process runs


def test_settings_are_read_again_when_their_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "hitl.toml"
    live = Settings({}, tmp_path).live_directory()
    assert live().people == {}
    file.write_text(SETTINGS)
    assert live().members.group("ops") == frozenset({"reviewer"})
    assert live() is live()
    file.write_text("[groups.ops]\nmembers = []\n")
    assert live().members.group("ops") == frozenset()
    file.write_text("[groups.ops\n")
    assert live().members.group("ops") == frozenset()
    file.unlink()
    assert live().members.group("ops") == frozenset()
    file.write_text(SETTINGS)
    assert live.reached_at("https://tools.example.org")().gateway == "https://tools.example.org"


def test_an_invisible_or_empty_name_acts_for_nobody(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="Deploy?"))
    for args, env in (["--as", "\u200b"], {}), (["--as", ""], {}), ([], {"HITL_AS": "\u200b"}):
        for command in ["pending"], ["pending", "--mine"], ["approve", "q"]:
            assert hitl.run(*command, *args, env=env).returncode == 2
    assert hitl.json("show", "q")["state"] == "pending"
