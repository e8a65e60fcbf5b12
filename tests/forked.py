"""Starts processes as `subprocess` does; those of `hitl` are forks, in a fifth of the time.

A fresh interpreter takes up to a third of a second to import what a command needs. `tests/fork_server.py` has
imported it. A command is really executed where a fork could not be the same: where the environment tells
Python itself something or what is read at import, where Popen gets an argument that a fork cannot follow,
where `real` is given, and in `tests/cli/test_installed.py`, which runs each command so. Programs of the tests
that call hitl's modules (`PROGRAMS`) are forked, too.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fork_server import HEAD, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HITL = str(Path(sys.executable).with_name("hitl"))

PROGRAMS = {
    str(Path(__file__).parent / name)
    for name in ("cli/form_to_fill.py", "server/resonate_server.py", "worker/await_result.py")
}
"""Programs that import no more than the server of commands has imported."""

ADDED = {str(Path(__file__).parent / name) for name in ("plugins/acme", "plugins/broken", "previous/clock")}
"""Folders that a fork can add to Python's path: their modules take the place of none that is imported."""

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
"""What commands get of the environment of the tests."""

AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "TYPER_", "_TYPER_", "AIOHTTP_")
"""How variables begin that Python reads as it starts, or a module as it is imported."""

FOLLOWED = ("PYTHONPATH", "PYTHONIOENCODING")
"""Such variables that a fork can follow: the first, if it names only folders of `ADDED`."""

AT_IMPORT = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH")

KNOWN = {"args", "stdin", "stdout", "stderr", "env", "cwd", "bufsize", "text", "encoding", "errors"}
KNOWN |= {"universal_newlines", "start_new_session", "process_group"}
"""The arguments of `subprocess.Popen` that a fork can follow."""

CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal the one that Ctrl-C comes from, before a program runs."""


class _Server:
    """The process that forks, for all processes of a test run; it ends with the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self.address = ""
        """The path of its socket; nothing if it is not started."""
        self.env = {
            name: text
            for name, text in os.environ.items()
            if name in INHERITED or name.startswith("COVERAGE_")  # of `make coverage`
        }

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Fork a command, and return its process id."""
        body = json.dumps(request).encode()
        with self._lock:
            if not self.address:
                self.start()
            connection = self._connected()
            socket.send_fds(connection, [len(body).to_bytes(HEAD)], descriptors)
            connection.sendall(body)
            pid = int.from_bytes(connection.recv(HEAD, socket.MSG_WAITALL))
        assert pid, "the server of commands has ended"
        return pid

    def start(self) -> None:
        """Start it, and have it live as long as this process needs it."""
        self.address = str(Path(tempfile.mkdtemp(prefix="hitl-")) / "commands")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fork_server.py"), HITL, str(listening.fileno())],
                env=self.env,
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connected()

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(self.address)
        return self._connection

    def end(self) -> None:
        """End what it has started for this process; if this process started it, wait for its end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.wait()
            self._process = None
            shutil.rmtree(Path(self.address).parent)
            self.address = ""


SERVER = _Server()


class Popen[T: (str, bytes)](subprocess.Popen[T]):
    """A process; of `hitl`, as a rule, a fork. With `terminal`, stdin becomes its controlling terminal."""

    def __init__(self, args: Any, *, real: bool = False, terminal: bool = False, **given: Any) -> None:
        self._forks = not real and _forkable(args, given)
        self._terminal = terminal
        self._status = -1
        if terminal and not self._forks:
            args = [sys.executable, "-ISc", CONTROLLED, *args]
        if terminal:
            given["start_new_session"] = True
        super().__init__(args, **given)

    def _execute_child(self, args: Any, *given: Any) -> None:
        if not self._forks:
            super()._execute_child(args, *given)  # type: ignore[misc]
            return
        cwd, env, pipes, session, group = given[4], given[5], given[9:15], given[20], given[21]
        reads, _, _, writes, _, complains = pipes
        self._status, told = os.pipe()
        weakref.finalize(self, os.close, self._status)
        try:
            request = {
                "argv": [os.fsdecode(arg) for arg in args if arg != sys.executable],
                "env": {
                    name: os.fsdecode(value) for name, value in (os.environ if env is None else env).items()
                },
                "cwd": os.path.abspath(os.fsdecode(cwd or ".")),  # noqa: PTH100 - follows no link
                "session": session,
                "group": None if group == -1 else group,
                "terminal": self._terminal,
            }
            descriptors: list[int] = [
                pipe if pipe != -1 else own for own, pipe in enumerate((reads, writes, complains))
            ]
            self.pid = SERVER.fork(request, [*descriptors, told])
            self._child_created = True
        finally:
            os.close(told)
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if not self._forks:
            polled: int | None = super()._internal_poll(*given, **more)  # type: ignore[misc]
            return polled
        try:
            return self._wait(0)
        except subprocess.TimeoutExpired:
            return None

    def _wait(self, timeout: float | None) -> int:
        if not self._forks:
            code: int = super()._wait(timeout)  # type: ignore[misc]
            return code
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._waitpid_lock:  # type: ignore[attr-defined]
                if self.returncode is None:
                    told = os.read(self._status, 16)
                    assert told, "the server of commands has ended"
                    self.returncode = int(told)
        return self.returncode


def _forkable(args: Any, given: Mapping[str, Any]) -> bool:
    """Whether a fork of this command does all that the command would do."""
    if isinstance(args, str | bytes | os.PathLike) or not given.keys() <= KNOWN:
        return False
    if args[0] != HITL and (args[0] != sys.executable or args[1] not in PROGRAMS):
        return False
    env = given.get("env") or os.environ
    same = _at_start(env) == _at_start(SERVER.env) and ADDED.issuperset(path_of(env))
    return same and Path(given.get("cwd") or ".").is_dir()


def _at_start(env: Mapping[str, str]) -> Mapping[str, str]:
    return {
        name: text
        for name, text in env.items()
        if (name.startswith(AT_START) or name in AT_IMPORT) and name not in FOLLOWED
    }


def run(
    args: Any,
    *,
    input: Any = None,  # noqa: A002 - its name in subprocess
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **given: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a process to its end, as `subprocess.run` does."""
    if input is not None:
        given["stdin"] = subprocess.PIPE
    if capture_output:
        given |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen[Any](args, **given) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done
