"""A terminal to type on: a pty, and an emulator that shows what a person sees and answers as terminals do."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import struct
import termios
import threading
from typing import TYPE_CHECKING, Self

import pyte
import pytest

from tests import forked
from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ENTER = "\r"
BACKSPACE = "\x7f"
CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_U = "\x15"
TAB = "\t"


class _Screen(pyte.Screen):
    """A screen whose answers (where the cursor is) go back to the process."""

    def __init__(self, columns: int, lines: int, keyboard: int) -> None:
        self._keyboard = keyboard
        super().__init__(columns, lines)

    def write_process_input(self, data: str) -> None:
        os.write(self._keyboard, data.encode())


class Terminal:
    """A command in a terminal of its own. End it with `close`, or use it as a context."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        columns: int = 100,
        lines: int = 60,
        term: str = "xterm-256color",
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen = _Screen(columns, lines, self._ours)
        self._stream = pyte.Stream(self._screen)
        self._lock = threading.Lock()
        self._drawn: list[str] | None = None
        self.raw = ""
        kept = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
        self.process = forked.Popen[bytes](
            list(command),
            terminal=True,
            env={**kept, "TERM": term},
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                chunk = os.read(self._ours, 65_536)
            except OSError:  # Linux says so at the end
                return
            if not chunk:
                return
            text = decoder.decode(chunk)
            with self._lock:
                self.raw += text
                self._stream.feed(text)
                self._drawn = None

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._ours, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as a window that is drawn larger or smaller does."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._drawn = None
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def is_plain(self) -> bool:
        """Whether lines are edited and echoed again, and the screen is the one that it was before."""
        flags = termios.tcgetattr(self._ours)[3]
        with self._lock:
            switched = self.raw.count("\x1b[?1049h"), self.raw.count("\x1b[?1049l")
        return bool(flags & termios.ICANON and flags & termios.ECHO) and switched[0] == switched[1]

    def screen(self) -> str:
        """Return what is on the screen, without what is empty at the right and below."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._lines()).rstrip()

    def _lines(self) -> list[str]:
        """Return the lines of the screen, drawn once however often a test looks; call it with the lock."""
        if self._drawn is None:
            self._drawn = self._screen.display
        return self._drawn

    def shows(self, text: str) -> str:
        """Wait until the text is on the screen, and return the screen."""
        return self._until(lambda screen: text in screen, f"{text!r} did not come")

    def hides(self, text: str) -> str:
        """Wait until the text is not on the screen any more, and return the screen."""
        return self._until(lambda screen: text not in screen, f"{text!r} stayed")

    def asks(self, text: str) -> str:
        """Wait until the cursor stands right after the text, and return the screen."""
        return self._until(lambda _: self._before_cursor().endswith(text), f"it did not ask {text!r}")

    def becomes(self, condition: Callable[[str], bool]) -> str:
        """Wait until the condition holds for the screen, and return that."""
        wait_until(lambda: condition(self.screen()))
        return self.screen()

    def _before_cursor(self) -> str:
        with self._lock:
            cursor = self._screen.cursor
            return self._lines()[cursor.y][: cursor.x]

    def _until(self, condition: Callable[[str], bool], otherwise: str) -> str:
        try:
            wait_until(lambda: condition(self.screen()))
        except pytest.fail.Exception:
            pytest.fail(f"{otherwise}; the screen:\n{self.screen()}")
        return self.screen()

    def end(self) -> int:
        """Wait until the command ends, and return its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        return code

    def close(self) -> None:
        """End the command, if it still runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(timeout=PATIENCE_S)
        os.close(self._ours)
