"""The units of deploy/systemd, as systemd reads them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

DEPLOY = Path(__file__).parents[2] / "deploy"
SYSTEMD = DEPLOY / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))


class Unit(NamedTuple):
    """What a unit starts: the command, its environment, and the folder."""

    command: list[str]
    env: dict[str, str]
    folder: str


def settings(file: Path) -> list[tuple[str, str]]:
    """Return the settings of all sections, in order; one may be there several times."""
    lines = (line for line in file.read_text().splitlines() if line and line[0] not in "#[")
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def started(file: Path, credentials: Path, instance: str = "1") -> Unit:
    """Return what a unit starts, with its secrets in the folder of credentials."""
    found = [
        (name, value.replace("%d", str(credentials)).replace("%i", instance))
        for name, value in settings(file)
    ]
    given = dict(found)
    env = (value.partition("=") for name, value in found if name == "Environment")
    return Unit(
        shlex.split(given["ExecStart"]), {name: value for name, _, value in env}, given["WorkingDirectory"]
    )
