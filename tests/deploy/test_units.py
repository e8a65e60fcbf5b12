"""The units of deploy/systemd: systemd reads them, and finds them safe."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import HITL
from tests.deploy.units import UNITS, settings, started
from tests.docs.test_commands import read

if TYPE_CHECKING:
    from pathlib import Path

EXPOSED = 15
"""The worst exposure that `systemd-analyze security` may find, in tenths: 12 is what a network needs."""


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here: it is of systemd")
    return subprocess.run([program, *args], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_it_and_finds_it_safe(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/hitl/bin/hitl", HITL))
    done = analyze("verify", str(here))
    assert (done.returncode, done.stderr) == (0, "")
    done = analyze("security", "--offline=true", f"--threshold={EXPOSED}", str(here))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_starts_a_command_of_hitl(unit: Path, tmp_path: Path) -> None:
    program, *words = started(unit, tmp_path).command
    assert program == "/opt/hitl/bin/hitl"
    read(words)


def test_the_services_differ_in_what_they_start_alone() -> None:
    own = {"Description", "ExecStart", "Environment"}
    first, second = ([one for one in settings(unit) if one[0] not in own] for unit in UNITS)
    assert first == second
