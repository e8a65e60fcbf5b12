"""Parts of `hitl demo proof`: settings with throw-away keys, and an attacker who changes the database."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.errors import BadSetting

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """\
[people.lead]
ssh = ["{lead}"]

[checkpoints]
keys = ["{ops}"]
"""


def prepare(folder: Path) -> None:
    """Make the keys of the lead and of ops, and the settings with their public halves.

    Raises BadSetting if OpenSSH is missing.
    """
    public = {}
    for name in ("lead", "ops"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / f"{name}-key")]
        try:
            subprocess.run(command, check=True)  # noqa: S603
        except FileNotFoundError as error:
            raise BadSetting("ssh-keygen is missing: signatures need OpenSSH.") from error
        public[name] = (folder / f"{name}-key.pub").read_text().strip()
    (folder / "hitl.toml").write_text(SETTINGS.format(**public))


def change(database: Path, id: str, prompt: str) -> str:
    """Change what a request asked, as anyone who can write the file could, and return the SQL."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        [(text,)] = db.execute("SELECT param FROM promises WHERE id = ?", (id,))
        param = msgspec.json.decode(text)
        question = msgspec.json.decode(base64.b64decode(param["data"])) | {"prompt": prompt}
        param["data"] = base64.b64encode(msgspec.json.encode(question)).decode()
        db.execute("UPDATE promises SET param = ? WHERE id = ?", (msgspec.json.encode(param).decode(), id))
    return f"UPDATE promises SET param = '…' WHERE id = '{id}'  -- {prompt}"


def remove(database: Path, id: str) -> str:
    """Remove a request with its decision, and return the SQL."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("DELETE FROM promises WHERE id = ?", (id,))
    return f"DELETE FROM promises WHERE id = '{id}'"
