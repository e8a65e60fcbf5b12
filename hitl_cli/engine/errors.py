"""What can be wrong with the file. Each exception's message is a sentence for the person who sees it.

Its `code` is for programs (docs/reference/errors.md).
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine could not answer, and nothing was changed."""

    code = "storage-failed"


class FileUnusable(EngineError):
    """The file cannot be opened, read or written, or is not ours."""

    code = "file-unusable"


class StorageFailed(EngineError):
    """The file was open and an operation on it failed."""


class FileMoved(StorageFailed):
    """The file was removed, or another one put in its place, while it was open.

    `another` says whether there is one now that can be opened.
    """

    code = "file-moved"

    def __init__(self, message: str, *, another: bool) -> None:
        super().__init__(message)
        self.another = another


class FormatChanged(StorageFailed):
    """A newer version upgraded the file while this process had it open, which can go on no more."""

    code = "format-changed"


class BackupFailed(EngineError):
    """The copy could not be made, or is not what it should be; nothing was left under its name."""

    code = "backup-failed"


class AlreadyThere(EngineError):
    """A file has that name already; it was not touched."""

    code = "already-exists"


class KeyUnusable(EngineError):
    """The public key for tokens cannot be read, or is none."""

    code = "bad-key"
