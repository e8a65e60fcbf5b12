"""Settings: which source wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.client.connect import driver_of
from hitl_cli.errors import BadInput, BadSetting
from hitl_cli.settings import SECRETS, Settings, _FileSettings, convert

if TYPE_CHECKING:
    from collections.abc import Iterator


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


# Errors of a file

NAME = "a b"
"""A name in a table, such as that of a person."""

type Way = tuple[str | int, ...]


def places(kind: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Yield each place of a settings file, and the type of what stands there."""
    yield way, kind
    for one in getattr(kind, "types", ()):
        if not isinstance(one, msgspec.inspect.NoneType):
            yield from ((at, inner) for at, inner in places(one, way) if at != way)
    for field in getattr(kind, "fields", ()):
        yield from places(field.type, (*way, field.encode_name))
    if value := getattr(kind, "value_type", None):
        yield from places(value, (*way, NAME))
    if item := getattr(kind, "item_type", None) or next(iter(getattr(kind, "item_types", ())), None):
        yield from places(item, (*way, 0))


PLACES = [*places(msgspec.inspect.type_info(_FileSettings))]


def told(way: Way, value: Any) -> str:
    """Return what is said of a file with a value at one place alone."""
    for key in reversed(way):
        value = [value] if isinstance(key, int) else {key: value}
    with pytest.raises(BadSetting) as caught:
        convert(value, Path("hitl.toml"))
    return str(caught.value)


def key_of(way: Way) -> str:
    """Return a place as it is written in TOML."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in way)[1:]
    return text.replace(NAME, f'"{NAME}"')


def allowed_at(kind: Any) -> list[str]:
    """Return words of which an error has to have all, for what is allowed."""
    kinds = [one for one in getattr(kind, "types", [kind]) if not isinstance(one, msgspec.inspect.NoneType)]
    words = {"Str": "a text", "Int": "a whole number", "Bool": "true or false", "DateTime": "a date and time"}
    words |= {"List": "a list", "VarTuple": "a list", "FrozenSet": "a list", "Set": "a list"}
    return [
        text
        for one in kinds
        for text in getattr(one, "values", [words.get(type(one).__name__.removesuffix("Type"), "a table")])
    ]


@pytest.mark.parametrize(
    ("way", "kind"), PLACES[1:], ids=lambda one: key_of(one) if isinstance(one, tuple) else ""
)
def test_a_wrong_value_is_told_with_its_whole_key_and_with_what_is_allowed(way: Way, kind: Any) -> None:
    takes_numbers = "a whole number" in allowed_at(kind)
    said = told(way, "qqq" if takes_numbers else 98765)
    assert f"{key_of(way)} must be" in said
    assert all(word in said for word in allowed_at(kind))
    assert (("'qqq'" if takes_numbers else "98765") in said) is SECRETS.isdisjoint(way)
    if values := getattr(kind, "values", ()):
        said = told(way, "qqq")
        assert f"{key_of(way)} cannot be 'qqq'" in said
        assert all(value in said for value in values)
    for least in [kind.ge] if getattr(kind, "ge", None) is not None else []:
        assert f"{key_of(way)} must be a whole number, at least {least}, not {least - 1}" in told(
            way, least - 1
        )
    if getattr(kind, "min_length", None):
        assert f"{key_of(way)} must not be empty" in told(way, "")


@pytest.mark.parametrize(
    ("way", "kind"),
    [one for one in PLACES if isinstance(one[1], msgspec.inspect.StructType)],
    ids=lambda one: key_of(one) if isinstance(one, tuple) else "",
)
def test_an_unknown_name_is_told_with_its_table_and_with_what_is_known(way: Way, kind: Any) -> None:
    said = told((*way, "qqq"), 1)
    assert "no setting qqq" in said
    assert not way or f"{key_of(way)} has no setting" in said
    assert all(field.encode_name in said for field in kind.fields)
    near = kind.fields[0].encode_name
    assert f"did you mean {near}?" in told((*way, f"{near}x"), 1)


@pytest.mark.parametrize(
    "text",
    [
        "[tool.hitl]\ngroup = 'near'\n",
        "[ tool . \"hitl\" ]\ngroup = 'near'\n",
        "['tool'.hitl]\ngroup = 'near'\n",
        "[tool]\nhitl.group = 'near'\n",
        "[tool]  # all of them\n[tool.hitl]\ngroup = 'near'\n",
        "tool.hitl.group = 'near'\n",
        "tool = { hitl = { group = 'near' } }\n",
    ],
)
def test_a_pyproject_has_settings_however_their_table_is_written(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert Settings({}, tmp_path).group().value == "near"


def test_a_pyproject_without_settings_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other\nhitl = broken\n")
    assert Settings({}, tmp_path).path is None
