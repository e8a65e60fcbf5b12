"""Standard output and standard error that take whatever is printed.

A character that the encoding of a stream lacks is escaped as in JSON, so that JSON stays JSON. What a worker
or a server cannot print at all, because the disk is full or nobody reads, is lost: no step fails for it.
"""

from __future__ import annotations

import codecs
import io
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

ESCAPING = "hitl.escape"
"""The name under which codecs know `_escaped`."""

LOSSY = ("replace", "ignore", "backslashreplace", "xmlcharrefreplace", "namereplace")
"""What `PYTHONIOENCODING` may say is to be done instead."""


def escape_what_cannot_be_shown() -> None:
    """Have characters that stdout and stderr cannot encode escaped."""
    codecs.register_error(ESCAPING, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream is sys.stderr or stream.errors not in LOSSY):
            stream.reconfigure(errors=ESCAPING)


def lose_what_cannot_be_printed() -> None:
    """Have stdout and stderr take what they cannot write, and say once that it is lost."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _forgiving(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _forgiving(sys.stderr)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Return the escapes of characters that cannot be encoded: of 16 bits each, as JSON has them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _forgiving(stream: io.TextIOWrapper) -> TextIO:
    """Return a stream that writes to the same file, and never fails."""
    try:
        stream.flush()
        raw = _Forgiving(stream.fileno())
    except (OSError, ValueError):  # it is full or closed already, or no file
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=stream.line_buffering
    )


class _Forgiving(io.FileIO):
    """A file whose writes succeed, also where nothing is written."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._said = False

    def write(self, data: ReadableBuffer) -> int:
        """Write, or lose what cannot be written."""
        try:
            while (written := super().write(data)) is None:  # the file does not block, and takes nothing now
                select.select((), (self.fileno(),), ())
        except OSError as error:
            self._say(error)
            return memoryview(data).nbytes
        return written

    def _say(self, error: OSError) -> None:
        """Say on stderr, if that is another file, that output is lost."""
        stderr = sys.stderr
        if self._said or stderr is None or stderr.fileno() == self.fileno():
            return
        self._said = True
        print(f"hitl: output is lost ({error.strerror}); the work goes on", file=stderr, flush=True)
