"""Checks of the hooks of coding agents for `hitl doctor`. Nothing is asked and nothing is changed."""

from __future__ import annotations

import shlex
import shutil
from argparse import ArgumentError, ArgumentParser
from typing import TYPE_CHECKING

from hitl_cli.agents.claude_settings import hooks_in, settings_path
from hitl_cli.client.connect import connect, shown_url
from hitl_cli.client.gateway_api import GatewayApi
from hitl_cli.client.protocol import PROBE, get_promise
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.people.groups import as_asked, in_words, unknown_people
from hitl_cli.views.auth import MeDocument
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.agents.claude_settings import InstalledHook
    from hitl_cli.settings import Settings

NAME = "hook"

OUR_WAIT = "9m"
"""How long a hook without --wait waits."""

TIMEOUT_S = 600
"""How long Claude Code waits for a hook without a timeout."""


class _Options(ArgumentParser):
    """Reads the options of a hook that matter here."""

    def __init__(self) -> None:
        super().__init__(add_help=False, exit_on_error=False)
        self.add_argument("--to", action="append", default=[])
        self.add_argument("--wait", default=OUR_WAIT)
        self.add_argument("--gateway")
        self.add_argument("--server", "-S")
        self.add_argument("--token", "-T")


def examine_hooks(settings: Settings) -> list[Finding]:
    """Return the findings on the hooks in the settings of this project and of the user."""
    findings: list[Finding] = []
    try:
        paths = {settings_path(user=user): None for user in (False, True)}  # the same in the home folder
    except BadInput as error:
        return [Finding(NAME, "warning", str(error))]
    for path in paths:
        try:
            found = hooks_in(path)
        except BadInput as error:
            findings.append(Finding(NAME, "warning", str(error)))
            continue
        for hook in found:
            where = f"{hook.event} in {path}"
            findings.extend(
                Finding(NAME, one.level, f"{where}: {one.text}", one.advice)
                for one in _examine(hook, settings)
            )
    return findings


def _examine(hook: InstalledHook, settings: Settings) -> Iterator[Finding]:
    """Check one hook."""
    again = "install it again: hitl hook install claude"
    command, _, after = hook.command.partition("||")
    try:
        program, *words = shlex.split(command)
        options, _ = _Options().parse_known_args(words)
        wait_ms = parse_duration(options.wait)
    except (ValueError, ArgumentError, BadInput) as error:
        yield Finding(NAME, "error", f"the command {hook.command!r} cannot be read: {error}", again)
        return
    if shutil.which(program) is None:
        yield Finding(
            NAME, "error", f"the program {program} is not installed here, so the hook cannot ask", again
        )
    if "exit 2" not in after:
        yield Finding(NAME, "warning", "the call runs without an answer if the hook cannot start", again)
    timeout_s = TIMEOUT_S if hook.timeout_s is None else hook.timeout_s
    if timeout_s * 1_000 <= wait_ms:
        text = (
            f"it waits {format_duration(wait_ms)}, but the agent ends it after"
            f" {format_duration(round(timeout_s * 1_000))}, and goes on without an answer"
        )
        yield Finding(NAME, "error", text, f"set a shorter --wait or a longer timeout, or {again}")
    groups = settings.groups()
    names = as_asked(options.to, groups)
    if options.gateway is None and (unknown := groups.unknown(names)):  # a gateway knows others
        yield Finding(NAME, "warning", unknown_people(unknown, groups), "correct --to")
    who = in_words(names, "or") if names else "anyone"
    asked = f"{hook.matcher or 'every tool'} asks {who}"
    try:
        if options.gateway is None:
            yield Finding(NAME, "ok", f"{asked}, at {_reached(options.server, options.token, settings)}")
        else:
            yield from _at_gateway(options.gateway, options.token, settings, asked)
    except HitlError as error:
        yield Finding(NAME, "error", f"it cannot ask: {error}", "until this is fixed, it denies every call")


def _at_gateway(gateway: str, token: str | None, settings: Settings, asked: str) -> Iterator[Finding]:
    """Check a hook that asks at a gateway: whether its token may ask, and nothing more. Raises HitlError."""
    given = settings.gateway_token(token)
    me = GatewayApi(gateway, given, program=True).send("GET", "/me", MeDocument)
    make = "hitl token create --as agent --can ask, where the gateway runs"
    if "ask" not in me.can:
        text = f"it cannot ask: the token of {me.person} does not have the permission ask"
        yield Finding(NAME, "error", text, f"create another: {make}")
        return
    yield Finding(NAME, "ok", f"{asked}, at {shown_url(gateway)} as {me.person}")
    if "decide" in me.can:
        text = (
            f"{shown_url(gateway)} lets everyone on this machine decide, including the agent"
            if given is None
            else f"the token of {me.person} can also decide, and so can the agent that has it"
        )
        yield Finding(NAME, "warning", text, f"start the gateway with --sign-in, and create a token: {make}")


def _reached(server: str | None, token: str | None, settings: Settings) -> str:
    """Return the server where a hook asks, once it has answered. Raises HitlError."""
    url = settings.server(server).value
    with connect(url, settings.token(token)) as client:
        get_promise(client, PROBE)
    return shown_url(url)
