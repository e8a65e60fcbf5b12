"""What can go wrong for the person at the other end. The message is the sentence they see."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class HitlError(Exception):
    """A failure that a person is told about in one sentence; `lines` may list what it speaks of."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class BadInput(HitlError):
    """What was typed, or what a file or a setting says, makes no sense.

    `problems` may say what is wrong where: a path into what was given, and a sentence.
    """

    def __init__(
        self, message: str, lines: Sequence[str] = (), problems: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, lines)
        self.problems = tuple(problems)


class NotFound(HitlError):
    """There is no such workflow, promise or request."""


class Conflict(HitlError):
    """It was already decided or started otherwise; nothing was changed."""


class NotAllowed(HitlError):
    """It is for others to answer; nothing was changed."""


class TimedOut(HitlError):
    """Waiting took too long, or the deadline had passed."""


class Unreachable(HitlError):
    """The server cannot be reached, or refused the token."""


class RunFailed(HitlError):
    """The answer is no: the run failed, was rejected or was canceled."""


class NotDone(HitlError):
    """It could not be done, or was not wanted after all; nothing was changed."""
