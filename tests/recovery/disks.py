"""What a disk holds after a power failure: worked out from what processes wrote and synced, as strace saw it."""

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

CALLS = "openat,mkdir,write,pwrite64,ftruncate,fsync,fdatasync,unlink,sendto"

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


def trace(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> list[Event]:
    """Run a command to its end under strace, and return what it and its children did to files."""
    path = tracer()
    assert path is not None
    wrapped = [path, "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log), *command]
    subprocess.run(wrapped, env=dict(env), cwd=cwd, check=True, capture_output=True, timeout=100)
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
        elif event.kind == "sync" and Path(path) != self.root and path not in self.unsynced:
            self._sync_folder(path)
        elif event.kind == "sync":
            self._sync(path, event.begun)

    def _sync(self, path: str, begun: int) -> None:
        """Move to disk what was written to a file, or into a folder, before the sync began."""
        if any(Path(known).parent == Path(path) for known in self.unsynced):
            self._sync_folder(path)
        done = [event for number, event in self.unsynced.get(path, []) if number < begun]
        self.synced[path] = applied(self.synced.get(path, b""), done)
        self.unsynced[path] = [(n, event) for n, event in self.unsynced.get(path, []) if n >= begun]

    def _sync_folder(self, path: str) -> None:
        self.names |= {known for known in self.unsynced if Path(known).parent == Path(path)}

    def dirty(self, path: Path) -> bool:
        """Whether something was written to a file that is not on disk, or the file's name is not."""
        return bool(self.unsynced.get(str(path))) or not self.found_again(path)

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
