"""`hitl demo`: approval and e-mail verification with real processes, on a temporary database."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hitl_cli.client.connect import connect, file_url
from hitl_cli.errors import RunFailed, TimedOut
from hitl_cli.inbox.pending import pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_S = 30.0
"""How long a step of the demo may take before it counts as failed."""

OF_THE_CALLER = ("HITL_APP", "HITL_GATEWAY", "HITL_KEYS", "HITL_SSH_KEY")
"""The caller's settings that the demo must not use."""


class Demo:
    """The demo's processes and its database, and the commands that are run on them."""

    def __init__(self, echo: Callable[[Sequence[str], str | None], None]) -> None:
        """`echo` is called with each command before it runs, and the file that gets its output."""
        self._echo = echo
        self.screen = threading.Lock()
        """Held while a person is asked, so that no process prints into the prompt."""
        self.folder = Path(tempfile.mkdtemp(prefix="hitl-demo-"))
        self.database = self.folder / "hitl.db"
        kept = {name: value for name, value in os.environ.items() if name not in OF_THE_CALLER}
        self._env = {
            **kept,
            "HITL_SERVER": file_url(self.database),
            "HITL_WORKFLOW": "approval",
            "HITL_GROUP": "default",
        }
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        for reader in self._readers:
            reader.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, label: str, *command: str) -> _Process:
        """Start a long-running command, and return once it serves. Its output is shown after the label.

        Raises RunFailed if it does not start.
        """
        self._echo(["hitl", *command], None)
        return self._start(label, "hitl_cli", *command)

    def start_agent(self) -> _Process:
        """Start the agent of the demo in the same way."""
        return self._start("agent", "hitl_cli.admin.demo_agent")

    def _start(self, label: str, module: str, *command: str) -> _Process:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, *command],
            env=self._env | {"PYTHONIOENCODING": "utf-8"},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self._processes.append(process)
        started = _Process(process, label, self.screen)
        if not started.first:
            raise RunFailed(f"`{shlex.join([module, *command])}` did not start.")
        self._readers.append(threading.Thread(target=started.show_lines, daemon=True))
        self._readers[-1].start()
        return started

    def start_gateway(self) -> str:
        """Start a gateway on a free port, use it for links from now on, and return its URL."""
        gateway = self.start("gateway", "gateway", "--port", "0")
        url = gateway.first.partition(" on ")[2].split()[0]
        self._env["HITL_GATEWAY"] = url
        return url

    def run(self, *command: str, may_fail: bool = False, into: str | None = None) -> None:
        """Run a hitl command, and show it as a person would type it. Raises RunFailed if it fails.

        `into` is a file that gets what it prints.
        """
        self._echo(["hitl", *command], into)
        with (self.folder / into).open("wb") if into else nullcontext() as file:
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-m", "hitl_cli", *command],
                env=self._env,
                cwd=self.folder,
                stdout=file,
                check=False,
            )
        if done.returncode and not may_fail:
            raise RunFailed(f"`hitl {shlex.join(command)}` failed.")

    def post(self, url: str, body: str) -> str:
        """Post JSON, show it as a curl command, and return the response. Raises RunFailed."""
        from urllib.request import Request, urlopen

        header = "Content-Type: application/json"
        self._echo(["curl", url, "-H", header, "-d", body], None)
        request = Request(url, body.encode(), dict([header.split(": ")]))  # noqa: S310 - our own gateway's
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                return str(answer.read().decode())
        except OSError as error:
            raise RunFailed(f"the gateway did not answer: {error}.") from error

    def blocked(self) -> str:
        """Return the id of the first pending request, once there is one. Raises TimedOut."""
        import time

        end = time.monotonic() + PATIENCE_S
        with connect(self._env["HITL_SERVER"]) as client:
            client.wait(0)  # starts listening
            while not (found := pending(client, limit=1)[0]):
                if time.monotonic() > end:
                    raise TimedOut(
                        "no request was created in time: the worker did not run the workflow.",
                        code="timed-out",
                    )
                client.wait(PATIENCE_S)
            return found[0].id


class _Process:
    """A process of the demo and its output. `first` is its first line, empty if it ended before."""

    def __init__(self, process: subprocess.Popen[str], label: str, screen: threading.Lock) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self._screen = screen
        self._prefix = f"  {label} | "
        self._shown: list[str] = []
        self._more = threading.Condition()
        self.first = self._lines.readline().rstrip()
        if self.first:
            print(f"{self._prefix}{self.first}", flush=True)

    def show_lines(self) -> None:
        """Show what the process prints, until it ends."""
        for line in self._lines:
            with self._screen:
                print(f"{self._prefix}{line.rstrip()}", flush=True)
            with self._more:
                self._shown.append(line)
                self._more.notify()

    def printed(self, text: str) -> None:
        """Return once it has printed a line with this text. Raises TimedOut."""
        with self._more:
            if not self._more.wait_for(lambda: any(text in line for line in self._shown), PATIENCE_S):
                raise TimedOut(f"this was not printed in time: {text}.", code="timed-out")
