"""Maintenance of a database: back it up, and remove finished runs.

Both need the database itself, and are not part of the protocol.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hitl_cli.admin.database_checks import DatabaseDriver
from hitl_cli.client.connect import connect, driver_of, shown_url, split_url
from hitl_cli.engine.errors import AlreadyThere, BackupFailed, EngineError
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadInput, BadServer, Conflict, NotDone, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.engine.backup import Backup
    from hitl_cli.engine.backup import Progress as Copied
    from hitl_cli.engine.prune import Progress, Pruned
    from hitl_cli.proof.checkpoint import CheckpointSigner

SIGNED_BEFORE_MS = 60_000
"""The removal must begin within this time after the checkpoint that announces it."""


@contextmanager
def _file_of(url: str) -> Iterator[Path]:
    """Open the file that a server's URL names. Raises BadServer if it is not on this machine; Unreachable."""
    path = driver_of(url).file(url)
    if path is None:
        if split_url(url).scheme.startswith("http"):
            raise BadServer(
                f"{shown_url(url)} is reached over HTTP, and this command needs its file: run it there with"
                " -S sqlite:///path."
            )
        raise BadServer(f"{shown_url(url)} is not a file, and this command needs one.")
    if not path.exists():
        raise Unreachable(f"no file {path}.", code="file-unusable")
    try:
        yield path
    except EngineError as error:
        raise Unreachable(str(error), code=error.code) from error


def back_up(url: str, target: Path, *, replace: bool, progress: Copied) -> Backup:
    """Copy the server's file.

    Raises BadServer (the server is not a file), BadInput, Conflict (the target exists), Unreachable, NotDone.
    """
    from hitl_cli.engine import backup

    driver = driver_of(url)
    if isinstance(driver, DatabaseDriver):
        raise BadServer(
            f"{shown_url(url)} is a PostgreSQL database. As its owner, copy it with pg_dump, and check the"
            " copy in a database of its own",
            driver.backup_commands(url, target),
        )
    with _file_of(url) as source:
        if not target.parent.is_dir():
            raise BadInput(
                f"there is no folder {target.parent}: create it, or name another file.", code="bad-file"
            )
        try:
            return backup.back_up(source, target, replace=replace, progress=progress)
        except AlreadyThere as error:
            raise Conflict(f"{error} Nothing was changed; --force replaces it.", code=error.code) from error
        except BackupFailed as error:
            raise NotDone(f"{error} No backup was made.", code=error.code) from error


def prune(
    url: str,
    older_ms: int,
    progress: Progress = lambda _: None,
    *,
    dry_run: bool = False,
    signer: CheckpointSigner | None = None,
) -> Pruned:
    """Remove the runs that finished more than `older_ms` ago; with `dry_run` return what would be removed.

    If the history has checkpoints, `signer` first signs one that says what is removed. Raises BadInput,
    Unreachable.
    """
    driver = driver_of(url)
    if isinstance(driver, DatabaseDriver):
        _sign_removal(url, older_ms, None if dry_run else signer)
        return driver.prune(url, older_ms, progress, dry_run=dry_run)

    from hitl_cli.engine import prune as pruning

    with _file_of(url) as path:
        if dry_run:
            return pruning.plan(path, older_ms=older_ms, clock=now_ms)
        _sign_removal(url, older_ms, signer)
        return pruning.prune(path, older_ms=older_ms, clock=now_ms, progress=progress)


def _sign_removal(url: str, older_ms: int, signer: CheckpointSigner | None) -> None:
    """Sign a checkpoint that says which runs are removed, so that a check of the history accepts it."""
    if signer is None:
        return
    from hitl_cli.ledger.checkpoints import make
    from hitl_cli.ledger.log import Log

    with connect(url) as client:
        if Log(client).last() is not None:
            make(client, signer, pruned=max(client.now() - older_ms, 0) + SIGNED_BEFORE_MS)
