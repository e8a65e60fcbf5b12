"""Reloading in `hitl dev`: its worker is a separate process, which is replaced when a loaded file changes.

The new process loads the code first. If that fails, the old one keeps running. Otherwise the old one is asked
to stop, which lets its steps finish, and the new one starts, as in a restart of a worker.

Changes are found with `stat`. The loaded files are known, so this needs less code than a package that watches
folders. It also works on mounts of containers, where the kernel reports no changes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.authoring.loaded_code import INSTALLED
from hitl_cli.inspected import inspected
from hitl_cli.people.live_directory import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hitl_cli.people.live_directory import Stamp

LINK = "_HITL_DEV"
"""Variable for a worker's process of `hitl dev`: the descriptor of its link, and the gateway's URL."""

COMMAND = (sys.executable, "-P", "-m", "hitl_cli")
"""Starts hitl; with -P, a file such as email.py in the current folder is not taken for a module of Python."""

LOOK_S = 0.2
"""How often files are checked, and how long a changed file must stay the same: editors write in steps."""

GO = b"\n"
"""Lets a worker serve what it has loaded."""

LONGEST_REPORT = 16 * 1024 * 1024
"""Bytes of file names of a large app."""


class _Report(Struct, frozen=True, kw_only=True):
    """What a worker's process has loaded, and whether it can start."""

    loaded: bool
    files: tuple[str, ...] = ()


class Supervised:
    """In the worker's process: the link to `hitl dev`, whose page is at `url`."""

    def __init__(self, descriptor: int, url: str) -> None:
        """Take the link, and write no bytecode from here on. Processes that steps start inherit neither.

        Python takes bytecode for current if a file of the same size was changed within the same second.
        """
        sys.dont_write_bytecode = True
        os.set_inheritable(descriptor, False)
        self._link = socket.socket(fileno=descriptor)
        self.url = url

    @classmethod
    def here(cls) -> Supervised | None:
        """Return the link of this process, None if it is not a worker's process of `hitl dev`."""
        descriptor, _, url = os.environ.pop(LINK, "").partition(" ")
        return cls(int(descriptor), url) if descriptor else None

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Report whether the block has loaded the code, and wait until the worker may serve it."""
        loaded, may_serve = False, threading.Event()
        threading.Thread(target=self._stop_with_it, args=(may_serve,), daemon=True).start()
        try:
            yield
            loaded = True
        finally:
            report = _Report(loaded=loaded, files=_own_files())
            self._link.sendall(msgspec.json.encode(report) + b"\n")
        may_serve.wait()

    def _stop_with_it(self, may_serve: threading.Event) -> None:
        """Stop this process when `hitl dev` has ended, even while it is loading code that never returns."""
        while self._link.recv(1):
            may_serve.set()
        os.kill(os.getpid(), signal.SIGTERM)


class _Worker(Struct, frozen=True):
    """A worker's process. It serves once the `link` has GO, and stops when that is closed."""

    process: asyncio.subprocess.Process
    link: asyncio.StreamWriter


class Reloader:
    """In `hitl dev`: runs the worker in a process of its own, and replaces it when its files change."""

    def __init__(
        self,
        url: str,
        env: Mapping[str, str],
        files: Iterable[Path],
        changed: Callable[[Sequence[str]], None],
        kept: Callable[[], None],
    ) -> None:
        """Create the reloader. `files` are watched beside those that are loaded.

        `changed` is called with the names of changed files, `kept` if the new code cannot be loaded and the
        old worker stays.
        """
        self._url = url
        self._env = env
        self._files = frozenset(map(str, files))
        self._loaded: frozenset[str] = frozenset()
        self._folders: frozenset[Path] = frozenset()
        self._changed = changed
        self._kept = kept
        self._seen: dict[str, Stamp | None] = {}
        self._running: list[_Worker] = []
        self._stopped = False

    async def run(self) -> int:
        """Run until a signal, or until the worker ends by itself; return its exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        worker, _ = await self._start()
        code = await self._keep_serving(worker)
        for worker in self._running:
            await worker.process.wait()
            worker.link.close()
        return 0 if self._stopped else code if code >= 0 else 128 - code  # the shell's exit code for a signal

    def _stop(self) -> None:
        """Ask all processes to stop; after a second call, they end at once."""
        self._stopped = True
        for worker in self._running:
            _terminate(worker)

    async def _keep_serving(self, worker: _Worker) -> int:
        """Reload after each change, until the worker ends; return its exit code."""
        worker.link.write(GO)
        ended = asyncio.create_task(worker.process.wait())
        last = self._seen
        while not (await asyncio.wait([ended], timeout=LOOK_S))[0]:
            now = self._look(self._folders)
            if now == last and now != self._seen and not self._stopped:
                different = {file for file, _ in now.items() ^ self._seen.items()}
                self._changed(sorted(Path(file).name for file in different))
                new, loaded = await self._start()
                if loaded:
                    _terminate(worker)
                    new.link.write(GO)
                    worker, ended = new, asyncio.create_task(new.process.wait())
                elif not self._stopped:
                    self._kept()
                now = self._seen
            last = now
        return ended.result()

    async def _start(self) -> tuple[_Worker, bool]:
        """Start a process. Return it, and whether it has loaded the code; otherwise it has ended."""
        folders = frozenset(Path(file).parent for file in self._loaded)
        before = self._look(folders)
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(*COMMAND, *sys.argv[1:]),
                env={**self._env, LINK: f"{theirs.fileno()} {self._url}"},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C goes to `hitl dev` only, which then asks this one to stop
            )
        reader, link = await asyncio.open_connection(sock=ours, limit=LONGEST_REPORT)
        worker = _Worker(process, link)
        self._running = [*(each for each in self._running if each.process.returncode is None), worker]
        if self._stopped:
            _terminate(worker)
        reading = asyncio.create_task(reader.readline())
        while not (await asyncio.wait([reading], timeout=LOOK_S))[0]:
            if self._look(folders) != before:
                process.kill()  # it may hang; the next process will load the changed file
        line = reading.result()
        report = (
            msgspec.json.decode(line, type=inspected(_Report)) if line else _Report(loaded=False, files=())
        )
        if report.loaded:
            self._loaded, self._folders = frozenset(report.files), frozenset()
        else:
            await process.wait()
            self._loaded |= frozenset(report.files)
            self._folders = frozenset(Path(file).parent for file in self._loaded)  # for a missing one
        self._seen = {
            file: before.get(file) if Path(file).parent in folders or file in before else stamp
            for file, stamp in self._look(self._folders).items()
        }
        return worker, report.loaded

    def _look(self, folders: Iterable[Path]) -> dict[str, Stamp | None]:
        """Return the stamps of the watched files, and of all modules in some folders."""
        beside = {str(module) for folder in folders for module in folder.glob("*.py")}
        return {file: stamp_of(Path(file)) for file in self._files | self._loaded | beside}


def _terminate(worker: _Worker) -> None:
    """Ask a worker to stop, unless it has ended."""
    with suppress(ProcessLookupError):
        worker.process.terminate()


def _own_files() -> tuple[str, ...]:
    """Return the files of the loaded modules that are neither hitl's, nor Python's, nor installed."""
    found = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return tuple(
        file
        for name, file in found
        if isinstance(file, str)
        and file.endswith(".py")
        and name.partition(".")[0] not in {"__main__", "hitl_cli", *sys.stdlib_module_names}
        and INSTALLED.isdisjoint(Path(file).parts)
    )
