"""Sessions of a coding agent that end to wait for a person: what the hook records, and how they go on.

The record is on the server, beside the request (hitl_cli/inbox/deferrals.py).
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.inbox.deferrals import SESSION, Deferral, DeferredSession

if TYPE_CHECKING:
    from hitl_cli.agents.tool_call import ToolCall

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


def this_machine() -> str:
    """Return the name of this machine, on which its sessions go on."""
    return platform.node()


def deferral_of(call: ToolCall) -> Deferral | None:
    """Return what to record of a session that ends; None if it has no proper id or no folder to go on in."""
    if SESSION.fullmatch(call.session_id) is None or call.cwd is None:
        return None
    return Deferral(session=call.session_id, cwd=call.cwd, host=this_machine(), pid=_agent_process())


def is_over(one: DeferredSession) -> bool:
    """Whether the process of the agent that deferred has ended."""
    try:
        os.kill(one.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def command_of(program: str, one: DeferredSession, more: list[str]) -> list[str]:
    """Return the command that goes on with a session."""
    return [program, "-p", "--resume", one.session, *more]


def outcome_in_words(one: DeferredSession) -> str:
    """Return what came of its request, and who decided."""
    return f"{one.outcome}{f' by {one.by}' if one.by else ''}"


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
