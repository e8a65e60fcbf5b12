"""The errors that users see. The message is the sentence that is shown.

Programs read the code, which is stable; the sentence may change. docs/reference/errors.md lists all codes.
Each class has a code, and `code=` sets a more specific one.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class HitlError(Exception):
    """A failure that is reported in one sentence; `lines` may add details, one per line.

    `exit_code` is the exit code of the command. `hint` is a sentence for users of the command line. `at` is
    the instant in the sentence (ms since the epoch, written by `iso`), so that a front end can show it in the
    reader's time zone.
    """

    code = "failed"
    exit_code = 1
    hint = ""

    def __init__(
        self,
        message: str,
        lines: Sequence[str] = (),
        *,
        code: str | None = None,
        at: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.lines = tuple(lines)
        self.at = at
        if hint:
            self.hint = hint
        if code is not None:
            self.code = code


class BadInput(HitlError):
    """Invalid input: on the command line, in a file or in the settings.

    `problems` may list the errors: the path of a value, and a sentence.
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
        at: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, lines, code=code, at=at, hint=hint)
        self.problems = tuple(problems)


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Prefix the messages of BadInput errors in the block with the key of a setting."""
    try:
        yield
    except BadInput as error:
        error.args = (f"{key}: {error}",)
        raise


class BadUsage(BadInput):
    """Options or arguments are missing, exclude each other, or have an unknown value."""

    code = "bad-usage"


class MissingExtra(BadUsage, ModuleNotFoundError):
    """A package that only an extra of hitl installs is missing, or cannot be imported."""

    code = "missing-extra"


class NotAwaited(BadInput, AttributeError):
    """A workflow used a result without awaiting it."""

    code = "not-awaited"


class BadQuery(BadInput):
    """A URL parameter is unknown or has an invalid value."""

    code = "bad-query"


class BadJson(BadInput):
    """A text is not JSON, or not the expected document."""

    code = "bad-json"


class BadName(BadInput):
    """An invalid name for a run, a person, a request or a tag."""

    code = "bad-name"


class BadServer(BadInput):
    """The URL of the server is invalid."""

    code = "bad-server"


class BadSetting(BadInput):
    """The settings file cannot be read, or has an invalid setting."""

    code = "bad-setting"


class BadKey(BadInput):
    """The keys that sign links, or the key that verifies tokens, are invalid."""

    code = "bad-key"


class BadApp(BadInput):
    """The file or module with workflows cannot be loaded."""

    code = "bad-app"


class BadAnswer(BadInput):
    """The request does not accept this kind of answer."""

    code = "bad-answer"


class BadProof(BadInput):
    """A signature does not prove that a person made this decision."""

    code = "bad-proof"


class NotSignable(BadInput):
    """A request or an answer has no canonical JSON, so it cannot be signed."""

    code = "not-signable"


class DoesNotFit(BadInput):
    """The data of an answer does not fit the form of the request."""

    code = "does-not-fit-form"


class TooLarge(BadInput):
    """The input exceeds a size limit."""

    code = "too-large"


class NotFound(HitlError):
    """There is no such run, request, promise or other object."""

    code = "not-found"
    exit_code = 3


class Conflict(HitlError):
    """Already decided or started differently; nothing was changed."""

    code = "conflict"
    exit_code = 4


class Unproven(Conflict):
    """A request that needs a proven decision was approved without valid proof."""

    code = "unproven"


class WrongHistory(HitlError):
    """The history on a server is not the one that was signed, or its log is damaged."""

    code = "history-wrong"


class NotCovered(Conflict):
    """An approval is used for something that was not approved, or too late, or a second time."""

    code = "not-covered"


class NotAllowed(HitlError):
    """The actor may not do this; nothing was changed."""

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
    """The run failed, was rejected or was canceled."""

    code = "run-failed"


class QuestionChanged(HitlError):
    """The code asks something else when it runs again, or uses a decision differently."""

    code = "question-changed"


class NotDone(HitlError):
    """The action failed or was canceled; nothing was changed."""

    code = "not-done"


class UnsupportedSdk(NotDone):
    """The installed resonate-sdk lacks names that a worker needs, or has changed them; nothing was changed.

    Neither the input (exit 2) nor the server (exit 6) is the cause.
    """

    code = "unsupported-sdk"


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Raise MissingExtra, with what to install, for an import within the block that fails."""
    try:
        yield
    except MissingExtra:
        raise
    except ImportError as error:
        raise MissingExtra(
            f"the extra {name} is not installed here ({error}): pip install 'resonate-hitl[{name}]'."
        ) from error


def cannot_listen(address: str, error: OSError, option: str = "--port") -> BadInput:
    """Return the error for an address that cannot be listened on; `option` chooses another one."""
    reasons = {
        errno.EADDRINUSE: f"the port is in use; choose another with {option}",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.EACCES: f"the port needs privileges; choose one above 1023 with {option}",
    }
    reason = reasons.get(error.errno or 0) or error.strerror or str(error)
    return BadInput(f"cannot listen on {address}: {reason}.", code="cannot-listen")


def certificate_fault(error: BaseException | None) -> str | None:
    """Return why the certificate of a server was refused; None if that is not the cause of an error."""
    while error is not None:
        if said := getattr(error, "verify_message", None):  # an error of ssl, recognized without importing it
            return f"its certificate is refused: {str(said).removesuffix('.')}"
        error = error.__cause__ or error.__context__
    return None


class LoggedError(str):
    """The message of an error for a log line, with its `code` for log lines in JSON."""

    __slots__ = ("code",)
    code: str


def logged(error: BaseException) -> str:
    """Return the message of an error for a log line, with its code if it has one."""
    if not isinstance(error, HitlError):
        return str(error)
    text = LoggedError(f"{error} (code={error.code})")
    text.code = error.code
    return text
