"""The file of the keys that sign links and sessions."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth.signing_keys import LONGEST_LIFE_MS, Key, Keys, load_keys, rotate, write_keys
from hitl_cli.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000_000


def test_the_file_is_made_when_it_is_needed_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hitl.keys"
    made = load_keys(path, NOW)
    assert load_keys(path, NOW) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_of_many_who_make_the_file_at_once_all_have_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "hitl.keys"
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: load_keys(path, NOW), range(64)))
    assert set(found) == {load_keys(path, NOW)}
    assert os.listdir(tmp_path) == ["hitl.keys"]  # noqa: PTH208


def test_of_keys_that_many_rotate_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "hitl.keys"
    first = load_keys(path, NOW).keys[0]
    with get_context("spawn").Pool(2) as pool:
        made = [found.keys[0] for found in pool.starmap(rotate, [(path, NOW)] * 10, chunksize=1)]
    believed = load_keys(path, NOW).keys
    assert {key.secret for key in believed} == {first.secret, *(key.secret for key in made)}
    assert len(believed) == 11
    assert [key.retired_at is None for key in believed] == [True] + [False] * 10


def test_a_rotated_key_is_believed_until_what_it_signed_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "hitl.keys"
    old = load_keys(path, NOW).keys[0]
    new = rotate(path, NOW).keys[0]
    last = NOW + LONGEST_LIFE_MS - 1
    assert [key.secret for key in load_keys(path, last).keys] == [new.secret, old.secret]
    assert [key.secret for key in load_keys(path, last + 1).keys] == [new.secret]


def test_a_forgotten_key_is_gone_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hitl.keys"
    old = load_keys(path, NOW).keys[0]
    found = rotate(path, NOW, forget=True)
    assert load_keys(path, NOW) == found
    assert old.secret not in path.read_text()


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"keys":[]}', '{"keys":[{"secret":"short","created_at":1}]}', "\0" * 40, "[" * 5_000],
)
def test_a_damaged_file_is_said_so_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hitl.keys"
    path.write_text(content)
    path.chmod(0o600)
    for use in (load_keys, rotate):
        with pytest.raises(BadInput) as refused:
            use(path, NOW)
        assert refused.value.code == "bad-key"
    assert path.read_text() == content
    assert rotate(path, NOW, forget=True) == load_keys(path, NOW)


def test_a_file_in_which_no_key_signs_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "hitl.keys"
    write_keys(path, Keys((Key(secret="k" * 43, created_at=1, retired_at=NOW),)), replace=True)
    with pytest.raises(BadInput) as refused:
        load_keys(path, NOW)
    assert refused.value.code == "bad-key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_file_that_others_can_open_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hitl.keys"
    load_keys(path, NOW)
    path.chmod(mode)
    with pytest.raises(BadInput, match="chmod 600"):
        load_keys(path, NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="the file must be root's")
@pytest.mark.parametrize(("mode", "is_used"), [(0o440, True), (0o444, False), (0o460, False)])
def test_a_file_of_root_may_be_lent_to_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_used: bool
) -> None:
    """As a credential of systemd, or a secret of Kubernetes."""
    path = tmp_path / "hitl.keys"
    load_keys(path, NOW)
    path.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    with nullcontext() if is_used else pytest.raises(BadInput, match="chmod 600"):
        load_keys(path, NOW)


def test_what_is_no_file_holds_no_keys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, why in (("pipe", "not a regular file"), ("folder", "not a regular file|directory")):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(BadInput, match=why):
            load_keys(tmp_path / name, NOW)


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for use in (load_keys, rotate):
        with pytest.raises(BadInput, match="keys"):
            use(tmp_path / "file" / "hitl.keys", NOW)


def test_the_name_of_a_key_does_not_give_it_away(tmp_path: Path) -> None:
    [key] = load_keys(tmp_path / "hitl.keys", NOW).keys
    assert len(key.name) == 8
    assert key.name not in key.secret
