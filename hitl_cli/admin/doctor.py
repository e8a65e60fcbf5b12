"""`hitl doctor`: checks the settings, the server and its file, and reports findings.

It is read-only: it creates and upgrades nothing, and fires no deadline or timer that is due.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import stat
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli import __version__, defaults
from hitl_cli.admin.database_checks import JUDGES as DATABASE_JUDGES
from hitl_cli.admin.database_checks import DatabaseDriver
from hitl_cli.client.connect import connect, driver_of, shown_url
from hitl_cli.client.protocol import OK, as_page, call, check_ids, get_promise
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.engine.doorbell import Ringer
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.inspection import Inspection, group_of, inspect
from hitl_cli.engine.records import PROTOCOL_VERSION
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import HitlError, Unreachable
from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.format.shell import quoted
from hitl_cli.format.sizes import format_size
from hitl_cli.views.doctor import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitl_cli.engine.inspection import Offered
    from hitl_cli.postgres.facts import Facts, Work  # noqa: TC004 - it imports psycopg, and is never decoded
    from hitl_cli.remote.client import RemoteClient

LONG_MS = 60_000
"""How long a task may be on offer or a lease expired before it is a problem: workers need seconds."""

SKEW_MS = 5_000
"""How far this machine's clock may be behind the file's. A time server can make it jump so far."""

TASK_STATES = {"pending": "waiting for a worker", "acquired": "running", "suspended": "waiting for a result"}
"""The states of a task in words."""

FAR_SKEW_MS = 3_600_000
LOG_MB = 128
LOW_DISK = 1_000_000_000
NO_DISK = 50_000_000
PAGE = 100
"""Promises to ask for, from a server that cannot count."""

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    }
)
"""File systems on which locks or shared memory may not reach every process that opens the file."""

HOST_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "drvfs",
        "fakeowner",
        "fuse.grpcfuse",
        "fuse.osxfs",
        "fuse.vmhgfs-fuse",
        "grpcfuse",
        "osxfs",
        "prl_fs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""The same for folders shared by a host with its virtual machine: Docker Desktop, WSL, VirtualBox, VMware
…"""


_MORE = Finding("more", "ok", "for files, sizes and stuck runs, run hitl doctor on the server's machine")


class Report(Struct, frozen=True, kw_only=True):
    """The findings. `worker`: whether a worker of the group is listening; None if unknown."""

    findings: list[Finding]
    worker: bool | None
    file: Inspection | None = None
    database: Facts | None = None
    failure: HitlError | None = None


def examine(url: str, token: str | None, group: str, *, full: bool = False) -> Report:
    """Check everything. Raises BadServer for an invalid URL."""
    driver = driver_of(url)
    if isinstance(driver, DatabaseDriver):
        return _examine_database(driver, url, group, full=full)
    path = driver.file(url)
    return _examine_server(url, token) if path is None else _examine_file(path, group, full=full)


def examine_gateway(gateway: RemoteClient, group: str) -> Report:
    """Check a gateway that is used in place of a server."""
    findings, worker = [_versions()], None
    try:
        me = gateway.me
        can = ", ".join(sorted(me.may))
        findings.append(
            Finding("gateway", "ok", f"{gateway.name} takes you for {me.person}, who may {can or 'nothing'}")
        )
        worker = gateway.has_worker(group) if "read" in me.may else None
    except HitlError as error:
        findings.append(Finding("gateway", "error", str(error)))
        return Report(findings=findings, worker=None, failure=error)
    if worker is not None:
        findings.append(_worker(group, listens=worker))
    findings.append(_MORE)
    return Report(findings=findings, worker=worker)


def _versions(**more: str) -> Finding:
    parts = {
        "hitl": __version__,
        "resonate-sdk": version("resonate-sdk"),
        "protocol": PROTOCOL_VERSION,
        "SQLite": sqlite3.sqlite_version,
        "Python": platform.python_version(),
        **more,
    }
    return Finding("versions", "ok", ", ".join(f"{name} {number}" for name, number in parts.items()))


# A server over HTTP: facts from the protocol


def _examine_server(url: str, token: str | None) -> Report:
    """Check a server over HTTP."""
    findings = [_versions()]
    try:
        with connect(url, token) as client:
            get_promise(client, "hitl-doctor")
            findings.append(Finding("server", "ok", f"{shown_url(url)} answers"))
            check_ids(client)
            answer = call(client, "promise.search", state="pending", tags=EXTERNAL, limit=PAGE)
            if answer.status != OK:
                findings.append(Finding("waiting", "warning", f"searching failed: {answer.message()}"))
            else:
                page = as_page(answer)
                more = " or more" if page.cursor else ""
                findings.append(Finding("waiting", "ok", _waiting(f"{len(page.promises)}{more}")))
    except HitlError as error:
        findings.append(Finding("server", "error", str(error)))
        return Report(findings=findings, worker=None, failure=error)
    findings.append(_MORE)
    return Report(findings=findings, worker=None)


# A database


def _examine_database(driver: DatabaseDriver, url: str, group: str, *, full: bool) -> Report:
    """Check a PostgreSQL database."""
    try:
        facts = driver.facts(url, group, full=full)
    except Unreachable as error:
        findings = [_versions(), Finding("server", "error", str(error))]
        return Report(findings=findings, worker=None, failure=error)
    name, found = shown_url(url), facts.installed
    findings = [
        _versions(PostgreSQL=found.server_version),
        Finding("server", "ok", f"{name} answers"),
        *(finding for judge in DATABASE_JUDGES for finding in judge(facts)),
    ]
    if facts.work is None:
        failure = Unreachable(f"{name}: {found.problems[0]}.", code="not-prepared")
        return Report(findings=findings, worker=None, database=facts, failure=failure)
    for judge in WORK_JUDGES:
        findings += judge(facts.work, facts.work.now)
    findings.append(_worker(group, listens=bool(facts.worker)))
    return Report(findings=findings, worker=facts.worker, database=facts)


# A file


def _worker(group: str, *, listens: bool) -> Finding:
    alone = "" if listens else "; that is fine while no run needs one"
    return Finding("worker", "ok", f"{'a' if listens else 'no'} worker is listening for group {group}{alone}")


def _examine_file(path: Path, group: str, *, full: bool) -> Report:
    """Check a file."""
    with closing(Ringer(path)) as ringer:
        worker = ringer.hears(group)
    workers = _worker(group, listens=worker)
    if not path.exists():
        return Report(findings=[_versions(), _missing(path), workers], worker=worker)
    now = now_ms()
    try:
        file = inspect(path, now, full=full)
    except EngineError as error:
        failure = Unreachable(str(error), code=error.code)
        findings = [_versions(), Finding("file", "error", str(error))]
        return Report(findings=findings, worker=worker, failure=failure)
    findings = [_versions(), *(finding for judge in JUDGES for finding in judge(file, now))]
    return Report(findings=[*findings, workers], worker=worker, file=file)


def _missing(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        return Finding("file", "error", f"{path} does not exist and cannot be created", "use another file")
    return Finding("file", "ok", f"{path} does not exist yet; the first command that needs it creates it")


def _judge_format(file: Inspection, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Check the file's format."""
    if file.format == file.newest_format:
        yield Finding("format", "ok", f"{file.format}, the newest that this hitl supports")
        return
    yield Finding(
        "format",
        "warning",
        f"{file.format}; this hitl writes {file.newest_format}, so the content of the file was not checked",
        "the next command upgrades it: stop older workers first, and make a copy with hitl backup",
    )


def _judge_integrity(file: Inspection, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Check the file for damage."""
    if file.damage is None:
        yield Finding(
            "integrity", "ok", "not checked, because the file is large: hitl doctor --full checks it"
        )
    elif file.damage:
        yield Finding(
            "integrity",
            "error",
            f"the file is damaged: {'; '.join(file.damage[:3])}",
            "stop all workers, copy the file as it is, and restore a backup (docs/guides/backup.md)",
        )
    else:
        yield Finding("integrity", "ok", "no damage found")


def _judge_size(file: Inspection, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Report the sizes of the file and its log."""
    free = f", {format_size(file.free_in_file)} of it free" if file.free_in_file else ""
    yield Finding("size", "ok", f"{format_size(file.size)}{free}; log {format_size(file.log_size)}")
    if file.log_size > LOG_MB * 1_000_000:
        yield Finding(
            "log",
            "warning",
            f"the write-ahead log is {format_size(file.log_size)}",
            "a reader has kept a transaction open: look for a backup or an open sqlite3 shell",
        )


def _judge_counts(file: Inspection | Work, now: int) -> Iterator[Finding]:
    """Report how many promises, runs and tasks there are."""
    counts = file.counts
    if counts is None:
        return

    def shown(number: int | None) -> str:
        return "too many to count" if number is None else f"{number:,}"

    parts = f"{shown(counts.promises)} promises (runs, steps and requests), {shown(counts.runs)} of them runs"
    yield Finding("promises", "ok", parts)
    states = ", ".join(
        f"{number:,} {TASK_STATES.get(state, state)}"
        for state, number in sorted((counts.tasks or {}).items())
    )
    yield Finding("tasks", "ok", f"unfinished: {states}" if states else "all are finished")
    oldest = ""
    if file.oldest_waiting is not None:
        id, since = file.oldest_waiting
        oldest = f"; the oldest is {id}, waiting for {format_age(now - since)}"
    yield Finding("waiting", "ok", _waiting(shown(counts.waiting)) + oldest)


def _waiting(number: str) -> str:
    return f"{number} {'request is' if number == '1' else 'requests are'} waiting for a decision"


def _judge_offers(file: Inspection | Work, now: int) -> Iterator[Finding]:
    """Check for tasks that no worker takes."""
    for offer in file.offered:
        if not offer.heard:
            yield _unheard(offer, now)
        elif now - offer.since > LONG_MS:
            yield Finding(
                "offers",
                "warning",
                f"{_offered_for(offer, now)}, though one is running",
                "it is busy, or lacks the workflow: hitl status names it, hitl worker --app FILE serves it",
            )


def _unheard(offer: Offered, now: int) -> Finding:
    """Return the finding for tasks that no worker is listening for."""
    if not offer.address.startswith("poll://"):
        advice = "hitl server, or pg_net in PostgreSQL, delivers to such addresses: is it running?"
        return Finding("offers", "warning", _offered_for(offer, now), advice)
    group = group_of(offer.address)
    option = "" if group == defaults.GROUP else f" --group {quoted(group)}"
    text = f"{_offered_for(offer, now)}, and none is running"
    return Finding("offers", "warning", text, f"start one: hitl worker{option}")


def _offered_for(offer: Offered, now: int) -> str:
    tasks = "1 task has" if offer.count == 1 else f"{offer.count:,} tasks have"
    of = (
        f"of group {group_of(offer.address)}"
        if offer.address.startswith("poll://")
        else f"at {offer.address}"
    )
    return f"{tasks} been waiting {format_age(now - offer.since)} for a worker {of}"


def _judge_leases(file: Inspection | Work, now: int) -> Iterator[Finding]:
    """Check for expired leases; any process that uses the file takes them back."""
    if file.lapsed is not None and now - file.lapsed[1] > LONG_MS:
        count, first = file.lapsed
        yield Finding(
            "leases",
            "warning",
            f"{count:,} are held by workers that died, the first for {format_age(now - first)}",
            "no worker is running: the next one to start takes them over",
        )


def _judge_stranded(file: Inspection | Work, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Check for suspended tasks that nothing will resume."""
    if file.stranded:
        names = ", ".join(file.stranded)
        yield Finding(
            "suspended",
            "error",
            f"suspended, with nothing to resume them: {names}",
            "please report this as a bug. hitl cancel ends such a run",
        )


def _judge_clock(file: Inspection, now: int) -> Iterator[Finding]:
    """Compare the machine's clock with the latest instant in the file."""
    ahead = file.now - now
    if ahead <= SKEW_MS:
        yield Finding("clock", "ok", "not behind the file")
        return
    yield Finding(
        "clock",
        "error" if ahead > FAR_SKEW_MS else "warning",
        f"this machine's clock is {format_duration(ahead)} behind the latest instant in the file",
        "set the clock. If it was ahead before and is right now, see docs/explanation/durability.md",
    )


def _judge_permissions(file: Inspection, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Check who may read and write the file."""
    if not file.writable:
        yield Finding(
            "permissions",
            "error",
            "you may not write to the file or its folder",
            "ask its owner for access, or use another file",
        )
    elif file.lock is not None:
        yield Finding(
            "permissions",
            "error",
            f"the file cannot be locked for writing: {file.lock}",
            "another process holds a transaction: an sqlite3 shell, or an upgrade of the file",
        )
    mode, folder = stat.S_IMODE(file.mode), stat.S_IMODE(file.folder_mode)
    database = quoted(str(file.path))
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "permissions",
            "warning",
            f"other users may open the file ({mode:04o}), and so decide any request as anyone",
            f"if that is not intended: chmod 600 {database}*",
        )
    if folder & (stat.S_IWGRP | stat.S_IWOTH) and not folder & stat.S_ISVTX:
        yield Finding(
            "permissions",
            "warning",
            f"other users may replace the file (its folder is {folder:04o})",
            f"if that is not intended: chmod 700 {quoted(str(file.path.parent))}",
        )


def judge_file_system(file: Inspection, now: int) -> Iterator[Finding]:  # noqa: ARG001
    """Check the file system and the free space."""
    if file.file_system in NETWORK_FILE_SYSTEMS:
        yield Finding(
            "file system",
            "warning",
            f"{file.file_system} is shared between machines, where locks may not work",
            "move the file to a local disk (docs/guides/workers.md), and use hitl server from other machines",
        )
    if file.file_system in HOST_FILE_SYSTEMS:
        yield Finding(
            "file system",
            "warning",
            f"{file.file_system} is a folder of the host machine, where locks may not work",
            "keep the file on this machine's disk: in Docker a volume (docker volume create), no bind mount",
        )
    left = f"{format_size(file.disk_free)} left on the disk"
    level: Level = "error" if file.disk_free < NO_DISK else "warning" if file.disk_free < LOW_DISK else "ok"
    advice = None if level == "ok" else "free some space: no decision can be stored when the disk is full"
    yield Finding("disk", level, left, advice)


WORK_JUDGES: tuple[Callable[[Inspection | Work, int], Iterator[Finding]], ...] = (
    _judge_counts,
    _judge_offers,
    _judge_leases,
    _judge_stranded,
)
JUDGES: tuple[Callable[[Inspection, int], Iterator[Finding]], ...] = (
    _judge_format,
    _judge_integrity,
    _judge_size,
    *WORK_JUDGES,
    _judge_clock,
    _judge_permissions,
    judge_file_system,
)
