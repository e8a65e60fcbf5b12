"""What can be wrong with the file. Each exception's message is a sentence for the person who sees it."""

from __future__ import annotations


class EngineError(Exception):
    """The engine could not answer, and nothing was changed."""


class FileUnusable(EngineError):  # noqa: N818
    """The file cannot be opened, read or written, or is not ours."""


class StorageFailed(EngineError):  # noqa: N818
    """The file was open and an operation on it failed."""


class KeyUnusable(EngineError):  # noqa: N818
    """The public key for tokens cannot be read, or is none."""


class FileMoved(StorageFailed):
    """The file was removed, or another one put in its place, while it was open."""
