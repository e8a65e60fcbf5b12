"""The output of commands on terminals of several widths, and their questions."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from hitl_cli.format.terminal import cells
from hitl_cli.requests.question import Question
from tests import forked
from tests.cli.requests import put
from tests.cli.test_decisions import ask
from tests.conftest import HITL
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl

COLOR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
LONG = "a-rather-long-workflow-id-that-somebody-chose-for-a-release-2026-11-21:1.2.3"


def on_terminal(
    hitl: Hitl, columns: int, *args: str, typed: str = "", env: dict[str, str] | None = None
) -> str:
    """Run a command on a terminal of that width and return what it shows, colors and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = {name: value for name, value in hitl.env.items() if name != "COLUMNS"}
    process = forked.Popen(
        [HITL, *args],
        env={**given, "TERM": "xterm-256color", **(env or {})},
        cwd=hitl.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux says so at the end
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    process.wait()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [20, 40, 80, 120, 200])
def test_an_id_is_never_cut_or_broken_whatever_the_width(hitl: Hitl, columns: int) -> None:
    ask(hitl, LONG)
    ask(hitl, "short:1")
    for command in ("pending", "status"):
        hitl.run("start", "a-run-whose-id-is-longer-than-forty-columns-are-wide")
        lines = COLOR.sub("", on_terminal(hitl, columns, command)).splitlines()
        id = LONG if command == "pending" else "a-run-whose-id-is-longer-than-forty-columns-are-wide"
        assert any(id in line.split() for line in lines), lines


def test_a_table_fits_an_ordinary_terminal(hitl: Hitl) -> None:
    ask(hitl, "release-1.4.2:2")
    lines = COLOR.sub("", on_terminal(hitl, 80, "pending")).splitlines()
    assert lines[0].split() == ["request", "run", "workflow", "age", "time", "left"]
    assert all(len(line) <= 80 for line in lines)


def requests_with_everything(hitl: Hitl, count: int) -> None:
    """Put requests that say all that a column can show."""
    for n in range(count):
        question = Question(
            prompt="Roll back the release to 1.4.2 in every region?",
            to=("group:operations", "release-manager"),
            approvals=2,
            priority="urgent",
        )
        put(hitl, f"release-1.4.2-{n:02}:2", question, by="release-manager")


def test_columns_are_dropped_before_the_table(hitl: Hitl) -> None:
    requests_with_everything(hitl, 1)
    lines = COLOR.sub("", on_terminal(hitl, 80, "pending")).splitlines()
    assert lines[0].split()[:2] == ["request", "prompt"]
    assert {"time", "left", "priority"} <= set(lines[0].split())
    assert lines[1].split()[0] == "release-1.4.2-00:2"
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_what_is_watched_is_cut_at_the_bottom(hitl: Hitl, columns: int) -> None:
    requests_with_everything(hitl, 30)
    command = [HITL, "pending", "--watch", "--all"]
    with Terminal(command, hitl.env, hitl.folder, columns=columns, lines=24) as terminal:
        lines = terminal.shows("Answer with").splitlines()
        ids = [line.split()[0] for line in lines if line.startswith("release-")]
        assert ids == [f"release-1.4.2-{n:02}:2" for n in range(len(ids))]
        assert len(ids) == (20 if columns == 80 else 2)
        assert any(f"The {len(ids)} oldest" in line for line in lines)


def test_colors_are_for_terminals_that_want_them(hitl: Hitl) -> None:
    ask(hitl, "soon:1", timeout_ms=60_000)
    assert "\x1b[31m" in on_terminal(hitl, 80, "pending")
    assert "\x1b[31m" not in on_terminal(hitl, 80, "pending", env={"NO_COLOR": "1"})
    assert "\x1b" not in hitl.ok("pending")


def test_what_is_in_a_promise_cannot_reach_the_terminal(hitl: Hitl) -> None:
    ask(hitl, "bell\x07\x1b]0;title\x07:1")
    for columns in (40, 120):
        shown = on_terminal(hitl, columns, "pending")
        assert "\x07" not in shown
        assert "\x1b]" not in shown


# The approval, the fast tests prove without a terminal (test_main_job.py).
@pytest.mark.parametrize(
    ("typed", "end"), [pytest.param("y\n", '"data":true', marks=pytest.mark.heavy), ("n\n", "not today")]
)
def test_the_demo_asks_the_person_at_the_terminal(hitl: Hitl, typed: str, end: str) -> None:
    shown = on_terminal(hitl, 120, "demo", typed=typed)
    assert "Approve hitl-001:1?" in shown
    assert end in shown


@pytest.mark.parametrize(
    ("typed", "end"),
    [pytest.param("\n", "now has: replicas = 4", marks=pytest.mark.heavy), ("n\n", "I do nothing")],
)
def test_the_demo_of_an_agent_asks_the_person_at_the_terminal(hitl: Hitl, typed: str, end: str) -> None:
    shown = on_terminal(hitl, 120, "demo", "agent", typed=typed)
    assert end in shown


def test_the_demo_of_an_e_mail_address_waits_for_the_person_at_the_terminal(hitl: Hitl) -> None:
    shown = on_terminal(hitl, 120, "demo", "email", typed="\n")
    assert "Open the link and approve, or press Enter to do it here" in shown
    assert '"confirmed":true' in shown


WIDE = "审批审批审批审批审批审批审批审批审批审批"


def test_a_script_of_wide_characters_is_counted_as_wide(hitl: Hitl) -> None:
    ask(hitl, f"{WIDE}:1")
    for columns in (40, 80, 120):
        shown = COLOR.sub("", on_terminal(hitl, columns, "pending"))
        assert f"{WIDE}:1" in shown
        assert "364d" in shown or "23h" in shown
    lines = hitl.ok("pending").splitlines()
    assert len({cells(line.rstrip()) for line in lines}) == 1


def test_the_tree_of_a_run_is_whole_in_a_pipe_and_on_a_narrow_terminal(hitl: Hitl) -> None:
    id = "a-run-whose-id-is-longer-than-forty-columns-are-wide"
    hitl.worker()
    hitl.ok("start", id)
    hitl.waiting()
    for shown in (hitl.ok("status", id), COLOR.sub("", on_terminal(hitl, 40, "status", id))):
        assert f"hitl show {id}:1" in shown
    assert f"{id}:1" in hitl.ok("status")


def test_completion_asks_the_server_that_the_line_names_and_creates_none(hitl: Hitl) -> None:
    ask(hitl, "hitl-001:1")
    other = hitl.folder / "other.db"
    for line in (f"hitl approve -S {hitl.url} h", f"hitl -S {hitl.url} approve h"):
        words = line.split()
        done = forked.run(
            [HITL],
            env={
                **hitl.env,
                "HITL_SERVER": f"sqlite:///{other}",
                "_HITL_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["hitl-001:1"], line
    assert not other.exists()
