"""What bad input gets: one sentence on stderr, the right exit code, nothing changed, no traceback."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Question
from tests import forked
from tests.cli.requests import put
from tests.cli.test_decisions import ask
from tests.conftest import HITL, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

APP = "from hitl_cli import workflow\n\n@workflow\nasync def mine(ctx, id):\n    return id\n"


def test_unknown_ids_are_not_found(hitl: Hitl) -> None:
    hitl.create()
    hitl.fails(3, "approve", "nope", code="not-found")
    hitl.fails(3, "reject", "nope", code="not-found")
    hitl.fails(3, "status", "nope", code="not-found")
    hitl.fails(3, "wait", "nope", code="not-found")
    hitl.fails(3, "cancel", "nope", code="not-found")


@pytest.mark.parametrize("id", ["a:b", "", " a", "a\nb", "a\x1b[31m"])
def test_an_id_that_no_run_can_have_is_refused(hitl: Hitl, id: str) -> None:
    hitl.fails(2, "start", id, code="bad-name")
    assert not hitl.database.exists() or hitl.json("status") == []


@pytest.mark.parametrize("data", ["{", "yes", "", "'a'", "@missing.json"])
def test_data_that_is_no_json_is_refused(hitl: Hitl, data: str) -> None:
    code = "bad-file" if data.startswith("@") else "bad-json"
    hitl.fails(2, "approve", "a", "--data", data, code=code)
    assert not hitl.database.exists()


def test_a_file_that_is_named_without_its_mark_is_told_how(hitl: Hitl) -> None:
    for option in ("--form", "--arguments"):
        told = hitl.fails(2, "ask", "?", "--no-wait", option, "form.json", code="bad-json")
        assert f"{option} @form.json" in told


def test_data_that_is_too_large_is_refused_without_reading_it_all(hitl: Hitl) -> None:
    big = hitl.folder / "big.json"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    assert "1,000,000 bytes" in hitl.fails(2, "approve", "a", "--data", f"@{big}", code="too-large")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "the file does not exist"),
        ("import nopenope\n", "ModuleNotFoundError"),
        ("x = 1\n", "has no workflows"),
        ("def f(:\n", "SyntaxError"),
        ("raise RuntimeError('on purpose')\n", "on purpose (app.py, line 1)"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("from hitl_cli import workflow\n@workflow\ndef f(): pass\n", "Context"),
        ("def register(resonate):\n    resonate.register(5)\n", "cannot be loaded"),
    ],
)
def test_an_app_that_cannot_be_served_is_refused_with_the_reason(
    hitl: Hitl, content: str | None, what: str
) -> None:
    if content is not None:
        (hitl.folder / "app.py").write_text(content)
    assert what in hitl.fails(2, "worker", "--app", "app.py", code="bad-app")


def test_a_module_that_cannot_be_found_is_refused(hitl: Hitl) -> None:
    assert "no app 'nope.at.all'" in hitl.fails(2, "worker", "--app", "nope.at.all", code="bad-app")


def test_an_app_can_be_a_module_and_come_from_the_settings(hitl: Hitl) -> None:
    (hitl.folder / "flows").mkdir()
    (hitl.folder / "flows" / "__init__.py").write_text(APP)
    (hitl.folder / "hitl.toml").write_text('app = "flows"\nworkflow = "mine"\ngroup = "g"\n')
    worker = hitl.worker()
    assert "email-verification, foo, mine, send_email for group g" in worker.said("serving")
    hitl.ok("start", "a")
    assert hitl.ok("wait", "a") == '"a"\n'


def test_a_settings_file_that_makes_no_sense_is_refused(hitl: Hitl) -> None:
    for content in ("server = 5\n", "sevrer = 'x'\n", "server = \n"):
        (hitl.folder / "hitl.toml").write_text(content)
        assert "hitl.toml" in hitl.fails(2, "pending", code="bad-setting")


@pytest.mark.parametrize("text", ["5", "x", "-1d", "1y", "0s", "", "999999w"])
def test_a_duration_that_makes_no_sense_is_refused(hitl: Hitl, text: str) -> None:
    hitl.fails(2, "start", "a", "--deadline", text, code="bad-duration")
    hitl.fails(2, "worker", "--lease", text, code="bad-duration")


@pytest.mark.parametrize("url", ["redis://x", "foo", "sqlite://host/x", "sqlite:///", "nats://x"])
def test_a_kind_of_server_that_is_not_known_is_refused(hitl: Hitl, url: str) -> None:
    hitl.fails(2, "pending", "--server", url, code="bad-server")
    hitl.fails(2, "--server", url, "pending", code="bad-server")
    for command in (["worker"], ["doctor"], ["gateway", "--port", "0"], ["start", "a"], ["wait", "a"]):
        hitl.fails(2, *command, "--server", url, code="bad-server")


def test_a_server_in_the_settings_that_is_not_known_is_refused(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('server = "nats://x"\n')
    hitl.fails(2, "pending", env={"HITL_SERVER": ""}, code="bad-server")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("nats://nats.example.com:4222", "list requests"),
        ("mysql://u:word@db/resonate", "http(s)://host"),
        ("resonate://host", "http://host:8001"),
        ("htpp://host", "http://host"),
        ("postgre://u:word@db/hitl", "postgresql://host/database"),
        ("sqlite3:///x.db", "sqlite:///path"),
        ("localhost:8001", "http://localhost:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("/srv/x.db", "sqlite:////srv/x.db"),
        ("x.db", "sqlite:///x.db"),
        ("//u:word@host", "http(s)://host"),
        ("http://host:99999", "Port out of range"),
        ("http://host:port", "Port could not be cast"),
        ("http://[::1", "URL"),
    ],
)
def test_what_to_write_for_a_server_is_said_without_its_password(hitl: Hitl, url: str, hint: str) -> None:
    said = hitl.fails(2, "pending", "--server", url, code="bad-server")
    assert hint in said
    assert "word" not in said


def test_a_trace_of_what_is_no_file_is_refused(hitl: Hitl) -> None:
    for url in ("http://127.0.0.1:9", "postgresql://127.0.0.1:9/a"):
        for command in ("pending", "worker"):
            hitl.fails(2, "--trace", "trace", command, "-S", url, code="bad-usage")


def test_a_token_for_a_server_that_takes_none_is_refused(hitl: Hitl) -> None:
    for url in (hitl.url, "postgresql://127.0.0.1:9/a"):
        for command in ("pending", "worker", "gateway", "doctor"):
            hitl.fails(2, command, "-S", url, "-T", "hitl_x", code="bad-usage")
            hitl.fails(2, "-T", "hitl_x", command, "-S", url, code="bad-usage")
    asked = hitl.run("ask", "?", "--no-wait", env={"RESONATE_TOKEN": "for another server"})
    assert asked.returncode == 0


def test_a_server_that_is_not_there_is_said_at_once(hitl: Hitl) -> None:
    for command in ("pending", "worker", "doctor"):
        hitl.fails(6, command, "--server", "http://127.0.0.1:9", code="server-unreachable")


@pytest.mark.only("file", reason="the database is a file")
def test_a_file_that_is_no_database_is_left_alone(hitl: Hitl) -> None:
    content = b"This is a letter, not a database. " * 200
    hitl.database.write_bytes(content)
    for command in (["pending"], ["start", "a"], ["worker"]):
        assert "not a database" in hitl.fails(6, *command, code="file-unusable")
    assert hitl.database.read_bytes() == content


@pytest.mark.only("file", reason="the database is a file")
def test_a_database_of_another_program_is_left_alone(hitl: Hitl) -> None:
    with closing(sqlite3.connect(hitl.database)) as db:
        db.execute("CREATE TABLE letters (body TEXT)")
    before = hitl.database.read_bytes()
    assert "another program" in hitl.fails(6, "start", "a", code="file-unusable")
    assert hitl.database.read_bytes() == before


@pytest.mark.only("file", reason="the database is a file")
def test_a_database_of_a_newer_version_is_left_alone(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    with closing(sqlite3.connect(hitl.database)) as db:
        db.execute("PRAGMA user_version = 999")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = hitl.database.read_bytes()
    assert "newer hitl" in hitl.fails(6, "start", "b", code="file-unusable")
    assert hitl.database.read_bytes() == before


def test_a_path_that_cannot_be_a_file_is_refused(hitl: Hitl) -> None:
    (hitl.folder / "letter").write_text("x")
    assert "not a folder" in hitl.fails(
        6, "start", "a", "-S", f"sqlite:///{hitl.folder}/letter/hitl.db", code="file-unusable"
    )
    for command in (["start", "a"], ["pending"]):
        hitl.fails(6, *command, "-S", f"sqlite:///{hitl.folder}", code="file-unusable")
        hitl.fails(6, *command, "-S", "sqlite:////proc/nowhere/hitl.db", code="file-unusable")


def test_a_folder_that_cannot_be_written_is_said(hitl: Hitl) -> None:
    locked = hitl.folder / "locked"
    locked.mkdir(mode=0o500)
    if os.geteuid() == 0:
        locked = Path("/sys")  # where not even root may create a file
    for command in (["start", "a"], ["ask", "?"], ["worker"]):
        assert "cannot be written" in hitl.fails(
            6, *command, "-S", f"sqlite:///{locked}/hitl.db", code="file-unusable"
        )


@pytest.mark.only("file", reason="the server is another process")
def test_a_full_disk_is_said_and_changes_nothing(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    size = max(path.stat().st_size for path in hitl.folder.iterdir())
    done = forked.run(
        [HITL, "start", "--stdin"],
        env=hitl.env,
        input="\n".join(f"run-{n}" for n in range(2_000)),
        capture_output=True,
        text=True,
        check=False,
        # What a process may write to one file stands for what the disk has left.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50_000, size + 50_000)),
    )
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
    assert hitl.ok("start", "b") == "run b started\n"
    assert {run["id"] for run in hitl.json("status", "--limit", "5")} == {"a", "b"}


def test_an_odd_time_zone_changes_nothing(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    for zone in ("Mars/Olympus", "UTC+99", ""):
        done = hitl.run("status", "a", "--json", env={"TZ": zone})
        assert done.returncode == 0
        assert '"created_at": "20' in done.stdout


def test_without_a_home_the_users_own_is_looked_up(hitl: Hitl, tmp_path: Path) -> None:
    env = {name: value for name, value in hitl.env.items() if name not in ("HOME", "HITL_SERVER")}
    done = forked.run(
        [HITL, "doctor"],
        env={**env, "XDG_DATA_HOME": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "data" / "hitl" / "hitl.db") in done.stdout


def test_debug_shows_the_traceback_and_the_code(hitl: Hitl) -> None:
    hitl.create()
    done = hitl.run("--debug", "approve", "nope")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("code: not-found\n")


def test_with_json_the_error_is_also_a_line_of_json_on_stderr(hitl: Hitl) -> None:
    for id in ("a", "ab"):
        put(hitl, id, Question(prompt="Now?"), key="k")
    done = hitl.run("approve", "k", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "ambiguous-id"
    assert done.stderr.startswith(f"hitl: {error['message']}:\n  {error['lines'][0]}\n")
    assert [line.split()[0] for line in error["lines"]] == ["a", "ab"]


def test_doctor_says_which_source_won(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('group = "from-file"\nas = "from-file"\n')
    shown = hitl.ok("doctor")
    assert "(HITL_SERVER)" in shown
    assert f"from-file  ({hitl.folder / 'hitl.toml'})" in shown
    assert "ada  (HITL_AS)" in shown
    assert "no worker is listening" in shown
    hitl.worker()
    wait_until(lambda: hitl.json("doctor")["worker"] is True)


DEEP = "[" * 60_000 + "]" * 60_000  # Python 3.14 takes what the stack holds


@pytest.mark.parametrize(
    "command",
    [
        ["approve", "a", "--data", DEEP],
        ["start", "a", DEEP],
        ["approve", "\udcff"],
        ["approve", "a", "--comment", "\udcff"],
        ["start", "a", "\udcff"],
        ["status", "\udcff"],
        ["start", "a", "--deadline", "9" * 400 + "s"],
        ["pending", "-S", "http://[::1"],
        ["pending", "-S", "http://"],
        ["pending", "-S", "sqlite:////tmp/a#b.db"],
        ["worker", "-S", "http://"],
        ["worker", "--lease", "1ms"],
        ["start", "--stdin", "--wait"],
        ["start", "--stdin", "--kwarg", "a=1"],
        ["start", "--stdin", "--no-args"],
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(hitl: Hitl, command: list[str]) -> None:
    assert "unexpected" not in hitl.fails(2, *command)


def test_an_empty_id_is_not_found(hitl: Hitl) -> None:
    hitl.create()
    for command in ("approve", "reject", "status", "wait", "cancel"):
        assert "malformed" not in hitl.fails(3, command, "", code="not-found")


def test_a_line_without_end_is_not_read_to_its_end(hitl: Hitl) -> None:
    hitl.fails(2, "start", "--stdin", code="too-large", stdin="x" * 3_000_000)
    hitl.fails(2, "start", "--stdin", code="bad-json", stdin=f'{{"id": "a", "args": {DEEP}}}')


def test_a_folder_that_is_gone_is_said(hitl: Hitl) -> None:
    gone = hitl.folder / "gone"
    gone.mkdir()
    done = subprocess.run(
        f"cd {gone} && rmdir {gone} && {HITL} pending",
        shell=True,
        env={**hitl.env, "HITL_DEBUG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("code: bad-input\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_said(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    with Path("/dev/full").open("w") as full:
        done = forked.run(
            [HITL, "status"], env=hitl.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "stdout: No space left on device" in done.stderr
    assert "unexpected" not in done.stderr
    closed = subprocess.run(f"{HITL} status >&-", shell=True, env=hitl.env, capture_output=True, check=False)
    assert closed.returncode == 0, closed.stderr


def test_what_one_person_gives_cannot_reach_the_terminal_of_another(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "a")
    hitl.ok("start", "b")
    hitl.waiting(2)
    hitl.ok("approve", "a", "--as", "\x1b[31mred")
    hitl.ok("reject", "b", "--reason", "one\ntwo \x1b[2J")
    worker.said("b failed")
    shown = [
        hitl.run(*command) for command in (["reject", "a"], ["status", "a"], ["wait", "b"], ["status", "b"])
    ]
    for done in shown:
        assert "\x1b" not in done.stdout + done.stderr
    assert len(shown[2].stderr.splitlines()) == 1
    assert not any("\x1b" in line for line in worker.lines)


@pytest.mark.parametrize(
    "command", ["approve a --data -", "approve --stdin --yes", "comment a -", "start --stdin", "ask -"]
)
def test_a_closed_stdin_is_said_to_be_none(hitl: Hitl, command: str) -> None:
    ask(hitl, "a")
    done = subprocess.run(
        ["sh", "-c", f"{HITL} {command} <&-"],
        env=hitl.env,
        cwd=hitl.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == "hitl: stdin is closed: there is nothing to read.\n"


READING = [
    ["pending"],
    ["pending", "--watch"],
    ["show", "a"],
    ["review"],
    ["approve", "a"],
    ["reject", "a"],
    ["answer", "a", "yes"],
    ["comment", "a", "x"],
    ["history"],
    ["stats"],
    ["status"],
    ["status", "a"],
    ["wait", "a"],
    ["cancel", "a"],
    ["ask", "--id", "a"],
    ["schedule", "list"],
    ["schedule", "remove", "a"],
    ["token", "list"],
    ["token", "revoke", "a"],
    ["link", "a", "--for", "reviewer"],
    ["link", "revoke", "a"],
    ["prune", "--older", "1d", "--yes"],
    ["backup", "copy.db"],
]


def test_no_command_that_reads_or_answers_creates_a_database(hitl: Hitl) -> None:
    with ThreadPoolExecutor(4) as several:
        there = ("-S", f"sqlite:///{hitl.folder}/none/hitl.db")
        done = list(several.map(lambda args: hitl.run(*args, *there), READING))
    for args, one in zip(READING, done, strict=True):
        needs_terminal = args == ["review"] and one.returncode == 2
        assert one.returncode == 6 or needs_terminal, (args, one.stderr)
        assert str(hitl.folder) in one.stderr or needs_terminal
    assert not (hitl.folder / "none").exists()


def test_a_byte_order_mark_is_no_part_of_a_text(hitl: Hitl) -> None:
    mark = "\ufeff"
    (hitl.folder / "hitl.toml").write_text(f'{mark}as = "lead"\n')
    (hitl.folder / "form.json").write_text(f'{mark}{{"type": "integer"}}')
    (hitl.folder / "five.json").write_text(f"{mark}5")
    del hitl.env["HITL_AS"]
    started = hitl.ok("start", "--stdin", stdin=f"{mark}a\r\nb\r\n").splitlines()
    assert started == ["run a started", "run b started"]
    hitl.ok("ask", "-", "--form", "@form.json", "--id", "n", "--no-wait", stdin=f"{mark}How many?")
    assert hitl.json("pending")[0]["prompt"] == "How many?"
    hitl.ok("approve", "n", "--data", "@five.json")
    assert hitl.json("history")[0]["data"] == 5
    assert hitl.json("history")[0]["by"] == "lead"
    hitl.ok("ask", "?", "--id", "m", "--no-wait")
    hitl.ok("approve", "--stdin", "--yes", stdin=f"{mark}m\n")
