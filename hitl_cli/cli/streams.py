"""Stdout and stderr that never fail.

A character that the encoding of a stream lacks is escaped as in JSON, so that JSON stays valid. If a worker
or a server cannot write its output (disk full, pipe closed), the output is lost, but no step fails.
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
"""The name of `_escaped` as an error handler of codecs."""

LOSSY = ("replace", "ignore", "backslashreplace", "xmlcharrefreplace", "namereplace")
"""Error handlers that a user may choose with `PYTHONIOENCODING`."""


def escape_what_cannot_be_shown() -> None:
    """Escape characters that stdout and stderr cannot encode."""
    codecs.register_error(ESCAPING, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream is sys.stderr or stream.errors not in LOSSY):
            stream.reconfigure(errors=ESCAPING)


def lose_what_cannot_be_printed() -> None:
    """Let stdout and stderr discard output that they cannot write, with one warning."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _forgiving(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _forgiving(sys.stderr)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Return the JSON escapes of characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _forgiving(stream: io.TextIOWrapper) -> TextIO:
    """Return a stream to the same file that never fails."""
    try:
        stream.flush()
        raw = _Forgiving(stream.fileno())
    except (OSError, ValueError):  # full, closed, or not a file
        return stream
    by_line = stream.line_buffering or stream.write_through  # a raw file, with PYTHONUNBUFFERED
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=by_line)


class _Forgiving(io.FileIO):
    """A file whose writes always succeed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._said = False

    def write(self, data: ReadableBuffer) -> int:
        """Write, or discard what cannot be written."""
        try:
            while (written := super().write(data)) is None:  # non-blocking and full for now
                select.select((), (self.fileno(),), ())
        except OSError as error:
            self._say(error)
            return memoryview(data).nbytes
        return written

    def _say(self, error: OSError) -> None:
        """Warn on stderr, if it is another file, that output is lost."""
        stderr = sys.stderr
        if self._said or stderr is None or stderr.fileno() == self.fileno():
            return
        self._said = True
        print(f"hitl: output is lost ({error.strerror}); work continues", file=stderr, flush=True)
