"""`hitl hook claude`, `codex`, `install`, `uninstall` and `resume`: coding agents ask before they act."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hitl_cli.agents.decide_call import HookOptions, decide_call
from hitl_cli.agents.tool_call import read_call
from hitl_cli.cli.context import AT_GATEWAY, AtFile, AtServer, given_stdin
from hitl_cli.cli.logs import LogJson, log_to_stderr, wants_json
from hitl_cli.cli.options import Proof, argument, family, flag, value
from hitl_cli.cli.output import note
from hitl_cli.errors import TooLarge
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.shell import quoted
from hitl_cli.people.actor import LONGEST_NAME
from hitl_cli.python_api.backend import backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.agents.tool_call import AgentName
    from hitl_cli.python_api.backend import Backend

app = family("hook", "Ask people before a coding agent acts.")

STDIN_MAX = 5_000_000
"""Bytes of stdin. A longer call cannot be asked."""

MATCHER = "Bash|Edit|Write|NotebookEdit|WebFetch|AskUserQuestion"

OR_BLOCK = "|| exit 2"
"""Ends the command of a hook: after any other failure, such as a missing program, the agent would go on."""

MARGIN_S = 60
"""How much longer than the hook waits the agent waits for it."""

To = Annotated[
    list[str] | None, value("WHO", "Assignee: a person or group:NAME (repeatable). Default: anyone.")
]
Wait = Annotated[str, value("DURATION", "How long to wait for an answer: less than the timeout of the hook.")]
Deadline = Annotated[str, value("DURATION", "Time allowed for the answer.")]
Gateway = Annotated[
    str | None,
    value("URL", "Ask at this gateway, with a token from `hitl token`. (HITL_TOKEN)"),
]
Then = Annotated[
    Literal["ask", "defer", "deny"],
    typer.Option(
        help="After the wait: ask (the agent's own prompt), defer (end; see `hitl hook resume`) or deny."
    ),
]


@app.command()
def claude(
    ctx: AtServer,
    to: To = None,
    wait: Wait = "9m",
    then: Then = "ask",
    deadline: Deadline = "1d",
    proof: Proof = None,
    gateway: Gateway = None,
    log_json: LogJson = False,
) -> None:
    """Run as a hook of Claude Code (PreToolUse or PermissionRequest): JSON on stdin and stdout."""
    options = HookOptions(to=tuple(to or ()), deadline=deadline, proof=proof, wait=wait, then=then)
    _answer(ctx, "claude", options, gateway, log_json=log_json)


@app.command()
def codex(
    ctx: AtServer,
    to: To = None,
    wait: Wait = "9m",
    then: Annotated[
        Literal["ask", "deny"], typer.Option(help="After the wait: ask (the agent's own prompt) or deny.")
    ] = "ask",
    deadline: Deadline = "1d",
    proof: Proof = None,
    gateway: Gateway = None,
    log_json: LogJson = False,
) -> None:
    """Run as a hook of Codex (PreToolUse or PermissionRequest): JSON on stdin and stdout."""
    options = HookOptions(to=tuple(to or ()), deadline=deadline, proof=proof, wait=wait, then=then)
    _answer(ctx, "codex", options, gateway, log_json=log_json)


@app.command()
def install(
    ctx: AtFile,
    agent: Annotated[Literal["claude"], argument("[AGENT]", "The agent: claude.")] = "claude",
    matcher: Annotated[str, value("REGEX", "Tools to ask about.")] = MATCHER,
    to: To = None,
    wait: Wait = "1h",
    then: Then = "ask",
    proof: Proof = None,
    gateway: Gateway = None,
    event: Annotated[
        Literal["PreToolUse", "PermissionRequest"],
        typer.Option(help="Ask about every call of these tools, or only when Claude Code asks its user."),
    ] = "PreToolUse",
    user: Annotated[bool, flag("Settings to write: your own, or the project's.", "--user/--project")] = False,
    dry_run: Annotated[bool, flag("Show the change, and write nothing.", "--dry-run")] = False,
) -> None:
    """Add the hook to the settings of Claude Code, and show the change. Other settings stay."""
    from hitl_cli.agents import claude_settings

    path = claude_settings.settings_path(user=user)
    wait_s = parse_duration(wait) // 1_000
    given = {"--gateway": gateway, "--server": ctx.given_server, "--wait": wait, "--then": then}
    given["--proof"] = proof
    options = [*(f"--to {quoted(name)}" for name in to or ())]
    options += [f"{name} {quoted(text)}" for name, text in given.items() if text is not None]
    command = " ".join([_own_command(), f"hook {agent}", *options, OR_BLOCK])
    change = claude_settings.with_hook(path, event, matcher, command, wait_s + MARGIN_S)
    _apply(path, *change, dry_run=dry_run)


@app.command()
def uninstall(
    agent: Annotated[Literal["claude"], argument("[AGENT]", "The agent: claude.")] = "claude",
    user: Annotated[
        bool, flag("Settings to change: your own, or the project's.", "--user/--project")
    ] = False,
    dry_run: Annotated[bool, flag("Show the change, and write nothing.", "--dry-run")] = False,
) -> None:
    """Remove the hook from the settings of Claude Code, and show the change. Other settings stay."""
    from hitl_cli.agents import claude_settings

    del agent
    path = claude_settings.settings_path(user=user)
    _apply(path, *claude_settings.without_hook(path), dry_run=dry_run)


@app.command()
def resume(
    ctx: AtServer,
    more: Annotated[
        list[str] | None,
        argument("[-- OPTION...]", "Options for the agent, e.g. -- --model opus."),
    ] = None,
    program: Annotated[str, value("PROGRAM", "The agent's command.")] = "claude",
    logs: Annotated[
        Path | None, value("FOLDER", "Folder for the output of the agent. Default: in your data folder.")
    ] = None,
    once: Annotated[
        bool, flag("Resume the sessions that are decided now, wait for them, and exit.", "--once")
    ] = False,
    gateway: Gateway = None,
) -> None:
    """Resume deferred sessions of `claude -p` when their requests are decided, each once.

    Only sessions whose hook asked as the same user, or at the gateway with the same token.
    """
    from hitl_cli.cli.hook_resume import resume_sessions
    from hitl_cli.python_api.server_backend import ServerBackend

    if gateway is None:
        ctx.server_itself(instead=AT_GATEWAY)
        with ctx.client(creates=True):
            pass  # the server exists, or is created
    backend = _place(ctx, "claude", gateway)()
    pause = backend.client().wait if isinstance(backend, ServerBackend) else time.sleep
    try:
        resume_sessions(backend, [program, *(more or [])], logs, once=once, pause=pause)
    finally:
        backend.close()


def _place(ctx: AtServer, agent: AgentName, gateway: str | None) -> Callable[[], Backend]:
    """Return a function that opens the place to ask: a failure in it must refuse the call, not end the hook.

    On a server the agent asks under a name of its own, so that a rule of its user can answer.
    """

    def opened() -> Backend:
        if gateway is not None:
            return backend_of(None, gateway, ctx.given_token, None)
        from hitl_cli.python_api.server_backend import settings_backend

        url, _ = ctx.server_itself(instead=AT_GATEWAY)
        name = f"{agent} ({ctx.settings.person().value}"
        return settings_backend(url.value, ctx.given_token, f"{name[: LONGEST_NAME - 1]})", ctx.settings)

    return opened


def _answer(
    ctx: AtServer, agent: AgentName, options: HookOptions, gateway: str | None, *, log_json: bool
) -> None:
    """Read a call from stdin, ask, and print the answer. Bad input exits with 2, which blocks the call."""
    if wants_json(log_json):
        log_to_stderr(as_json=True)
    for duration in (options.wait, options.deadline):
        parse_duration(duration)
    raw = given_stdin().read(STDIN_MAX + 1)
    if len(raw) > STDIN_MAX:
        raise TooLarge(f"the call is too large to ask about: at most {STDIN_MAX:,} bytes are allowed.")
    answer = decide_call(_place(ctx, agent, gateway), agent, read_call(raw), options)
    if answer is not None:
        print(to_json(answer))


def _own_command() -> str:
    """Return how to run hitl: by name if it is on the PATH, else by its path."""
    import shutil

    return "hitl" if shutil.which("hitl") else quoted(sys.argv[0])


def _apply(path: Path, before: str, after: str, *, dry_run: bool) -> None:
    """Show the change of a settings file, and make it."""
    from hitl_cli.agents import claude_settings

    if before == after:
        note(f"{path} is unchanged.")
        return
    print("\n".join(claude_settings.difference(path, before, after)))
    if dry_run:
        note("Nothing was written.")
        return
    claude_settings.write(path, after)
    note(f"{path} is written.")
