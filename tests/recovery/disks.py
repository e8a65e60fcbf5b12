"""The content of a disk after a power failure, from the writes and syncs that strace saw."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

CALLS = "openat,mkdir,write,pwrite64,ftruncate,fsync,fdatasync,unlink"

LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
FINISHED = re.compile(r"^(?P<call>\w+)\((?P<args>.*)\) += (?P<result>-?\d+)")
WRITE = re.compile(r'^\d+<(?P<path>[^>]*)>, "(?P<data>[^"]*)", \d+(?:, (?P<offset>\d+))?$')
TRUNCATE = re.compile(r"^\d+<(?P<path>[^>]*)>, (?P<size>\d+)$")
SYNC = re.compile(r"^\d+<(?P<path>[^>]*)>$")
NAMED = re.compile(r'^(?:AT_FDCWD[^,]*, )?"(?P<path>[^"]*)"(?P<rest>.*)$')

type Kind = Literal["begin", "write", "truncate", "sync", "create", "unlink"]


@dataclass(frozen=True)
class Event:
    """One thing that a process did to a file, in the order in which it was done."""

    kind: Kind
    path: str
    pid: int
    data: bytes = b""
    offset: int | None = None
    """Where it was written; None for the end of the file. For `truncate`, the new size."""
    begun: int = -1
    """For `sync`: how many events there were when it began."""


def tracer() -> str | None:
    """Return the path of strace if it works here, or None."""
    path = shutil.which("strace")
    if path is None:
        return None
    works = subprocess.run([path, "-f", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return path if works.returncode == 0 else None


def trace(
    command: Sequence[str], out: Path, env: Mapping[str, str], cwd: Path, *inject: str, code: int = 0
) -> list[Event]:
    """Run a command to its end under strace, and return what it and its children did to files.

    What it prints goes to the file `out`; it must exit with `code`. `inject` are faults, as strace has them.
    """
    path, log = tracer(), out.with_suffix(".strace")
    assert path is not None
    wrapped = [path, "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log)]
    wrapped += [part for fault in inject for part in ("-e", f"inject={fault}")]
    with out.open("wb") as printed:
        done = subprocess.run(
            [*wrapped, *command], env=dict(env), cwd=cwd, check=False, stdout=printed, timeout=100
        )
    assert done.returncode == code
    return list(read(log.read_text()))


def read(log: str) -> Iterator[Event]:
    """Yield the events of a log of strace."""
    begun: dict[int, tuple[str, int]] = {}
    count = 0
    for line in log.splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        pid, text = int(found["pid"]), found["rest"]
        began = count
        if text.endswith("<unfinished ...>"):
            begun[pid] = (text.removesuffix("<unfinished ...>").rstrip(), count)
            continue
        if (resumed := RESUMED.match(text)) is not None:
            start, began = begun.pop(pid)
            text = start + resumed["rest"]
        call = FINISHED.match(text)
        if call is None or int(call["result"]) < 0:
            continue
        event = event_of(call["call"], call["args"].strip(), pid, began)
        if event is not None:
            count += 1
            yield event


def event_of(call: str, args: str, pid: int, began: int) -> Event | None:
    """Return what a system call did, if that matters here."""
    if call in ("write", "pwrite64") and (found := WRITE.match(args)) is not None:
        offset = None if found["offset"] is None else int(found["offset"])
        return Event("write", name(found["path"]), pid, unhex(found["data"]), offset)
    if call in ("fsync", "fdatasync") and (found := SYNC.match(args)) is not None:
        return Event("sync", name(found["path"]), pid, begun=began)
    if call == "ftruncate" and (found := TRUNCATE.match(args)) is not None:
        return Event("truncate", name(found["path"]), pid, offset=int(found["size"]))
    if call in ("openat", "mkdir", "unlink") and (found := NAMED.match(args)) is not None:
        path = name(found["path"])
        if call == "unlink":
            return Event("unlink", path, pid)
        if call == "mkdir" or "O_CREAT" in found["rest"]:
            return Event("create", path, pid)
    return None


def name(text: str) -> str:
    """Return a path, which only some versions of strace write in hexadecimal."""
    return unhex(text).decode() if text.startswith("\\x") else text


def unhex(text: str) -> bytes:
    """Return the bytes of a string as `strace -xx` writes it."""
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """Files, what of them is on disk, and what is not yet. Only what lies below `root` is followed."""

    root: Path
    synced: dict[str, bytes] = field(default_factory=dict)
    unsynced: dict[str, list[tuple[int, Event]]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Files and folders that are found again after a power failure."""
    _events: int = 0
    _before: int = 0

    def follow_all(self, events: Sequence[Event]) -> None:
        """Take all events of one trace into account; another one may follow."""
        for event in events:
            self.follow(event)
        self._before = self._events

    def follow(self, event: Event) -> None:
        """Take one event into account."""
        number, self._events = self._events, self._events + 1
        path = event.path
        if not path.startswith(str(self.root)):
            return
        if event.kind in ("write", "truncate"):
            self.unsynced.setdefault(path, []).append((number, event))
        elif event.kind == "unlink":
            for known in (self.synced, self.unsynced):
                known.pop(path, None)
            self.names.discard(path)  # at worst; what is unlinked is never needed again
        elif event.kind == "create":
            self.unsynced.setdefault(path, [])
        else:
            self._sync(path, self._before + event.begun)

    def _sync(self, path: str, begun: int) -> None:
        """Move to disk what was written to a file, or into a folder, before the sync began."""
        self.names |= {known for known in self.unsynced if Path(known).parent == Path(path)}
        done = [event for number, event in self.unsynced.get(path, []) if number < begun]
        self.synced[path] = applied(self.synced.get(path, b""), done)
        self.unsynced[path] = [(n, event) for n, event in self.unsynced.get(path, []) if n >= begun]

    def waits(self, path: Path, pid: int) -> bool:
        """Whether a process has written to a file what is not on disk yet. Cutting it is no writing."""
        return any(e.pid == pid and e.kind == "write" for _, e in self.unsynced.get(str(path), []))

    def found_again(self, path: Path) -> bool:
        """Whether a file, and each folder on the way to it, is found again."""
        way = [path, *path.parents]
        return all(str(part) in self.names for part in way[: way.index(self.root)])

    def after_power_failure(self, path: Path, chance: random.Random, kept: float) -> bytes:
        """Return a file as it may be then: of what was not synced, each sector is there by that chance."""
        events = []
        for _, event in self.unsynced.get(str(path), []):
            if event.kind == "truncate":
                events += [event] if chance.random() < kept else []
            else:
                events += [part for part in sectors(event) if chance.random() < kept]
        return applied(self.synced.get(str(path), b""), events)


def sectors(event: Event) -> Iterator[Event]:
    """Yield a write, sector by sector."""
    assert event.offset is not None
    at, end = event.offset, event.offset + len(event.data)
    while at < end:
        upto = min(at - at % SECTOR + SECTOR, end)
        yield Event("write", event.path, event.pid, event.data[at - event.offset : upto - event.offset], at)
        at = upto


def applied(content: bytes, events: Sequence[Event]) -> bytes:
    """Return a file's content after some writes."""
    changed = bytearray(content)
    for event in events:
        if event.kind == "truncate":
            size = event.offset or 0
            del changed[size:]
            changed.extend(bytes(size - len(changed)))
            continue
        at = len(changed) if event.offset is None else event.offset
        changed.extend(bytes(max(at - len(changed), 0)))
        changed[at : at + len(event.data)] = event.data
    return bytes(changed)
