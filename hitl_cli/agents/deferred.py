"""Sessions of a coding agent that end while a person decides: what the hook records to resume them.

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
    """Return the name of this machine. A session is resumed on the machine where it ended."""
    return platform.node()


def deferral_of(call: ToolCall) -> Deferral | None:
    """Return the record of a session that ends; None if it has no valid id or folder to be resumed in."""
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
    """Return the command that resumes a session."""
    return [program, "-p", "--resume", one.session, *more]


def outcome_in_words(one: DeferredSession) -> str:
    """Return the outcome of a session's request and who decided, in words."""
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
