"""What can go wrong for the person at the other end. The message is the sentence they see.

Programs read the code, which never changes, while the sentence may. docs/reference/errors.md lists all codes.
A class has one, and `code=` gives a finer one where a class says several things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class HitlError(Exception):
    """A failure that a person is told about in one sentence; `lines` may list what it speaks of.

    `exit_code` is what the command exits with.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, lines: Sequence[str] = (), *, code: str | None = None) -> None:
        super().__init__(message)
        self.lines = tuple(lines)
        if code is not None:
            self.code = code


class BadInput(HitlError):
    """What was typed, or what a file or a setting says, makes no sense.

    `problems` may say what is wrong where: a path into what was given, and a sentence.
    """

    code = "bad-input"
    exit_code = 2

    def __init__(
        self,
        message: str,
        lines: Sequence[str] = (),
        problems: Sequence[tuple[str, str]] = (),
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(message, lines, code=code)
        self.problems = tuple(problems)


class BadUsage(BadInput):
    """Options or arguments are missing, exclude each other, or have a value that is not known."""

    code = "bad-usage"


class NotAwaited(BadInput, AttributeError):
    """A workflow used what it has to await first."""

    code = "not-awaited"


class BadQuery(BadInput):
    """A parameter of a URL is not known, or has a value that it cannot have."""

    code = "bad-query"


class BadJson(BadInput):
    """A text is not JSON, or not the document that is expected."""

    code = "bad-json"


class BadName(BadInput):
    """A run, a person, a request or a tag cannot have this name."""

    code = "bad-name"


class BadServer(BadInput):
    """The address of the server cannot be used."""

    code = "bad-server"


class BadSetting(BadInput):
    """The settings file cannot be read, or a setting in it cannot be used."""

    code = "bad-setting"


class BadKey(BadInput):
    """The keys that sign links, or the key that checks tokens, cannot be used."""

    code = "bad-key"


class BadApp(BadInput):
    """The file or module with workflows cannot be loaded."""

    code = "bad-app"


class BadAnswer(BadInput):
    """The request does not take this kind of answer."""

    code = "bad-answer"


class DoesNotFit(BadInput):
    """The data of an answer does not fit the form of the request."""

    code = "does-not-fit-form"


class TooLarge(BadInput):
    """What was sent has more bytes than are taken."""

    code = "too-large"


class NotFound(HitlError):
    """There is no such workflow, promise or request."""

    code = "not-found"
    exit_code = 3


class Conflict(HitlError):
    """It was already decided or started otherwise; nothing was changed."""

    code = "conflict"
    exit_code = 4


class NotAllowed(HitlError):
    """It is for others to answer; nothing was changed."""

    code = "not-allowed"
    exit_code = 7


class TimedOut(HitlError):
    """Waiting took too long, or the deadline had passed."""

    code = "deadline-passed"
    exit_code = 5


class Unreachable(HitlError):
    """The server cannot be reached, or refused the token."""

    code = "server-unreachable"
    exit_code = 6


class RunFailed(HitlError):
    """The answer is no: the run failed, was rejected or was canceled."""

    code = "run-failed"


class QuestionChanged(HitlError):
    """The same code asks something else when it runs again, or uses the answer to a question otherwise."""

    code = "question-changed"


class NotDone(HitlError):
    """It could not be done, or was not wanted after all; nothing was changed."""

    code = "not-done"


class UnsupportedSdk(NotDone):
    """The installed resonate-sdk lacks names that a worker uses, or has changed them; nothing was changed.

    Neither what was typed nor a setting is wrong (exit 2), and a server that comes back does not help (6).
    """

    code = "unsupported-sdk"


def logged(error: BaseException) -> str:
    """Return the message of an error for a log line, with its code where it has one."""
    return f"{error} (code={error.code})" if isinstance(error, HitlError) else str(error)
