"""Settings: which source wins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.connect import driver_of
from hitl_cli.errors import BadInput, BadSetting
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text('group = "file"\n')
    assert Settings({"HITL_GROUP": "env"}, tmp_path).group("flag").value == "flag"
    assert Settings({"HITL_GROUP": "env"}, tmp_path).group().value == "env"
    assert Settings({}, tmp_path).group().value == "file"
    assert Settings({}, tmp_path).workflow().value == "approval"


def test_the_nearest_file_above_is_read(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "hitl.toml").write_text('group = "far"\n')
    assert Settings({}, deep).group().value == "far"
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert Settings({}, deep).group().value == "far"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.hitl]\ngroup = 'near'\n")
    assert Settings({}, deep).group().value == "near"


def test_the_resonate_variable_names_the_server_too(tmp_path: Path) -> None:
    assert Settings({"RESONATE_URL": "http://a"}, tmp_path).server().source == "RESONATE_URL"
    both = {"RESONATE_URL": "http://a", "HITL_SERVER": "http://b"}
    assert Settings(both, tmp_path).server().value == "http://b"


def test_the_password_of_a_server_and_a_whole_address_may_be_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "hitl.toml"
    env = {"DB_PASSWORD": "a@b/c:$x%", "DB": "postgresql://ops@db/hitl"}

    def server(said: str, **more: str) -> str:
        file.write_text(f"server = '{said}'")
        return Settings(env | more, tmp_path).server().value

    assert server("postgresql://ops:$DB_PASSWORD@db/hitl?sslmode=require") == (
        "postgresql://ops:a%40b%2Fc%3A%24x%25@db/hitl?sslmode=require"
    )
    assert server("$DB") == env["DB"]
    for said in ("postgresql://ops:$NONE@db/hitl", "$NONE"):
        with pytest.raises(BadSetting, match=r"\$NONE"):
            server(said)
        assert server(said, HITL_SERVER="http://a") == "http://a"
    for plain in (
        "sqlite:////a/$b:$c@d",
        "postgresql://ops@db:5432/$x:$y@z",
        "postgresql://ops:a$DB@db/hitl",
    ):
        assert server(plain) == plain


def test_a_gateway_is_known_with_and_without_the_password_of_the_server(tmp_path: Path) -> None:
    settings = Settings({"HOME": str(tmp_path)}, tmp_path)
    named = {settings.gateway_file(f"postgresql://ops{secret}@db/hitl") for secret in ("", ":a", ":b")}
    assert len(named) == 1


def test_an_apps_path_is_taken_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text('app = ["flows.py", "package.flows"]\n')
    deep = tmp_path / "deep"
    deep.mkdir()
    apps = [app.value for app in Settings({}, deep).apps([])]
    assert apps == [str(tmp_path / "flows.py"), "package.flows"]


def test_who_is_told_of_what_names_nobody_must_be_known(tmp_path: Path) -> None:
    file = tmp_path / "hitl.toml"
    file.write_text('anybody = ["lead", "group:ops"]\n[people.lead]\n[groups.ops]\n')
    assert Settings({}, tmp_path).directory().anybody == ("lead", "group:ops")
    file.write_text('anybody = ["group:lead"]\n[people.lead]\n')
    with pytest.raises(BadInput, match="anybody names 'group:lead'"):
        Settings({}, tmp_path).directory()


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text("gruop = 'x'\n")
    with pytest.raises(BadInput, match="gruop"):
        Settings({}, tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('[policy]\n"deploy-*" = {prof = "signed"}', ['policy."deploy-*" has no setting prof', "proof"]),
        ('[policy]\n"deploy-*" = {approvals = 0}', ['policy."deploy-*".approvals', "at least 1"]),
        ('[revoked]\n"SHA256:x" = 5', ['revoked."SHA256:x"', "2026-11-27T12:00:00Z"]),
        ('allowed_signers = "missing"', ["missing", "cannot be read: No such file or directory."]),
    ],
)
def test_an_invalid_setting_is_named_with_its_entry(tmp_path: Path, line: str, words: list[str]) -> None:
    (tmp_path / "hitl.toml").write_text(line)
    with pytest.raises(BadSetting) as refused:
        Settings({}, tmp_path).directory()
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_user_without_a_home_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    settings = Settings({"HITL_KEYS": "~/keys"}, tmp_path)
    for refused in (
        settings.server,
        lambda: settings.keys("sqlite:////x.db"),
        lambda: driver_of("sqlite:///~/x.db").file("sqlite:///~/x.db"),
    ):
        with pytest.raises(BadInput, match="home folder"):
            refused()
    assert settings.person().value == f"uid {os.getuid()}"
    assert settings.server("sqlite:////x.db").value == "sqlite:////x.db"
