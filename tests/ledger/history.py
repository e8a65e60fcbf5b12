"""A history to attack: decisions and votes, keys, checkpoints, and changes by raw SQL."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

from hitl_cli.inbox import Inbox
from hitl_cli.ledger import Ledger
from hitl_cli.people.actor import Actor
from hitl_cli.proof.checkpoint import CheckpointSigner
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.ledger.check import HistoryCheck
    from hitl_cli.ledger.files import ExportCheck
    from hitl_cli.proof.checkpoint import Checkpoint

OPS = Actor(person="ops", via="test")
DAY_MS = 86_400_000


def make_key(folder: Path, name: str = "operator") -> CheckpointSigner:
    """Make a key that signs checkpoints, and is the only one that is believed."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return CheckpointSigner(
        key=folder / name, known=(" ".join((folder / f"{name}.pub").read_text().split()[:2]),)
    )


def decided(client: Client, *ids: str, approvals: int = 1) -> None:
    """Ask and decide requests: `lead` and `ops` vote where several must approve."""
    asker = Inbox(client, OPS)
    for id in ids:
        asker.ask(Question(prompt=f"Deploy {id}?", approvals=approvals), id=id, deadline_ms=DAY_MS)
        for person in ("lead", "ops")[:approvals]:
            Inbox(client, Actor(person=person, via="test")).decide(
                id, DecisionInput(verdict="approve", comment="fine")
            )


class Compared:
    """What a check found: the ids by what is wrong with them, the counts, and why checkpoints do not hold."""

    def __init__(self, check: HistoryCheck | ExportCheck) -> None:
        self.wrong = sorted((one.id, one.wrong) for one in check.findings())
        self.counts = check.unchanged, check.pruned, check.later
        self.why = [one.why for one in check.checkpoints]

    @property
    def holds(self) -> bool:
        return not self.wrong and set(self.why) == {None}


def compare(
    client: Client, signer: CheckpointSigner, *checkpoints: Checkpoint, since: int | None = None
) -> Compared:
    return Compared(Ledger(client, OPS).check(checkpoints, signer.known, since))


def sql(file: Path, statement: str, *values: Any) -> None:
    """Change the database as whoever can write it may."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        assert db.execute(statement, values).rowcount, statement
