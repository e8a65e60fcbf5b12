"""`[checkpoints] every`: one of many processes makes each, and hands it to where it is kept."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.admin.checkpoint_checks import examine_checkpoints
from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.tags import LOG_TAG
from hitl_cli.errors import BadSetting
from hitl_cli.notify.checkpoints import CheckpointMaker
from hitl_cli.people.checkpoints import CheckpointSettings
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from hitl_cli.proof.checkpoint import CheckpointSigner, read_checkpoint
from hitl_cli.settings import Settings
from tests.ledger.history import DAY_MS, compare, decided, make_key
from tests.notify.conftest import mailbox, receiver

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl
    from tests.notify.receivers import HttpReceiver, Mailbox

__all__ = ["mailbox", "receiver"]

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


def directory(folder: Path, **changes: Any) -> Directory:
    signer = make_key(folder, "operator")
    wanted = CheckpointSettings(
        keys=signer.known, key=str(signer.key), every="1d", file=str(folder / "checkpoints.jsonl")
    )
    return Directory(checkpoints=msgspec.structs.replace(wanted, **changes))


def kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "checkpoints.jsonl").read_text().splitlines()]


def made(client: Any) -> list[Promise]:
    return search(client, tags={LOG_TAG: "checkpoint"})


def examined(here: Directory, hitl: Hitl) -> list[str]:
    """Return the levels of what doctor finds."""
    return [one.level for one in examine_checkpoints(here.checkpoints, hitl.url, None)]


@pytest.mark.only("file", reason="moves the clock of the file")
def test_of_several_processes_one_makes_the_checkpoint_of_a_day(hitl: Hitl) -> None:
    clock, here = Clock(), directory(hitl.folder)
    with hitl.client(clock) as one, hitl.client(clock) as other:
        decided(one, *"ab")
        makers = [(CheckpointMaker(lambda: here), one), (CheckpointMaker(lambda: here), other)]
        assert examined(here, hitl) == ["warning"]  # none was made
        for _ in range(2):
            for maker, client in makers:
                maker.look(client)
        [first] = kept(hitl.folder)
        assert first["size"] == 2
        assert examined(here, hitl) == ["ok"]
        clock.now += DAY_MS
        decided(one, "c")
        for maker, client in reversed(makers):
            maker.look(client)
        assert [line["size"] for line in kept(hitl.folder)] == [2, 3]
        clock.now += 3 * DAY_MS
        decided(one, "later")  # the time of the file follows
        assert examined(here, hitl) == ["warning"]
        checkpoints = [read_checkpoint(json.dumps(line), "line") for line in kept(hitl.folder)]
        assert compare(one, CheckpointSigner(key=None, known=here.checkpoints.known), *checkpoints).holds


@pytest.mark.only("file", reason="moves the clock of the file")
def test_a_checkpoint_that_was_not_handed_over_is_by_the_next_process(
    hitl: Hitl, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    lost = directory(hitl.folder, file=str(hitl.folder / "missing" / "file"))
    here = msgspec.structs.replace(
        lost,
        checkpoints=msgspec.structs.replace(lost.checkpoints, file=str(hitl.folder / "checkpoints.jsonl")),
    )
    with hitl.client(clock) as client:
        decided(client, "a")
        CheckpointMaker(lambda: lost).look(client)
        assert "the checkpoint could not be made or delivered" in caplog.text
        [waiting] = made(client)
        assert waiting.state == "pending"
        CheckpointMaker(lambda: here).look(client)  # too early: the other one may be about to do it
        assert not (hitl.folder / "checkpoints.jsonl").exists()
        clock.now += 6 * 60_000
        CheckpointMaker(lambda: here).look(client)
        assert len(kept(hitl.folder)) == 1
        now = get_promise(client, waiting.id)
        assert now is not None
        assert now.state == "resolved"


def test_a_checkpoint_goes_to_a_command_a_webhook_and_by_mail(
    hitl: Hitl, receiver: HttpReceiver, mailbox: Mailbox
) -> None:
    command = (sys.executable, "-c", WRITE, str(hitl.folder / "given"))
    here = msgspec.structs.replace(
        directory(hitl.folder, command=command, to=("audit", "lead")),
        people={"audit": Contact(webhook=receiver.url), "lead": Contact(email="lead@example.org")},
        email=EmailSettings(host="127.0.0.1", port=mailbox.port, tls="none"),
    )
    with hitl.client() as client:
        decided(client, "a")
        CheckpointMaker(lambda: here).look(client)
    [line] = kept(hitl.folder)
    assert json.loads((hitl.folder / "given").read_text()) == line
    [posted] = receiver.wait_for()
    assert (posted.json["type"], posted.json["data"]) == ("hitl.checkpoint", line)
    [mail] = mailbox.received
    assert json.loads(mail.get_content().strip().splitlines()[-1]) == line


@pytest.mark.parametrize(
    "table",
    [
        'every = "1d"',
        'every = "soon"',
        'keys = ["ssh-ed25519 x"]',
        'to = ["nobody"]',
        'every = "1d"\nfile = "x"',
    ],
)
def test_settings_that_keep_no_checkpoint_are_refused(tmp_path: Path, table: str) -> None:
    (tmp_path / "hitl.toml").write_text(f"[checkpoints]\n{table}\n")
    with pytest.raises(BadSetting):
        Settings({}, tmp_path)
