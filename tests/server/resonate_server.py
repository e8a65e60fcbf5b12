"""A Resonate Server that answers: hitl's own engine over HTTP, with the habits of the official server.

`python tests/server/resonate_server.py DATABASE [--old-ids]` serves the file on a free port. What it does
differently was seen on resonatehq/resonate, main at c8d7c7ba, with the changes of
colon_ids.diff; with `--old-ids`, without them. The tests that use it run on the real
one, too, if HITL_RESONATE_SERVER names that.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from hitl_cli.engine import machine, server, store
from hitl_cli.engine.http import app
from hitl_cli.engine.http.auth import Verifier
from hitl_cli.engine.records import PromiseCreate, PromisesData, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.engine.records import Promise, PromiseSearch, Schedule

LIMIT = 1_000
BODY_MAX = 2 * 1024 * 1024
TOO_LARGE = 413
TARGETED = "external = 1 AND target IS NOT NULL"


class Ids:
    """Which ids belong to which: `origin:1.2`, or `origin.1.2` of older SDKs."""

    def __init__(self, *, old: bool) -> None:
        self.old = old
        self.separator = "." if old else ":"

    def origin(self, id: str) -> str:
        return id.split(self.separator, 1)[0]

    def is_under(self, id: str, ancestor: str) -> bool:
        separator = "." if self.old or ":" in ancestor else ":"
        return id == ancestor or id.startswith(ancestor + separator)

    def problem(self, kind: str, data: Any) -> str | None:
        """Return why a request is refused, for the ids in it."""
        match kind:
            case "promise.create":
                return self._problem_of(data.id, data.tags or {})
            case "task.create" | "task.fence" if isinstance(data.action.data, PromiseCreate):
                return self._problem_of(data.action.data.id, data.action.data.tags or {})
            case "promise.register_callback" if self._differ([data.awaited, data.awaiter]):
                return "Awaiter and awaited must belong to the same origin"
            case "task.suspend" if self._differ([data.id, *(one.data.awaited for one in data.actions)]):
                return "Awaited promise must belong to the same origin as the task"
            case "task.heartbeat" if self._differ([task.id for task in data.tasks]):
                return "All tasks must belong to the same origin"
            case "schedule.create" if self.separator in data.id:
                return f"Schedule ID must not contain '{self.separator}'"
        return None

    def _differ(self, ids: Iterable[str]) -> bool:
        return len({self.origin(id) for id in ids}) > 1

    def _problem_of(self, id: str, tags: Mapping[str, str]) -> str | None:
        if self.separator in tags.get("resonate:origin", ""):
            return f"resonate:origin must not contain '{self.separator}'"
        for name in ("resonate:origin", "resonate:branch", "resonate:parent"):
            if name in tags and not self.is_under(id, tags[name]):
                return f"Promise ID must be prefixed by {name}"
        return None


def newborn(req: PromiseCreate, now: int, owner: int | None) -> Promise:
    """Return the promise as the engine does, but a timer with a target has a task."""
    promise = _newborn(req, now, owner)
    return msgspec.structs.replace(promise, target=(req.tags or {}).get("resonate:target"))


def search(tx: Any, req: PromiseSearch, now: int) -> Reply:  # noqa: ARG001 - it settles nothing
    """Answer promise.search by id, with the stored states, and with the tags as they are."""
    limit = req.limit or machine.SEARCH_LIMIT
    if limit > LIMIT:
        return machine.refuse(400, "Invalid 'limit' — must be between 1 and 1000")
    wanted = (req.tags or {}).items()
    found = []
    for (id,) in tx.rows("SELECT id FROM promises WHERE id > ? ORDER BY id", req.cursor or ""):
        promise = tx.promise(id)
        if req.state in (None, promise.state) and wanted <= msgspec.json.decode(promise.tags).items():
            found.append(promise)
            if len(found) > limit:
                break
    cursor = found[limit - 1].id if len(found) > limit else None
    return Reply(200, PromisesData([one.record() for one in found[:limit]], cursor))


def fire(tx: Any, schedule: Schedule, at: int, now: int) -> None:
    """Create the promise of a schedule with its own scope, if it has any."""
    tags = msgspec.json.decode(schedule.promise_tags, type=dict[str, str])
    create = machine._create

    def unscoped(tx: Any, req: PromiseCreate, at: int) -> Promise:
        kept = {
            name: tag for name, tag in (req.tags or {}).items() if name != "resonate:scope" or name in tags
        }
        return create(tx, msgspec.structs.replace(req, tags=kept), at)

    machine._create = unscoped  # type: ignore[assignment]
    try:
        _fire(tx, schedule, at, now)
    finally:
        machine._create = create


def decode(raw: str | bytes) -> server.Decoded:
    """Decode a request, and refuse what the ids in it are no reason to accept."""
    request = _decode(raw)
    if request.known is None and (problem := IDS.problem(request.kind, request.data)) is not None:
        return msgspec.structs.replace(request, known=machine.refuse(400, problem))
    return request


_newborn, _fire, _decode = machine.newborn, machine._fire, server.decode
IDS = Ids(old="--old-ids" in sys.argv)


def become_the_official_one() -> None:
    """Change the engine of this process."""
    machine.newborn, machine._fire = newborn, fire
    server.decode = decode
    vars(app).update(
        decode=decode, BODY_MAX=BODY_MAX, OVERSIZED_MAX=BODY_MAX, ASKS_CAPABILITIES="X-Nobody-Asks"
    )
    server.RULES["promise.search"] = (server.RULES["promise.search"][0], search)
    store.DUE_PROMISES = store.DUE_PROMISES.replace("external = 1", TARGETED)
    store.NEXT_DUE = store.NEXT_DUE.replace("external = 1", TARGETED)


class OfficialServer(app.HttpServer):
    """The engine over HTTP. It reads tokens in heads only, and answers 413 with a text."""

    def _refusal(self, request: Any, body: bytes, decoded: server.Decoded) -> Reply | None:  # noqa: ARG002
        return super()._refusal(SimpleNamespace(headers={}), body, decoded)  # type: ignore[arg-type]

    def _refuse(self, status: int, message: str, began: float) -> web.Response:
        refused = super()._refuse(status, message, began)
        if status == TOO_LARGE:
            refused = web.Response(
                status=status, text="Failed to buffer the request body: length limit exceeded"
            )
            refused.force_close()
        return refused


async def serve(path: Path, key: Path | None) -> None:
    """Serve until a signal."""
    options = app.Options(
        path=path, host="127.0.0.1", port=0, verifier=None if key is None else Verifier(key, None, None)
    )
    http = OfficialServer(options)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, http.stop)
    await http.run(lambda url: print(f"serving on {url}", flush=True))


if __name__ == "__main__":
    become_the_official_one()
    named = dict(one.split("=", 1) for one in sys.argv[2:] if "=" in one)
    asyncio.run(serve(Path(sys.argv[1]), Path(named["--key"]) if "--key" in named else None))
