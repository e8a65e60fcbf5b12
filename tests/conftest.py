"""Fixtures: the installed `hitl` command on a database of its own, and real worker processes."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings

from hitl_cli.client.connect import connect
from hitl_cli.people.actor import Actor
from tests import forked, templates
from tests.memory import in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hitl_cli.client.protocol import Client
    from tests.gateway.browser import Browser
    from tests.postgres.cluster import Cluster

PATIENCE_S = 30.0
"""How long a condition may take to come true before a test fails. Waiting ends as soon as it does."""

LOOK_S = 0.01
LOOK_SHARE = 0.05
"""What is waited for is found out this much later at most, as a share of the time that it takes."""

ROOM = 6 * 1024**3
"""Bytes that must be free in memory for the files of all tests, which take about an eighth of that."""

SERVERS = ("file", "http", "postgres")
HITL = forked.HITL
TRACEBACK = re.compile(r"^Traceback .*?(?=^hitl: )", re.MULTILINE | re.DOTALL)
"""What --debug prints above the sentence."""

APPS = Path(__file__).parent / "apps"

NOBODY = Actor(person="", via="test")
"""Starts runs whose record does not say who started them."""


# How long an example takes depends on what else the machine does: that is no fault of a test.
settings.register_profile(
    "hitl", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hitl")


def wait_until[T](condition: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return the first true value of the condition; fail if none comes.

    Looking takes half of the time at most: the rest is for what is waited for.
    """
    began = now = time.monotonic()
    end = now + patience_s
    while not (value := condition()):
        looked, now = now, time.monotonic()
        if now > end:
            pytest.fail(f"it did not come true within {patience_s:.0f} s")
        time.sleep(max(LOOK_S, now - looked, (now - began) * LOOK_SHARE))
        now = time.monotonic()
    return value


class WorkerProcess:
    """A `hitl worker` in a process of its own, and the lines it has printed so far."""

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = forked.Popen[str](
            command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in stream)

    def said(self, text: str) -> str:
        """Wait for a line that contains the text, and return it."""
        return wait_until(lambda: next((line for line in list(self.lines) if text in line), ""))

    def complained(self, text: str) -> str:
        """Wait for a line on stderr that contains the text, and return it."""
        return wait_until(lambda: next((line for line in list(self.errors) if text in line), ""))

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.process.wait()

    def clear_away(self) -> None:
        """End it if it runs; for `make coverage` so that it can tell what it has run."""
        if self.process.poll() is None:
            if "COVERAGE_FILE" in forked.SERVER.env:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.stop()
            self.kill()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(how)
        return self.end()

    def end(self) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        for reader in self._readers:
            reader.join(timeout=PATIENCE_S)
        return code

    @property
    def pid(self) -> int:
        return self.process.pid


class Hitl:
    """The command, on one database, in one folder, as one person."""

    served: ClassVar[Callable[[Hitl], Callable[[], None]] | None] = None
    """Has a new one use another server than its file, and returns what ends that (`--server`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = [HITL]
        self.env: dict[str, str] = {**forked.SERVER.env, "HITL_AS": "ada", "COLUMNS": "200"}
        self.env["XDG_CONFIG_HOME"] = str(folder / "config")  # nobody is signed in to a gateway
        self.place(folder / "hitl.db")
        self.workers: list[WorkerProcess] = []
        self.end_server = Hitl.served(self) if Hitl.served else lambda: None

    def place(self, database: Path) -> None:
        """Use the database at this path."""
        self.database = database
        self.url = f"sqlite:///{database}"
        self.env["HITL_SERVER"] = self.url

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return forked.run(
            [*self.command, *args],
            env={**self.env, **(env or {})},
            cwd=cwd or self.folder,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )

    def popen(self, *args: str) -> subprocess.Popen[str]:
        """Start a command and let it run."""
        return forked.Popen(
            [*self.command, *args],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ok(self, *args: str, stdin: str | None = None) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"hitl {' '.join(args)} exited {done.returncode}: {done.stderr}"
        return done.stdout

    def json(self, *args: str) -> Any:
        """Run a command with --json and return the document."""
        return json.loads(self.ok(*args, "--json"))

    def fails(
        self,
        exit_code: int,
        *args: str,
        code: str | None = None,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> str:
        """Run a command that must exit with `exit_code`, a sentence on stderr and no traceback; return that.

        With `code`, the error must have that code, of docs/reference/errors.md.
        """
        debug = {"HITL_DEBUG": "1"} if code is not None else {}
        done = self.run(*args, stdin=stdin, env={**(env or {}), **debug}, cwd=cwd)
        told = done.stderr
        assert done.returncode == exit_code, f"exit {done.returncode}, not {exit_code}: {done.stdout}{told}"
        if code is not None:
            told, _, given = TRACEBACK.sub("", told).rpartition("code: ")
            given = given.partition("\n")[0]  # with --json, a line of JSON follows
            assert given == code, f"code {given!r}, not {code}: {done.stderr}"
        assert "Traceback" not in told
        assert told.strip()
        return told

    def worker(self, *args: str, env: Mapping[str, str] | None = None) -> WorkerProcess:
        """Start a worker and wait until it serves."""
        started = self.worker_unready(*args, env=env)
        started.said("serving")
        return started

    def worker_unready(self, *args: str, env: Mapping[str, str] | None = None) -> WorkerProcess:
        """Start a worker and do not wait."""
        started = WorkerProcess([*self.command, "worker", *args], {**self.env, **(env or {})}, self.folder)
        self.workers.append(started)
        return started

    def use(self, url: str) -> None:
        """Use a server that is not a file."""
        self.url = url
        self.env |= {"HITL_SERVER": url, "HITL_KEYS": str(self.folder / "keys")}
        self.env["XDG_DATA_HOME"] = str(self.folder / "data")  # a gateway that is killed leaves a file there

    @property
    def on_a_file(self) -> bool:
        """Whether the server is a file."""
        return self.url.startswith("sqlite:")

    def create(self) -> None:
        """Create the database, as a worker would."""
        self.client().close()

    def client(self, clock: Callable[[], int] | None = None) -> Any:
        """Return a client of the server, in this process, whose requests are made at a clock's time."""
        from tests.servers import connect_at

        if clock is None and not self.url.startswith("http"):
            return connect(self.url)
        return connect_at(self.url, clock)

    @property
    def keys(self) -> Path:
        """The file with the signing keys."""
        return Path(self.env.get("HITL_KEYS", f"{self.database}.keys"))

    def waiting(self, count: int = 1, *args: str) -> list[dict[str, Any]]:
        """Wait until this number of promises waits for a person, and return them."""
        items: list[dict[str, Any]] = []

        def enough() -> bool:
            items[:] = self.json("pending", "--all", *args)
            return len(items) >= count

        wait_until(enough)
        assert len(items) == count
        return items


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests run on another server than a file."""
    parser.addoption("--server", choices=SERVERS, default="file", help="what holds the promises")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Leave what is collected out of garbage collection: that takes half of the time, in each process."""
    gc.disable()
    try:
        import_a_part_first(session.config)
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_a_part_first(config: pytest.Config) -> None:
    """Where several processes collect all tests, have each compile other modules than the others.

    Compiling takes as long as all else that collecting takes. Each process would compile all, because they
    import the same module at the same moment. Each begins with another one, and finds what others compiled.
    """
    process = getattr(config, "workerinput", None)
    if process is None or config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return
    here = Path(__file__).parent
    files = sorted(here.rglob("test_*.py"))
    begin = len(files) * int(process["workerid"].removeprefix("gw")) // process["workercount"]
    for file in files[begin:] + files[:begin]:
        name = ".".join(file.relative_to(here.parent).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it says what is wrong
            importlib.import_module(name)


@pytest.hookimpl(trylast=True)  # after those that are not wanted are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another server alone has; the mark says why. Some tests choose their own server."""
    server = config.getoption("--server")
    for item in items:
        for mark in item.iter_markers("only"):
            if server not in mark.args:
                item.add_marker(pytest.mark.skip(mark.kwargs["reason"]))
        if server != "file" and {"serve", "database"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip("chooses its own server"))
    if (process := getattr(config, "workerinput", None)) is not None:
        items[:] = long_first(items, process["workercount"])


def long_first(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return the tests in an order in which each process begins with long ones: xdist gives it an equal part.

    A long one that begins last is waited for while a processor has nothing to do.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    ordered = []
    for process in range(processes):
        part = slice(len(others) * process // processes, len(others) * (process + 1) // processes)
        ordered += long[process::processes] + others[part]
    return ordered


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL whose template database has everything installed."""
    from tests.postgres.cluster import cluster, needed_resonate_sql

    needed_resonate_sql()
    with cluster() as running:
        running.prepare_template()
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A Chromium."""
    from tests.gateway.browser import Browser

    with Browser() as browser:
        yield browser


@pytest.fixture(scope="session", autouse=True)
def server(request: pytest.FixtureRequest) -> None:
    """Have all tests use the kind of server that is asked for."""
    from tests.servers import serve_file, use_database

    match request.config.getoption("--server"):
        case "http":
            Hitl.served = serve_file
        case "postgres":
            Hitl.served = partial(use_database, request.getfixturevalue("postgres"))


@pytest.fixture
def database(postgres: Cluster) -> Iterator[str]:
    """The URL of a fresh database of it."""
    url = postgres.create_installed()
    yield url
    postgres.drop(url)


@pytest.fixture
def served_url(hitl: Hitl) -> Iterator[str]:
    """The URL of a server of the test's file, in this process: for tests that are about its clients."""
    from tests.servers import serving

    with serving(hitl.database) as url:
        yield url


@pytest.fixture(params=["file", "http", pytest.param("postgres", marks=pytest.mark.heavy)])
def client(hitl: Hitl, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each kind of server."""
    if Hitl.served is not None:
        pytest.skip("chooses its own server")
    match request.param:
        case "http":
            url = request.getfixturevalue("served_url")
        case "postgres":
            url = request.getfixturevalue("database")
        case _:
            url = hitl.url
    with connect(url, None) as client:
        yield client


@pytest.fixture
def hitl(tmp_path: Path) -> Iterator[Hitl]:
    """The command on a fresh database; its workers end with the test."""
    command = Hitl(tmp_path)
    yield command
    for worker in command.workers:
        worker.clear_away()
    command.end_server()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have all processes that pytest-xdist starts use one server of commands."""
    if not forked.SERVER.address:
        forked.SERVER.start()
    node.workerinput["commands"] = forked.SERVER.address


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have the commands of tests end by Ctrl-C, also where a shell has started pytest in the background.

    Where many tests run, have the files of all in memory. Those of one that fails alone stay on disk.
    """
    forked.SERVER.address = getattr(config, "workerinput", {}).get("commands", "")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    templates.keep_compiled()
    within = in_memory(ROOM) if config.getoption("numprocesses", None) else None
    if within is not None and not config.option.basetemp:
        folder = tempfile.mkdtemp(prefix="hitl-", dir=within)
        config.option.basetemp = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no process behind: where many tests run, fail if one is left in a folder of a test (Linux)."""
    forked.SERVER.end()
    folder = session.config.option.basetemp
    if folder is not None and not hasattr(session.config, "workerinput") and (left := _left_in(folder)):
        session.config.add_cleanup(lambda: print("processes that tests left behind:", *left, sep="\n"))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _left_in(folder: str) -> list[str]:
    """Return the command lines of the processes whose folder is this one, or was before it was removed."""
    left: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if (process / "cwd").readlink().is_relative_to(folder):
                left.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
    return left
