"""The SQLite file: opening it safely, and what the rules read and write in one transaction.

One `Store` is one connection and belongs to one thread at a time. Any number of stores in any number of
processes share the file: WAL mode, one writer at a time, every commit synced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.engine import disk, search
from hitl_cli.engine.connection import Connection, close_beside_others, close_inherited, opening
from hitl_cli.engine.errors import FileUnusable, FormatChanged, StorageFailed
from hitl_cli.engine.file_clock import Instant, following
from hitl_cli.engine.records import Promise, Schedule, Standing, Task
from hitl_cli.engine.write_ahead_log import WriteAheadLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hitl_cli.engine.records import PromiseSearch, PromiseState, ScheduleSearch, TaskSearch

FORMAT = 5
"""The format of the files that this code reads and writes: the number of the last script in sql/. A newer
version that is installed while this code runs adds scripts, which this code must not apply."""

APPLICATION_ID = 0x6869746C
"""'hitl' in the file's header, which distinguishes it from other programs' databases."""

LOCK_WAIT_S = 20.0
"""How long a transaction waits for another process's. One takes milliseconds; this is for a machine that is
suspended or very busy."""

LOCK_FIRST_LOOK_S = 0.0001
LOCK_FIRST_SHARE = 1 / 4
LOCK_LOOK_S = 0.001
"""Pauses before a lock is tried again: a quarter of the wait so far, up to this. A commit holds it for about
a millisecond. SQLite's own busy handler soon waits 100 ms, and then gets no turn while others do."""

LOCK_LOOK_SHARE = 1 / 20
LOCK_LOOK_MAX_S = 0.05
"""Longer pauses in a long wait, so that many waiting processes leave time to the one that has the lock."""

PRIMARY_CODE = 0xFF
"""The part of SQLite's extended result codes that is the kind of error."""

CACHE_KIB = 64 * 1024

PROMISE = (
    "p.seq, p.id, p.state, p.param, p.value, p.tags, p.timeout_at, p.created_at, p.settled_at,"
    " p.target, p.timer, p.external, p.open, p.root, p.owner"
)
TASK = "t.seq, t.state, t.version, t.address, t.pid, t.ttl, t.due, t.resumes"
TASK_COLUMNS = 8

PROMISE_BY_ID = f"SELECT {PROMISE} FROM promises p WHERE id = ?"
INSERT_PROMISE = (
    "INSERT INTO promises (id, state, param, value, tags, timeout_at, created_at, settled_at,"
    " target, timer, external, open, root, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SETTLE_PROMISE = "UPDATE promises SET state = ?, value = ?, settled_at = ? WHERE seq = ?"
CREATED_BY = f"SELECT {PROMISE} FROM promises p WHERE owner = ? ORDER BY seq"

TASK_BY_ID = f"SELECT {TASK}, {PROMISE} FROM promises p JOIN tasks t ON t.seq = p.seq WHERE p.id = ?"
STANDING = f"SELECT {TASK}, p.state, p.timeout_at FROM promises p JOIN tasks t ON t.seq = p.seq"
STANDING_BY_ID = f"{STANDING} WHERE p.id = ?"
STANDING_BY_SEQ = f"{STANDING} WHERE p.seq = ?"
INSERT_TASK = "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE_TASK = (
    "UPDATE tasks SET state = ?, version = ?, address = ?, pid = ?, ttl = ?, due = ?, resumes = ?"
    " WHERE seq = ?"
)
PUT_OFF_TASK = "UPDATE tasks SET due = ? WHERE seq = ?"
COUNT_RESUME = "UPDATE tasks SET resumes = resumes + 1 WHERE seq = ?"
FULFILL_TASK = (
    "UPDATE tasks SET state = 'fulfilled', pid = NULL, ttl = NULL, due = NULL, resumes = 0 WHERE seq = ?"
)

ADD_CALLBACK = "INSERT OR IGNORE INTO callbacks VALUES (?, ?)"
TAKE_CALLBACKS = "DELETE FROM callbacks WHERE awaited = ? RETURNING awaiter"
LISTENED = "SELECT EXISTS (SELECT 1 FROM listeners)"
ADD_LISTENER = "INSERT OR IGNORE INTO listeners VALUES (?, ?)"
TAKE_LISTENERS = "DELETE FROM listeners WHERE promise = ? RETURNING address"
ADD_UNBLOCK = "INSERT OR IGNORE INTO unblocks (address, promise) VALUES (?, ?)"
DROP_UNBLOCK = "DELETE FROM unblocks WHERE address = ? AND promise = ?"

SCHEDULE = (
    "s.id, s.cron, s.promise_id, s.promise_timeout, s.promise_param, s.promise_tags,"
    " s.created_at, s.next_run_at, s.last_run_at, s.catch_up"
)
SCHEDULE_BY_ID = f"SELECT {SCHEDULE} FROM schedules s WHERE id = ?"
PUT_SCHEDULE = "INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

TAG = "INSERT OR IGNORE INTO tags VALUES (?, ?, ?)"
COUNT_TAGGED = "SELECT count(*) FROM (SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT ?)"
OVERDUE = (
    f"SELECT {PROMISE} FROM promises p INDEXED BY promises_pending"
    " WHERE state = 'pending' AND timeout_at <= ?"
)

OVERDUE_EXTERNAL = (
    f"SELECT {PROMISE} FROM promises p WHERE state = 'pending' AND external = 1 AND timeout_at <= ?"
)

DUE_PROMISES = f"{OVERDUE_EXTERNAL} ORDER BY timeout_at LIMIT ?"
LAPSED_LEASES = (
    f"SELECT {TASK}, {PROMISE} FROM tasks t JOIN promises p ON p.seq = t.seq"
    " WHERE t.state = 'acquired' AND t.due <= ? ORDER BY t.due LIMIT ?"
)
DUE_SCHEDULES = f"SELECT {SCHEDULE} FROM schedules s WHERE next_run_at <= ? ORDER BY next_run_at LIMIT ?"
OFFERS = (
    f"SELECT {TASK}, {PROMISE} FROM tasks t JOIN promises p ON p.seq = t.seq"
    " WHERE t.state = 'pending' AND t.address = ? AND t.due <= ?"
    " AND t.seq NOT IN (SELECT seq FROM temp.refused WHERE taker = ?) ORDER BY t.due"
)
REFUSE = "INSERT OR IGNORE INTO temp.refused VALUES (?, ?)"
UNBLOCKS = (
    f"SELECT {PROMISE} FROM unblocks u JOIN promises p ON p.seq = u.promise"
    " WHERE u.address = ? AND u.due <= ? ORDER BY u.due"
)
KEEP_UNBLOCK = "UPDATE unblocks SET due = ? WHERE address = ? AND promise = ?"
NEXT_UNBLOCK = "SELECT min(due) FROM unblocks WHERE address = ? AND due > ?"
OFFER_AT = (
    "UPDATE tasks SET due = ? WHERE state = 'pending' AND version = ?"
    " AND seq = (SELECT seq FROM promises WHERE id = ?)"
)
WAITING_COUNTS = (
    "SELECT (SELECT count(*) FROM promises WHERE state = 'pending' AND open = 1),"
    " (SELECT count(*) FROM tasks WHERE state = 'pending')"
)
PUSH = "address >= 'http' AND address < 'httq'"
"""Condition for http(s):// addresses, as opposed to poll://."""

PUSH_ADDRESSES = (
    "SELECT min(address) FROM (SELECT min(address) AS address FROM tasks"
    f" WHERE state = 'pending' AND {PUSH} AND address > :after"
    f" UNION ALL SELECT min(address) FROM unblocks WHERE {PUSH} AND address > :after)"
)
NEXT_PUSH = (
    f"SELECT min(due) FROM (SELECT min(due) AS due FROM tasks WHERE state = 'pending' AND {PUSH}"
    f" AND due > :after UNION ALL SELECT min(due) FROM unblocks WHERE {PUSH} AND due > :after)"
)
WAITING_AT = (
    "SELECT (SELECT min(due) FROM tasks WHERE state = 'pending' AND address = ?),"
    " (SELECT min(due) FROM unblocks WHERE address = ?)"
)
NEXT_OFFER = "SELECT min(due) FROM tasks WHERE state = 'pending' AND address = ? AND due > ?"
NEXT_DUE = (
    "SELECT min((SELECT coalesce(min(timeout_at), 9e18) FROM promises"
    " WHERE state = 'pending' AND external = 1),"
    " (SELECT coalesce(min(due), 9e18) FROM tasks WHERE state = 'acquired'),"
    " (SELECT coalesce(min(next_run_at), 9e18) FROM schedules))"
)


class NeedsWriting(Exception):
    """A transaction for reading has to write: repeat it as a transaction for writing."""


class Store:
    """One connection to the file."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the file, and upgrade or create it if needed (`create`).

        Raises FileUnusable: no permission, not a database, of another program, or of a newer version.
        """
        self.path = path
        with opening():
            self._connect(create=create)

    def _connect(self, *, create: bool) -> None:
        path = self.path
        with _unusable(path):
            if create:
                _create_private(path)
            close_inherited(path)
            disk.open_up(path)
            path.stat()  # otherwise SQLite would create the file, readable for others
            self._db = sqlite3.connect(
                path,
                timeout=LOCK_WAIT_S,
                isolation_level=None,
                cached_statements=256,
                check_same_thread=False,
            )
        try:
            with _unusable(path):
                self._open()
        except BaseException:
            close_beside_others(self._db, path)
            raise
        with _unusable(path):
            self._connection = Connection(self._db, path)
        self._place, self._log_file = self._connection.place, self._connection.log_file
        try:
            with _unusable(path):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        is_new = _check_owner(self._db, self.path) == 0
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA fullfsync = ON")  # on macOS, only this reaches the disk
        # One process at a time creates the file: of two, SQLite was seen to give one an I/O error.
        with disk.folder_lock(self.path) if is_new else contextlib.nullcontext():
            if self._db.execute("PRAGMA page_count").fetchone()[0] == 0:
                # It lets `prune` shrink the file while others work. On an existing file it would be a write.
                self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            # SQLite does not wait for this.
            mode = _waiting(lambda: self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            if mode != "wal":
                raise FileUnusable(
                    f"{self.path} is on a disk where processes cannot share it. Use a local disk."
                )
            self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._log = WriteAheadLog(self._db, str(self.path))
            _migrate(self._db, self.path)

    def _prepare(self) -> None:
        """Sync what is in the file, and prepare for transactions."""
        self._format = FORMAT
        self._unsynced, self._synced = True, 0
        self._db.execute("PRAGMA synchronous = NORMAL")  # `_sync` does it, without the lock
        self._sync(self._version(), written=True)
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.execute(
            "CREATE TEMP TABLE refused (taker TEXT, seq INTEGER, PRIMARY KEY (taker, seq)) WITHOUT ROWID"
        )
        self._db.execute("PRAGMA busy_timeout = 0")  # from here on, `waiting` waits

    @property
    def left(self) -> bool:
        """Whether it was closed because the file is no longer at its path, or because the process forked."""
        return self._connection.left

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def leave(self) -> None:
        """Close a file that is not at its path, or has lost its log, in every thread of this process."""
        self._connection.leave()

    def data_version(self) -> int:
        """Return a number that changes when another connection commits. Raises StorageFailed."""
        with self._failing():
            return _waiting(self._version)

    def waiting_counts(self) -> tuple[int, int]:
        """Return the number of waiting promises and of tasks on offer. Raises StorageFailed."""
        with self._failing():
            promises, tasks = _waiting(lambda: self._db.execute(WAITING_COUNTS).fetchone())
        return int(promises), int(tasks)

    @contextmanager
    def transaction(
        self, clock: Callable[[], int], *, write: bool, exact: bool = False
    ) -> Iterator[Transaction]:
        """Run a block as one transaction, which is committed and synced at its end, or undone if it raises.

        `clock` gives ms since the epoch; the transaction's `now` is never earlier than that of a previous
        one, unless `exact`, which is for debugging.
        What other processes have committed meanwhile is synced too, before the result is used.

        Raises StorageFailed; FileMoved if the file is no longer at its path, even if the commit succeeded;
        NeedsWriting if `write` is False and something has to be written.
        """
        with self._connection.lock:
            self._connection.check()
            yield from self._transaction(clock, write=write, exact=exact)

    def _transaction(self, clock: Callable[[], int], *, write: bool, exact: bool) -> Iterator[Transaction]:
        before = self._db.total_changes
        try:
            tx = _waiting(lambda: self._begin(clock, write=write, exact=exact))
            yield tx
            tx.remember_now()
            version = self._version()
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StorageFailed(explain(error, self.path)) from error
            raise
        self._sync(version, written=self._db.total_changes != before)
        log_bytes = self._place.log_bytes()
        if write:
            with contextlib.suppress(sqlite3.Error):  # the commit succeeded; a later one retries this
                self._log.keep_short(log_bytes)

    def _version(self) -> int:
        """Return a number that changes when another connection commits. Raises sqlite3.Error."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _sync(self, version: int, *, written: bool) -> None:
        """Make sure that what a transaction has written, and read, is on disk. Raises StorageFailed.

        It holds no lock, so others can commit meanwhile. All processes write to one log, which restarts only
        after all of it was copied into the database; so a sync of the log covers the commits of all
        processes.
        """
        self._unsynced |= written
        if not self._unsynced and version == self._synced:
            return
        try:
            try:
                self._log_file.sync()
            except OSError:
                self._sync_again()
        except OSError as error:
            raise StorageFailed(
                f"the disk of {self.path} did not confirm what was written to it: {error.strerror}."
                " It may be lost."
            ) from error
        self._synced, self._unsynced = version, False

    def _sync_again(self) -> None:
        """Write the content of the log again, and sync it. Raises OSError, StorageFailed.

        After a failed sync, the next one can succeed without the lost pages: Linux marks them as written.
        """
        with self._failing():
            _waiting(lambda: self._db.execute("BEGIN IMMEDIATE"))  # so that no process restarts the log
            try:
                self._log_file.write_again()
                self._log_file.sync()
            finally:
                self._db.execute("ROLLBACK")

    def _begin(self, clock: Callable[[], int], *, write: bool, exact: bool) -> Transaction:
        """Begin a transaction and read the clock. A reader that has to wait for a lock waits here."""
        self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            # Within a transaction the result does not change, and it costs 2 microseconds.
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == self._format:
                return Transaction(self._db, clock, write=write, exact=exact)
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise
        raise FormatChanged(
            f"{self.path} was upgraded by a newer hitl (from format {self._format} to {found}) while this"
            " process had it open. Nothing was changed: start it again with the new version."
        )

    def space(self) -> tuple[int, int]:
        """Return the size of the file with its log, and the free bytes in it."""
        with self._failing():
            size, pages, free = _waiting(
                lambda: [
                    int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
                    for name in ("page_size", "page_count", "freelist_count")
                ]
            )
        return size * pages, size * free

    def give_back(self, pages: int) -> None:
        """Shrink the file by up to `pages` free pages, in a transaction of its own. Raises StorageFailed.

        Files that an early version created cannot shrink.
        """
        with self._failing():
            _waiting(lambda: self._db.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall())

    def checkpoint(self) -> None:
        """Copy the log into the file, so that it shrinks now, unless others read an older state."""
        with self._failing():
            _waiting(self._log.copy)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Use the connection, and convert SQLite's errors into StorageFailed."""
        try:
            with self._connection.lock:
                self._connection.check()
                yield
        except sqlite3.Error as error:
            raise StorageFailed(explain(error, self.path)) from error


class Transaction:
    """What the rules read and write (`machine.State`), and what the server hands out."""

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], int], *, write: bool, exact: bool) -> None:
        self._db = db
        self._write = write
        self._exact = exact
        self._written = False
        self._last = Instant(*db.execute("SELECT now, slow_from, slow_wall FROM clock").fetchone())
        self._instant = Instant(clock()) if exact else following(self._last, clock())
        self.now = self._instant.now
        self._listened: bool | None = None
        """Whether there are listeners at all, once looked up: usually there are none."""
        self.offered: set[str] = set()
        """Addresses that have new messages."""
        self.settled = False
        """Whether a promise was created or settled, which watchers wait for."""

    def remember_now(self) -> None:
        """Store the time, so that no process answers at an earlier one."""
        fell_behind = self._write and self._instant.slow_wall not in (None, self._last.slow_wall)
        if (self._written or fell_behind) and self._instant != self._last and not self._exact:
            self._db.execute(
                "UPDATE clock SET now = ?, slow_from = ?, slow_wall = ?",
                msgspec.structs.astuple(self._instant),
            )

    # What the rules read and write (`machine.State`): promises

    def promise(self, id: str) -> Promise | None:
        """Return the promise with this id."""
        row = self._db.execute(PROMISE_BY_ID, (id,)).fetchone()
        return None if row is None else Promise(*row)

    def created_by(self, owner: int) -> Iterable[Promise]:
        """Return the promises that a promise's task created, in order."""
        return [Promise(*row) for row in self._db.execute(CREATED_BY, (owner,))]

    def insert_promise(self, promise: Promise, tags: Mapping[str, str]) -> Promise:
        """Insert the promise and return it with its seq; `tags` are indexed."""
        row = self.change(INSERT_PROMISE, msgspec.structs.astuple(promise)[1:])  # all columns except seq
        self.settled |= promise.open or promise.root
        assert row.lastrowid is not None
        for key, value in search.indexed_tags(promise.id, tags):
            self.change(TAG, (key, value, row.lastrowid))
        return msgspec.structs.replace(promise, seq=row.lastrowid)

    def settle_promise(self, promise: Promise, state: PromiseState, value: str, at: int) -> Promise:
        """Settle the promise and return it settled."""
        self.change(SETTLE_PROMISE, (state, value, at, promise.seq))
        self.settled |= promise.external
        return msgspec.structs.replace(promise, state=state, value=value, settled_at=at)

    def overdue(self, now: int) -> list[Promise]:
        """Return the pending promises whose deadline has passed, including internal ones."""
        return [Promise(*row) for row in self._db.execute(OVERDUE, (now,)).fetchall()]

    def overdue_external(self, now: int) -> list[Promise]:
        """Return the pending promises past their deadline that a person or another task may wait for."""
        return [Promise(*row) for row in self._db.execute(OVERDUE_EXTERNAL, (now,)).fetchall()]

    def search_promises(self, req: PromiseSearch, limit: int, now: int) -> list[Promise]:
        """Return up to `limit` matching promises after the cursor, in the requested order."""
        sql, values = search.promise_query(PROMISE, req, now, self._count_tagged)
        return [Promise(*row) for row in self._db.execute(sql, [*values, limit])]

    def _count_tagged(self, key: str, value: str) -> int:
        return int(self._db.execute(COUNT_TAGGED, (key, value, search.FEW + 1)).fetchone()[0])

    # The same: tasks

    def task(self, id: str) -> tuple[Task, Promise] | None:
        """Return the task with this id, and its promise."""
        row = self._db.execute(TASK_BY_ID, (id,)).fetchone()
        return None if row is None else _pair(row)

    def standing(self, id: str) -> tuple[Task, Standing] | None:
        """Return the task with this id, and the state of its promise."""
        row = self._db.execute(STANDING_BY_ID, (id,)).fetchone()
        return None if row is None else (Task(*row[:TASK_COLUMNS]), Standing(*row[TASK_COLUMNS:]))

    def standing_by_seq(self, seq: int) -> tuple[Task, Standing] | None:
        """Return the task of the promise with this seq, and the state of the promise."""
        row = self._db.execute(STANDING_BY_SEQ, (seq,)).fetchone()
        return None if row is None else (Task(*row[:TASK_COLUMNS]), Standing(*row[TASK_COLUMNS:]))

    def insert_task(self, task: Task) -> None:
        """Insert the task of a promise that was just inserted."""
        self.change(INSERT_TASK, msgspec.structs.astuple(task))
        if task.state == "pending":
            self.offered.add(task.address)

    def update_task(self, task: Task) -> None:
        """Update the task."""
        seq, *columns = msgspec.structs.astuple(task)
        self.change(UPDATE_TASK, (*columns, seq))
        if task.state == "pending" and task.due is not None and task.due <= self.now:
            self.offered.add(task.address)

    def put_off_task(self, seq: int, due: int) -> None:
        """Change when a task is offered next, or when its lease expires."""
        self.change(PUT_OFF_TASK, (due, seq))

    def count_resume(self, seq: int) -> None:
        """Count one more awaited promise that has settled."""
        self.change(COUNT_RESUME, (seq,))

    def fulfill_task(self, seq: int) -> None:
        """End the task of the promise with this seq, if it has one."""
        self.change(FULFILL_TASK, (seq,))

    def search_tasks(self, req: TaskSearch, limit: int, now: int) -> list[tuple[Task, Promise]]:
        """Return up to `limit` matching tasks after the cursor, in the requested order."""
        sql, values = search.task_query(f"{TASK}, {PROMISE}", req, now)
        return [_pair(row) for row in self._db.execute(sql, [*values, limit])]

    # The same: schedules

    def schedule(self, id: str) -> Schedule | None:
        """Return the schedule with this id."""
        row = self._db.execute(SCHEDULE_BY_ID, (id,)).fetchone()
        return None if row is None else Schedule(*row)

    def put_schedule(self, schedule: Schedule) -> None:
        """Insert or update the schedule."""
        self.change(PUT_SCHEDULE, msgspec.structs.astuple(schedule))

    def delete_schedule(self, id: str) -> None:
        """Delete the schedule."""
        self.change("DELETE FROM schedules WHERE id = ?", (id,))

    def search_schedules(self, req: ScheduleSearch, limit: int) -> list[Schedule]:
        """Return up to `limit` matching schedules after the cursor, by id."""
        sql, values = search.schedule_query(SCHEDULE, req)
        return [Schedule(*row) for row in self._db.execute(sql, [*values, limit])]

    # The same: callbacks and listeners

    def add_callback(self, awaited: int, awaiter: int) -> None:
        """Record that a task awaits a promise."""
        self.change(ADD_CALLBACK, (awaited, awaiter))

    def take_callbacks(self, awaited: int) -> list[int]:
        """Return the tasks that await the promise, and remove these records."""
        return [row[0] for row in self.change(TAKE_CALLBACKS, (awaited,)).fetchall()]

    def add_listener(self, promise: int, address: str) -> None:
        """Record that an address listens for a promise."""
        self.change(ADD_LISTENER, (promise, address))
        self._listened = True

    def notify_listeners(self, promise: int) -> None:
        """Queue a message for every listener of the promise, and remove the listeners."""
        if self._listened is None:
            self._listened = bool(self._db.execute(LISTENED).fetchone()[0])
        if not self._listened:
            return
        for (address,) in self.change(TAKE_LISTENERS, (promise,)).fetchall():
            self.change(ADD_UNBLOCK, (address, promise))
            self.offered.add(address)

    # What the server does by itself

    def due_promises(self, limit: int) -> list[Promise]:
        """Return promises whose deadline has passed, the earliest first."""
        return [Promise(*row) for row in self._db.execute(DUE_PROMISES, (self.now, limit))]

    def lapsed_leases(self, limit: int) -> list[tuple[Task, Promise]]:
        """Return held tasks whose lease has expired, the earliest first."""
        rows = self._db.execute(LAPSED_LEASES, (self.now, limit))
        return [_pair(row) for row in rows]

    def due_schedules(self, limit: int) -> list[Schedule]:
        """Return schedules that are due, the earliest first."""
        return [Schedule(*row) for row in self._db.execute(DUE_SCHEDULES, (self.now, limit))]

    def next_due(self) -> int:
        """Return the next time at which a deadline, a lease or a schedule is due; far off if none is."""
        return int(self._db.execute(NEXT_DUE).fetchone()[0])

    # Messages

    def waiting_at(self, address: str) -> tuple[int | None, int | None]:
        """Return when a task and when a listener message are due for the address; None for none."""
        offer_at, word_at = self._db.execute(WAITING_AT, (address, address)).fetchone()
        return offer_at, word_at

    def offers(self, address: str, taker: str) -> Iterator[tuple[Task, Promise]]:
        """Yield the tasks on offer to the address, the longest waiting first, without those refused."""
        for row in self._db.execute(OFFERS, (address, self.now, taker)):
            yield _pair(row)

    def refuse(self, task: Task, taker: str) -> None:
        """Do not offer a task to this taker again while the file is open."""
        self._db.execute(REFUSE, (taker, task.seq))

    def next_offer(self, address: str) -> int | None:
        """Return when the next task that is not on offer yet will be."""
        due: int | None = self._db.execute(NEXT_OFFER, (address, self.now)).fetchone()[0]
        return due

    def take_unblocks(self, address: str, limit: int) -> list[Promise]:
        """Return settled promises for the listeners at an address, and remove these messages."""
        found = [promise for promise, _ in zip(self.unblocks(address), range(limit), strict=False)]
        for promise in found:
            self.drop_unblock(address, promise.seq)
        return found

    # The same, for deliveries that can fail

    def unblocks(self, address: str) -> Iterator[Promise]:
        """Yield settled promises whose messages to the address are due, the longest waiting first."""
        for row in self._db.execute(UNBLOCKS, (address, self.now)):
            yield Promise(*row)

    def drop_unblock(self, address: str, promise: int) -> None:
        """Remove a message that was delivered."""
        self.change(DROP_UNBLOCK, (address, promise))

    def keep_unblock(self, address: str, promise: int, due: int) -> None:
        """Send a message again at `due`, unless it is removed before."""
        self.change(KEEP_UNBLOCK, (due, address, promise))
        if due <= self.now:
            self.offered.add(address)

    def next_unblock(self, address: str) -> int | None:
        """Return when the next message that is not due yet will be."""
        due: int | None = self._db.execute(NEXT_UNBLOCK, (address, self.now)).fetchone()[0]
        return due

    def offer_at(self, id: str, version: int, address: str, due: int) -> None:
        """Offer a task at `due`, if it is still on offer at that version."""
        changed = self.change(OFFER_AT, (due, version, id)).rowcount
        if changed and due <= self.now:
            self.offered.add(address)

    def push_addresses(self, after: str) -> Iterator[str]:
        """Yield the http(s):// addresses that have messages, in order, beginning after `after`."""
        while (found := self._db.execute(PUSH_ADDRESSES, {"after": after}).fetchone()[0]) is not None:
            yield found
            after = found

    def next_push(self) -> int | None:
        """Return when the next message for any http(s):// address is due."""
        due: int | None = self._db.execute(NEXT_PUSH, {"after": self.now}).fetchone()[0]
        return due

    # Traces, debugging and upkeep

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def change(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement that writes. Raises NeedsWriting in a transaction for reading."""
        if not self._write:
            raise NeedsWriting
        self._written = True
        return self._db.execute(sql, values)


def _pair(row: tuple[Any, ...]) -> tuple[Task, Promise]:
    """Split a joined row."""
    return Task(*row[:TASK_COLUMNS]), Promise(*row[TASK_COLUMNS:])


# Opening


def _create_private(path: Path) -> None:
    """Create the file (0600) and its folder (0700) if missing, so that only their owner can read them.

    It gets its name only after it was closed: closing a file drops all locks that this process has on it
    (POSIX), including those of a connection that another thread has opened meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=stat.S_IRWXU)
    beside = path.with_name(f"{path.name}.new")
    if os.path.lexists(path):
        if os.path.lexists(beside):
            with contextlib.suppress(OSError), disk.folder_lock(path):  # a folder that may only be read
                _remove_left(beside, path)
        return
    with disk.folder_lock(path):
        _remove_left(beside, path)
        if not os.path.lexists(path):
            try:
                os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
            except FileExistsError as error:
                raise FileUnusable(f"{path} cannot be created: move {beside} to another place.") from error
            try:
                with contextlib.suppress(FileExistsError):  # another process has restored it meanwhile
                    os.link(beside, path)
            except OSError:  # a file system without hard links
                beside.rename(path)
            else:
                beside.unlink()


def _remove_left(beside: Path, path: Path) -> None:
    """Remove what a process that was killed has left: an empty file, or another name of the file.

    A file with content is somebody's. Who calls this has the lock of the folder. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        left = beside.lstat()
        if stat.S_ISREG(left.st_mode) and (not left.st_size or disk.identity(beside) == disk.identity(path)):
            beside.unlink()


def _check_owner(db: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file: 0 if it is new. Raises FileUnusable, as `_refuse_foreign`."""
    # Closing a refused file must not write the log that another program has left.
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, disk.log_of(path).exists())
    db.execute("BEGIN")  # a consistent view: another process may be creating the file
    version = _refuse_foreign(db, path)
    db.execute("COMMIT")
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)
    return version


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file, before touching it.

    Raises FileUnusable if it is another program's or a newer version's.
    """
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and (application or version or tables):
        raise FileUnusable(f"{path} is a database of another program, not hitl's. Use another file.")
    if version > FORMAT:
        raise FileUnusable(f"{path} was written by a newer hitl (format {version}). Upgrade hitl to use it.")
    return version


@contextmanager
def opened_as_it_is(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing file for reading only: nothing is created, upgraded or changed.

    Raises FileUnusable: no file, no permission, another program's database, or a newer version's.
    """
    with _unusable(path):
        if not path.is_file():
            raise FileUnusable(f"no file {path}.")
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCK_WAIT_S, isolation_level=None
        )
        try:
            _check_owner(db, path)
            db.execute("PRAGMA query_only = ON")
            yield db
        finally:
            close_beside_others(db, path)


def _waiting[T](action: Callable[[], T]) -> T:
    """Run an action, and retry it while another process holds the lock."""
    began = time.monotonic()
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            waited_s = time.monotonic() - began
            if error.sqlite_errorcode & PRIMARY_CODE != sqlite3.SQLITE_BUSY or waited_s > LOCK_WAIT_S:
                raise
        time.sleep(_pause_s(waited_s))


def _pause_s(waited_s: float) -> float:
    """Return how long to wait before a lock is tried again."""
    first_s = min(max(waited_s * LOCK_FIRST_SHARE, LOCK_FIRST_LOOK_S), LOCK_LOOK_S)
    return min(max(first_s, waited_s * LOCK_LOOK_SHARE), LOCK_LOOK_MAX_S)


def migrations() -> tuple[str, ...]:
    """Read the scripts in sql/, in the order of their numbers. Script n leads to format n."""
    paths = sorted(Path(__file__).with_name("sql").glob("*.sql"))[:FORMAT]
    return tuple(path.read_text(encoding="utf-8") for path in paths)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest format, in one transaction."""
    if db.execute("PRAGMA user_version").fetchone()[0] == FORMAT:
        return
    scripts = migrations()
    if len(scripts) < FORMAT:
        raise FileUnusable(f"{path}: hitl's own files are missing. Install hitl again, then try again.")
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _refuse_foreign(db, path)
        for script in scripts[version:]:
            for statement in statements(script):
                db.execute(statement)
        if version == 0:
            disk.sync_folders(path)  # before anything in the file is reported
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def statements(script: str) -> Iterator[str]:
    """Split a script into statements, because executescript() would commit half-way."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


@contextmanager
def _unusable(path: Path) -> Iterator[None]:
    """Convert errors on opening into FileUnusable."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise FileUnusable(explain(error, path)) from error


def _has_room(path: Path) -> bool:
    """Whether the disk of the file has any space left."""
    try:
        return shutil.disk_usage(path.parent).free > 0
    except OSError:
        return True


def explain(error: Exception, path: Path) -> str:
    """Return a sentence that says what is wrong with the file and what to do."""
    text = str(error)
    match error:
        case PermissionError():
            return (
                f"{path} cannot be written: permission denied. Use another file, or change its permissions."
            )
        case NotADirectoryError() | FileExistsError():
            return f"{path} cannot be created: a part of that path is not a folder."
        case OSError():
            return f"{path} cannot be opened: {error.strerror}."
    if "not a database" in text:
        return f"{path} is not a database. Use another file; this one was not touched."
    if "malformed" in text:
        return f"{path} is damaged ({text}). Restore it from a backup."
    if "full" in text or ("disk I/O" in text and not _has_room(path)):
        return f"The disk that holds {path} is full. Free some space; nothing was changed."
    if path.is_dir():
        return f"{path} is a folder: name a file in it."
    if "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written. Use another file, or change the permissions of it and its folder."
    if "locked" in text:
        return f"{path} has been locked by another process for over {LOCK_WAIT_S:.0f} s. Nothing was changed."
    name = getattr(error, "sqlite_errorname", None)
    return f"{path} cannot be used: {text}{'' if name is None else f' ({name})'}."
