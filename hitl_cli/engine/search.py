"""The SQL of the searches: the index that a search uses, and its other conditions.

The index is named, because the planner does not know how few rows a partial index has. Searches are in
docs/explanation/protocol.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hitl_cli.engine.records import PromiseSearch, ScheduleSearch, TaskSearch

type Condition = tuple[Any, ...]
"""A condition's SQL and its values."""

type Count = Callable[[str, str], int]
"""Counts the promises with a tag, up to FEW + 1."""

EXTERNAL = ("resonate:external", "true")
ORIGIN = "resonate:origin"
SCHEDULE = "resonate:schedule"
SDK_TAGS = "resonate:"

FEW = 1_000
"""Up to this many promises with a tag, reading them is cheaper than reading all pending promises."""

BY_ID = "sqlite_autoindex_promises_1"

LAST_CHARACTER = "\U0010ffff"


def is_indexed(key: str) -> bool:
    """Whether the table `tags` has the tag: all except the SDKs' own tags, which every promise has."""
    return not key.startswith(SDK_TAGS) or key == SCHEDULE


def indexed_tags(id: str, tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the tags of a promise that the table `tags` has.

    They include the origin if the id does not contain it: ids of the Rust SDK have no ':'.
    """
    for key, value in tags.items():
        if is_indexed(key) or (key == ORIGIN and id != value and not id.startswith(f"{value}:")):
            yield key, value


def promise_query(columns: str, req: PromiseSearch, now: int, count: Count) -> tuple[str, list[Any]]:
    """Return the query for promise.search and its values, without the limit."""
    tags = dict(req.tags or {})
    conditions = list(_conditions_of(req, tags))
    if req.state == "pending":
        conditions.append(("p.state = 'pending' AND p.timeout_at > ?", now))
    elif req.state is not None:
        # Written into the text, not bound: only so can the planner use the partial indexes.
        conditions.append((f"p.state = '{req.state}'",))
    if req.root:
        conditions.append(("p.root = 1",))
    if req.sort == "-settled":
        conditions.append(("p.open = 1 AND p.state <> 'pending'",))
    if req.settled_since is not None:
        conditions.append(("p.settled_at >= ?", req.settled_since))
    source = _promise_source(req, tags, count)
    if source == TAGGED:
        key = next(filter(is_indexed, tags))
        conditions.append(("g.key = ? AND g.value = ?", key, tags[key]))
    order = ORDERS[req.sort]
    if source == TAGGED and req.sort != "id":
        order = order.replace("p.seq", "g.promise")  # the same, and the order of the index
    return _assemble(f"SELECT {columns} FROM {source}", conditions, order)


ORDERS = {
    "created": "p.seq",
    "-created": "p.seq DESC",
    "id": "p.id",
    "-settled": "p.settled_at DESC, p.seq DESC",
}

LINEAGE = (
    "SELECT seq FROM promises WHERE id = ?"
    " UNION ALL SELECT seq FROM promises WHERE id > ? AND id < ?"  # ';' follows ':'
    " UNION ALL SELECT promise FROM tags WHERE key = ? AND value = ?"
)
"""The promises of a run, whose values are the run, the run and ':', the run and ';', ORIGIN and the run."""

TAGGED = "tags g CROSS JOIN promises p ON p.seq = g.promise"


def _promise_source(req: PromiseSearch, tags: Mapping[str, str], count: Count) -> str:
    """Return the table and the index with the fewest rows for a search."""
    if ORIGIN in tags:
        return "promises p NOT INDEXED"
    if _is_by_id(req):
        return f"promises p INDEXED BY {BY_ID}"
    indexed = [key for key in tags if is_indexed(key)]
    narrow = req.state == "pending" or req.sort == "-settled"
    if indexed and (not narrow or count(indexed[0], tags[indexed[0]]) <= FEW):
        return TAGGED
    if req.state == "pending":
        index = "promises_open" if EXTERNAL in tags.items() else "promises_pending"
        return f"promises p INDEXED BY {index}"
    if req.sort == "-settled":
        return "promises p INDEXED BY promises_settled"
    if req.state is not None and req.state != "resolved":
        return "promises p INDEXED BY promises_failed"
    return "promises p INDEXED BY promises_root" if req.root else "promises p NOT INDEXED"


def task_query(columns: str, req: TaskSearch, now: int) -> tuple[str, list[Any]]:
    """Return the query for task.search and its values, without the limit."""
    tags = req.tags or {}
    conditions = list(_conditions_of(req, tags))
    if req.state is not None:
        conditions.append((f"t.state = '{req.state}'",))
    live = req.state not in (None, "fulfilled")
    if live:
        conditions.append(("t.state <> 'fulfilled' AND p.timeout_at > ?", now))
    if ORIGIN in tags:
        source = "promises p NOT INDEXED CROSS JOIN tasks t ON t.seq = p.seq"
    elif _is_by_id(req):
        source = f"promises p INDEXED BY {BY_ID} CROSS JOIN tasks t ON t.seq = p.seq"
    else:
        index = "INDEXED BY tasks_live" if live else "NOT INDEXED"
        source = f"tasks t {index} CROSS JOIN promises p ON p.seq = t.seq"
    order = ORDERS[req.sort].replace("p.seq", "t.seq")
    return _assemble(f"SELECT {columns} FROM {source}", conditions, order)


def schedule_query(columns: str, req: ScheduleSearch) -> tuple[str, list[Any]]:
    """Return the query for schedule.search and its values, without the limit."""
    conditions: list[Condition] = []
    if req.id_prefix is not None:
        conditions.append(_starts_with("s.id", req.id_prefix))
    if req.cursor is not None:
        conditions.append(("s.id > ?", req.cursor))
    conditions += [
        ("EXISTS (SELECT 1 FROM json_each(s.promise_tags) e WHERE e.key = ? AND e.value = ?)", key, value)
        for key, value in (req.tags or {}).items()
    ]
    return _assemble(f"SELECT {columns} FROM schedules s", conditions, "s.id")


def _conditions_of(req: PromiseSearch | TaskSearch, tags: Mapping[str, str]) -> Iterator[Condition]:
    """Yield the conditions on a promise, or a task's promise, that do not depend on its state."""
    if req.id_prefix is not None:
        yield _starts_with("p.id", req.id_prefix)
    for key, value in tags.items():
        if (key, value) == EXTERNAL:
            yield ("p.open = 1",)
        elif key == ORIGIN:
            yield f"p.seq IN ({LINEAGE})", value, f"{value}:", f"{value};", ORIGIN, value
        elif is_indexed(key):
            yield (
                "EXISTS (SELECT 1 FROM tags i WHERE i.key = ? AND i.value = ? AND i.promise = p.seq)",
                key,
                value,
            )
        else:
            yield "EXISTS (SELECT 1 FROM json_each(p.tags) e WHERE e.key = ? AND e.value = ?)", key, value
    if req.cursor is not None:
        yield _after(req.cursor, req.sort)


def _is_by_id(req: PromiseSearch | TaskSearch) -> bool:
    return req.id_prefix is not None or req.sort == "id"


def _after(cursor: str, sort: str) -> Condition:
    """Return the condition that a promise comes after the cursor (machine.cursor_after)."""
    match sort:
        case "id":
            return "p.id > ?", cursor
        case "-settled":
            settled_at, seq = cursor.split(".")
            return "(p.settled_at, p.seq) < (?, ?)", int(settled_at), int(seq)
        case _:
            return f"p.seq {'<' if sort == '-created' else '>'} ?", int(cursor)


def _starts_with(column: str, prefix: str) -> Condition:
    """Return the condition that a text begins with the prefix, as a range that an index can serve."""
    return f"({column} >= ? AND {column} < ?)", prefix, prefix + LAST_CHARACTER


def _assemble(select: str, conditions: list[Condition], order: str) -> tuple[str, list[Any]]:
    """Return the whole query, up to its limit, and its values."""
    where = f" WHERE {' AND '.join(text for text, *_ in conditions)}" if conditions else ""
    values = [value for _, *given in conditions for value in given]
    return f"{select}{where} ORDER BY {order} LIMIT ?", values
