"""`hitl doctor`: what is well and what is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.cli.context import named_server
from hitl_cli.cli.options import AsJson, Server, Token
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import on_terminal
from hitl_cli.format.terminal import printable
from hitl_cli.settings import Setting, Settings
from hitl_cli.views.doctor import file_document, settings_document

if TYPE_CHECKING:
    from hitl_cli.views.doctor import Finding

COLORS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    ctx: typer.Context,
    full: Annotated[
        bool, typer.Option("--full", help="Check all of a large file, however long it takes.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show the settings and where each comes from, and what is well and what is not; change nothing."""
    from hitl_cli.admin.doctor import examine
    from hitl_cli.admin.notify_checks import examine_people

    settings = Settings()
    url, chosen_token = named_server(ctx, settings, server, token)
    group = settings.group()
    chosen: list[tuple[str, Setting]] = [
        ("server", url),
        ("group", group),
        ("workflow", settings.workflow()),
        ("as", settings.person()),
        ("gateway", settings.gateway()),
        *(("app", app) for app in settings.apps([])),
    ]
    report = examine(url.value, chosen_token, group.value, full=full)
    report.findings.extend(examine_people(settings))
    if as_json:
        print_json(
            {
                "settings": settings_document(chosen),
                "reachable": report.reachable,
                "worker": report.worker,
                "findings": report.findings,
                "file": None if report.file is None else file_document(report.file),
            }
        )
    else:
        for name, setting in chosen:
            print(printable(f"{name:9} {setting.value}  ({setting.source})"))
        print()
        for finding in report.findings:
            print(_line(finding))
    if report.failure is not None:
        raise report.failure
    if any(finding.level == "error" for finding in report.findings):
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    """Return a finding as a line, with what to do."""
    colored = on_terminal() and not os.environ.get("NO_COLOR")
    level = f"{finding.level:8}"
    shown = typer.style(level, fg=COLORS[finding.level]) if colored else level
    advice = f". {finding.advice[0].upper()}{finding.advice[1:]}" if finding.advice else ""
    return shown + printable(f"{finding.name:12} {finding.text}{advice}")
