"""Errors of the database file. Each message is a sentence for a person.

Programs use the `code` (docs/reference/errors.md).
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine could not answer. Nothing was changed."""

    code = "storage-failed"


class FileUnusable(EngineError):
    """The file cannot be opened, read or written, or is not a database of hitl."""

    code = "file-unusable"


class StorageFailed(EngineError):
    """An operation on the open file failed."""


class FileMoved(StorageFailed):
    """The file was removed or replaced while it was open.

    `another` tells whether a file at the path can be opened now.
    """

    code = "file-moved"

    def __init__(self, message: str, *, another: bool) -> None:
        super().__init__(message)
        self.another = another


class FormatChanged(StorageFailed):
    """A newer version has upgraded the file that this process has open, so this process must stop."""

    code = "format-changed"


class BackupFailed(EngineError):
    """The copy could not be made or is not intact. No file with its name was left."""

    code = "backup-failed"


class AlreadyThere(EngineError):
    """A file with that name exists already; it was not touched."""

    code = "already-exists"


class KeyUnusable(EngineError):
    """The public key for tokens cannot be read or is not a key."""

    code = "bad-key"
