"""`hitl doctor`: check the settings and the server."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec.structs import replace

from hitl_cli.cli.context import AtServer
from hitl_cli.cli.options import AsJson, flag
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import colored
from hitl_cli.client.connect import shown_url
from hitl_cli.format.terminal import printable
from hitl_cli.settings import Setting, Settings
from hitl_cli.views.doctor import database_document, file_document, settings_document

COLORS = {"ok": "green", "warning": "yellow", "error": "red"}
WAY_COLORS = {"closed": "green", "unknown": "yellow", "open": "red"}


def doctor(
    ctx: AtServer,
    full: Annotated[bool, flag("Check the whole database file, even if it is large.", "--full")] = False,
    as_agent: Annotated[
        bool,
        flag(
            "Check whether a program that runs as you could decide requests without a person.", "--as-agent"
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings, the server and the workers, and suggest fixes. Changes nothing."""
    from hitl_cli.admin.checkpoint_checks import examine_checkpoints
    from hitl_cli.admin.doctor import examine, examine_gateway
    from hitl_cli.admin.gateway_checks import judge_gateway
    from hitl_cli.admin.hook_checks import examine_hooks
    from hitl_cli.admin.notify_checks import examine_people

    settings = ctx.settings
    url, chosen_token = ctx.server()
    if as_agent:
        _print_ways_out(settings, url.value, chosen_token, as_json=as_json)
        return
    group = settings.group()
    chosen: list[tuple[str, Setting]] = [
        ("server", replace(url, value=shown_url(url.value))),
        ("group", group),
        ("workflow", settings.workflow()),
        ("as", settings.person()),
        ("gateway", settings.gateway()),
        *(("app", app) for app in settings.apps([])),
    ]
    if ctx.remote is None:
        report = examine(url.value, chosen_token, group.value, full=full)
    else:
        report = examine_gateway(ctx.remote, group.value)
    report.findings.extend(judge_gateway(settings.gateway()))
    report.findings.extend([*examine_people(settings), *examine_hooks(settings)])
    if ctx.remote is None:
        report.findings.extend(examine_checkpoints(settings.checkpoints, url.value, chosen_token))
    if as_json:
        print_json(
            {
                "settings": settings_document(chosen),
                "reachable": report.failure is None,
                "worker": report.worker,
                "findings": report.findings,
                "file": None if report.file is None else file_document(report.file),
                "database": None if report.database is None else database_document(report.database),
            }
        )
    else:
        for name, setting in chosen:
            print(printable(f"{name:9} {setting.value}  ({setting.source})"))
        print()
        for finding in report.findings:
            level = colored(f"{finding.level:8}", COLORS[finding.level])
            print(level + printable(f"{finding.name:12} {finding.text}" + _advised(finding.advice)))
    if report.failure is not None:
        raise report.failure
    if any(finding.level == "error" for finding in report.findings):
        raise typer.Exit(1)


def _print_ways_out(settings: Settings, url: str, token: str | None, *, as_json: bool) -> None:
    """Print the ways to decide without a person, and exit with 1 if one is open."""
    from hitl_cli.admin.agent_checks import ways_out

    found = ways_out(settings, url, token)
    opened = sum(way.state == "open" for way in found)
    if as_json:
        print_json({"open": opened, "ways": found})
    else:
        for way in found:
            state = colored(f"{way.state:8}", WAY_COLORS[way.state])
            print(state + printable(f"{way.name:12} {way.text}" + _advised(way.advice)))
    if opened:
        raise typer.Exit(1)


def _advised(advice: str | None) -> str:
    return f". {advice[0].upper()}{advice[1:]}" if advice else ""
