"""What a fork must not interrupt.

A lock that SQLite has in another thread at that moment is never released in the forked process.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 5.0
"""How long a fork waits for other threads to be done with the file. A transaction takes milliseconds."""


class _Gate:
    """Lets many threads in, or one that forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._own = threading.local()
        self._inside = 0
        self._forking = False
        self.calm = True
        """Whether no other thread was inside when the process forked."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let no other thread fork during the block. A thread can be inside more than once."""
        if self._am_inside():
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._inside += 1
        self._own.inside = True
        try:
            yield
        finally:
            self._own.inside = False
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _am_inside(self) -> bool:
        return getattr(self._own, "inside", False)

    def before_fork(self) -> None:
        """Wait until no other thread is inside, and let none in."""
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._forking)
        self._forking = True
        self.calm = self._changed.wait_for(lambda: self._inside == self._am_inside(), WAIT_S)

    def after_fork(self) -> None:
        """Let threads in again."""
        self._forking = False
        self._changed.notify_all()
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Begin with the only thread of the forked process."""
        self._inside = int(self._am_inside())
        self.after_fork()


_gate = _Gate()
undisturbed = _gate.inside

_in_child: list[Callable[[bool], None]] = []


def in_child(action: Callable[[bool], None]) -> None:
    """Call a function in every forked process, with whether all other threads were done."""
    _in_child.append(action)


def _begin_child() -> None:
    _gate.after_fork_in_child()
    for action in _in_child:
        action(_gate.calm)


os.register_at_fork(before=_gate.before_fork, after_in_parent=_gate.after_fork, after_in_child=_begin_child)
