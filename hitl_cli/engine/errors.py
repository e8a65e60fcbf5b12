"""What can be wrong with the file. Each exception's message is a sentence for the person who sees it."""

from __future__ import annotations


class EngineError(Exception):
    """The engine could not answer, and nothing was changed."""


class FileUnusable(EngineError):
    """The file cannot be opened, read or written, or is not ours."""


class StorageFailed(EngineError):
    """The file was open and an operation on it failed."""


class FileMoved(StorageFailed):
    """The file was removed, or another one put in its place, while it was open.

    `another` says whether there is one now that can be opened.
    """

    def __init__(self, message: str, *, another: bool) -> None:
        super().__init__(message)
        self.another = another


class FormatChanged(StorageFailed):
    """A newer version upgraded the file while this process had it open, which can go on no more."""


class BackupFailed(EngineError):
    """The copy could not be made, or is not what it should be; nothing was left under its name."""


class AlreadyThere(EngineError):
    """A file has that name already; it was not touched."""


class KeyUnusable(EngineError):
    """The public key for tokens cannot be read, or is none."""
