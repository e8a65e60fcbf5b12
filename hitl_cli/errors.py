"""What can go wrong for the person at the other end. The message is the sentence they see."""

from __future__ import annotations


class HitlError(Exception):
    """A failure that a person is told about in one sentence."""


class BadInput(HitlError):  # noqa: N818
    """What was typed, or what a file or a setting says, makes no sense."""


class NotFound(HitlError):  # noqa: N818
    """There is no such workflow, promise or request."""


class Conflict(HitlError):  # noqa: N818
    """It was already decided or started otherwise; nothing was changed."""


class TimedOut(HitlError):  # noqa: N818
    """Waiting took too long, or the deadline had passed."""


class Unreachable(HitlError):  # noqa: N818
    """The server cannot be reached, or refused the token."""


class RunFailed(HitlError):  # noqa: N818
    """The answer is no: the run failed, was rejected or was canceled."""


class NotDone(HitlError):  # noqa: N818
    """It could not be done, or was not wanted after all; nothing was changed."""
