"""Where the states of an agent's runs are kept while people decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from hitl_cli.format.private_files import write_private
from hitl_cli.python_api.backend import ServerStates

if TYPE_CHECKING:
    from collections.abc import Callable


class States(Protocol):
    """Where the states of runs are kept while people decide. Only trusted processes may write there."""

    def load(self, run: str) -> str | None:
        """Return the state of a run; None if there is none."""

    def save(self, run: str, state: str) -> None:
        """Keep the state of a run, in place of an earlier one."""

    def forget(self, run: str) -> None:
        """Remove the state of a run, if there is one."""


class FolderStates:
    """Keeps each state in a file of a folder, which only its owner can read."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def load(self, run: str) -> str | None:
        """Return the state of a run. See States."""
        try:
            return self._file(run).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def save(self, run: str, state: str) -> None:
        """Keep the state of a run. See States."""
        write_private(self._file(run), state.encode())

    def forget(self, run: str) -> None:
        """Remove the state of a run. See States."""
        self._file(run).unlink(missing_ok=True)

    def _file(self, run: str) -> Path:
        return self._folder / f"{quote(run, safe='')}.json"


class PlaceOfRun:
    """Where the state of one run is kept. Calls of a server run in a thread, because they block."""

    def __init__(self, states: States, run: str) -> None:
        self._states = states
        self._run = run

    async def load(self) -> str | None:
        """Return the state. See States."""
        return await self._done(self._states.load, self._run)

    async def save(self, state: str) -> None:
        """Keep the state. See States."""
        await self._done(self._states.save, self._run, state)

    async def forget(self) -> None:
        """Remove the state. See States."""
        await self._done(self._states.forget, self._run)

    async def _done[*A, T](self, call: Callable[[*A], T], *args: *A) -> T:
        is_server = isinstance(self._states, ServerStates)
        return await asyncio.to_thread(call, *args) if is_server else call(*args)
