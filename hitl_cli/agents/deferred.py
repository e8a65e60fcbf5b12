"""Sessions of a coding agent that ended to wait for a person, so that `hitl hook resume` goes on with them.

A deferral is a promise on the server, made by the hook that deferred. It is settled by who resumes the
session, before it starts: so a session is resumed once, whatever is restarted when.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import as_promise, get_promises, search
from hitl_cli.client.protocol import call as call_one
from hitl_cli.client.tags import lineage
from hitl_cli.client.wire import audit_of, child_id, decode_as, encode, fresh_id, headers_of
from hitl_cli.format.durations import UNITS_MS

if TYPE_CHECKING:
    from hitl_cli.agents.tool_call import ToolCall
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

DEFERRED_TAG = "hitl:deferred"

KEPT_MS = 30 * UNITS_MS["d"]
"""How long after the deadline of its request a session can be resumed: agents delete it then."""

SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


class Deferred(Struct, frozen=True, kw_only=True):
    """A session that waits for the decision on a request.

    It can go on in its folder, on the machine with the name `host`, once the process `pid` has ended.
    """

    session: str
    request: str
    cwd: str
    host: str
    pid: int


def defer(client: Client, call: ToolCall, request: str) -> None:
    """Record that the session of a call ends until a request is decided. Raises Unreachable.

    A session that cannot be resumed, for want of a proper id or a folder, is not recorded.
    """
    if SESSION.fullmatch(call.session_id) is None or call.cwd is None:
        return
    said = Deferred(
        session=call.session_id, request=request, cwd=call.cwd, host=platform.node(), pid=_agent_process()
    )
    asked = as_promise(call_one(client, "promise.get", id=request))
    own = child_id(request, "deferred")
    data = {
        "id": own,
        "timeoutAt": asked.timeout_at + KEPT_MS,
        "param": encode(msgspec.to_builtins(said)),
        "tags": {DEFERRED_TAG: "1"} | lineage(own, scope="local", origin=request, parent=request),
    }
    as_promise(call_one(client, "promise.create", **data))


def decided_sessions(client: Client) -> list[tuple[Promise, Deferred, Promise]]:
    """Return the deferrals of this machine whose request is decided, with both promises, oldest first."""
    found = [
        (promise, said)
        for promise in search(client, state="pending", tags={DEFERRED_TAG: "1"})
        if (said := _deferred_in(promise)) is not None
    ]
    requests = get_promises(client, [said.request for _, said in found])
    return [
        (promise, said, requests[said.request])
        for promise, said in found
        if said.request in requests and requests[said.request].state != "pending"
    ]


def _deferred_in(promise: Promise) -> Deferred | None:
    """Return the deferral in a promise; None if it is not a valid one of this machine."""
    said = decode_as(promise.param, Deferred)
    if said is None or promise.is_call or promise.is_blocking or SESSION.fullmatch(said.session) is None:
        return None
    mine = promise.id == child_id(said.request, "deferred") and said.host == platform.node()
    return said if mine else None


def take(client: Client, deferral: Promise) -> bool:
    """Whether this process is the one that resumes the session: the first that asks is."""
    mark = fresh_id()
    value = encode(None, {"hitl:id": mark, "hitl:via": "hook resume"})
    settled = as_promise(call_one(client, "promise.settle", id=deferral.id, state="resolved", value=value))
    return headers_of(settled.value).get("hitl:id") == mark


def is_over(deferred: Deferred) -> bool:
    """Whether the process of the agent that deferred has ended."""
    try:
        os.kill(deferred.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def command_of(program: str, deferred: Deferred, more: list[str]) -> list[str]:
    """Return the command that goes on with a session."""
    return [program, "-p", "--resume", deferred.session, *more]


def outcome_in_words(request: Promise) -> str:
    """Return what came of a request, and who decided."""
    from hitl_cli.requests.question import outcome_of

    by = audit_of(request).by
    return f"{outcome_of(request)}{f' by {by}' if by else ''}"


def _agent_process() -> int:
    """Return the process that runs this hook: the parent, or its parent if that is only a shell."""
    parent = os.getppid()
    name, above = _process(parent)
    return above if name in SHELLS and above > 1 else parent


def _process(pid: int) -> tuple[str, int]:
    """Return the name of a process and its parent."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        return name, int(rest.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        ps = ["ps", "-o", "ppid=,comm=", "-p", str(pid)]
        told = subprocess.run(ps, capture_output=True, text=True, check=True).stdout  # noqa: S603 - a number
        above, _, path = told.strip().partition(" ")
        return Path(path.strip().lstrip("-")).name, int(above)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "", 0
