"""`hitl worker`: run workflows."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hitl_cli.cli.context import AtServer
from hitl_cli.cli.logs import LogJson, Metrics, observed, say, say_serving, wants_json
from hitl_cli.cli.options import flag, number, value
from hitl_cli.cli.output import hyperlink, note
from hitl_cli.cli.render.table import Column, colored, print_table
from hitl_cli.client.failure import GIVEN_REASON
from hitl_cli.client.tags import INTERNAL_FUNCTIONS
from hitl_cli.format.durations import bad_duration, format_duration, parse_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.people.gateway_file import page_of
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.people.contacts import Directory
    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.run import Serving, WorkerOptions

logger = logging.getLogger(__name__)

SHORTEST_LEASE_MS = 500
"""With a shorter lease, a busy worker loses its work before it renews the lease."""

LOOK_S = 1.0
"""How often a worker checks whether a gateway runs on this machine."""

COLORS = {
    "started": "blue",
    "resumed": "blue",
    "waiting": "yellow",
    "retrying": "yellow",
    "completed": "green",
    "failed": "red",
    "lost": "magenta",
    "unknown": "red",
}
"""The colors of events."""

CLOCK = "%H:%M:%S"
"""The time of day in event lines, local time."""


Apps = Annotated[
    list[str] | None,
    value("FILE.py|MODULE", "File or module with workflows to serve (repeatable). (HITL_APP)", "--app", "-a"),
]
WorkersGroup = Annotated[
    str | None,
    value(
        "NAME",
        "Group of workers to join. Its workers share its runs. Default: default. (HITL_GROUP)",
        "--group",
        "-g",
    ),
]
Concurrency = Annotated[
    int,
    number("N", "Maximum number of runs executed at a time.", "--concurrency", "-c", least=1, most=10_000),
]
Lease = Annotated[
    str, value("DURATION", "How long before another worker takes over from one that died.", "--lease")
]


def worker(
    ctx: AtServer,
    app: Apps = None,
    group: WorkersGroup = None,
    concurrency: Concurrency = 64,
    lease: Lease = "15s",
    log_json: LogJson = False,
    metrics: Metrics = None,
    exit_when_lost: Annotated[
        str | None,
        value(
            "DURATION", "Exit (code 6) once the server was unreachable for DURATION. Default: keep waiting."
        ),
    ] = None,
    check: Annotated[
        bool,
        flag("Before an upgrade: list the open requests that this code would change, and exit.", "--check"),
    ] = False,
) -> None:
    """Run workflows. Press Ctrl-C to finish current steps and stop, twice to stop immediately."""
    from hitl_cli.sdk.contract import check_sdk

    check_sdk()  # before other modules import the names that it checks
    from hitl_cli.metrics.options import metrics_options
    from hitl_cli.worker.process import run_worker

    log_json = wants_json(log_json)
    options = worker_options(ctx, app=app or [], group=group, concurrency=concurrency, lease=lease)
    options = msgspec.structs.replace(
        options,
        exit_when_lost_s=None if exit_when_lost is None else parse_duration(exit_when_lost) / 1_000,
        metrics=None if metrics is None else metrics_options(metrics, Settings().metrics()),
    )
    observed("worker", as_json=log_json)
    if check:
        report_changes(options, as_json=log_json)
        return
    tell_shortcomings(options.reach.directory)
    opening = _pages_of(Settings(), options.server)
    run_worker(options, announcer(as_json=log_json), line_reporter(opening, as_json=log_json))


_IN_WORDS = {"asked-anew": "asked anew", "taken-back": "canceled", "not-checked": "not checked"}
"""What happens to a request, by the name that JSON has for it."""


def report_changes(options: WorkerOptions, *, as_json: bool) -> None:
    """Print the open requests that the code would ask differently. Exits 1 if there are any."""
    from hitl_cli.worker.check import check

    found = check(options)
    changed = [one for one in found if one.change != "not-checked"]
    if as_json:
        for one in found:
            say(to_json(one))
    elif found:
        print_table(
            [
                Column("request", [one.id for one in found], whole=True),
                Column("what happens", [_IN_WORDS.get(one.change, one.change) for one in found], whole=True),
                Column("prompt", [one.asked or "" for one in found]),
                Column("new prompt", [one.why or one.now or "" for one in found]),
            ]
        )
    if not changed:
        note("No open request changes with this code.")
        return
    note(f"Open requests that change with this code: {len(changed)} (docs/guides/changing-workflows.md).")
    raise typer.Exit(1)


def worker_options(
    ctx: AtServer, *, app: list[str], group: str | None, concurrency: int, lease: str
) -> WorkerOptions:
    """Return the options of a worker, from the command line and the settings. Raises BadInput."""
    lease_ms = parse_duration(lease)
    if lease_ms < SHORTEST_LEASE_MS:
        raise bad_duration(f"--lease {lease} is too short: pass at least {SHORTEST_LEASE_MS}ms.")
    from hitl_cli.people.contacts import NotificationSettings
    from hitl_cli.worker.run import WorkerOptions

    settings = Settings()
    live = settings.live_directory(tell_shortcomings)
    url, chosen_token = ctx.server_itself()
    if not app and settings.folder is not None:
        sys.path.insert(0, str(settings.folder))  # modules in a settings file are relative to it
    return WorkerOptions(
        server=url.value,
        token=chosen_token,
        group=settings.group(group).value,
        apps=tuple(setting.value for setting in settings.apps(app)),
        concurrency=concurrency,
        lease_ms=lease_ms,
        reach=NotificationSettings(directory=live(), keys=settings.keys(url.value), live=live),
    )


def tell_shortcomings(directory: Directory) -> None:
    """Log what prevents notifications."""
    from hitl_cli.notify.shortcomings import shortcomings

    for one in shortcomings(directory):
        logger.warning("%s", one)


def announcer(*, as_json: bool) -> Callable[[Serving], None]:
    """Return a function that prints one line with the workflows that are served."""

    def announce(serving: Serving) -> None:
        names = ", ".join(serving.workflows)
        text = f"serving {names} for group {serving.group} on {serving.server} (Ctrl-C stops)"
        document = {name: getattr(serving, name) for name in ("server", "group", "workflows", "pid")}
        say_serving(text, document, serving.metrics, as_json=as_json)

    return announce


def line_reporter(opening: Callable[[Event, str], str | None], *, as_json: bool) -> Callable[[Event], None]:
    """Return a function that prints one line per event; `opening` is that of `event_lines`."""
    if not as_json:
        return reporter(event_lines(opening))
    from hitl_cli.views.events import event_document

    return reporter(lambda event: to_json(event_document(event)))


def reporter(line: Callable[[Event], str]) -> Callable[[Event], None]:
    """Return a function that prints one line per event, buffered per turn of the event loop.

    A busy worker has thousands of events per second.
    """
    lines: list[str] = []

    def report(event: Event) -> None:
        if not lines:
            asyncio.get_running_loop().call_soon(print_lines)
        lines.append(line(event))

    def print_lines() -> None:
        said = "\n".join(lines)
        lines.clear()
        say(said)

    return report


def event_lines(opening: Callable[[Event, str], str | None] = lambda *_: None) -> Callable[[Event], str]:
    """Return a function that formats an event as a line, in color if stdout is a terminal.

    `opening` returns how to open a request (its id) in a browser, None if no gateway is known.
    """
    said = {kind: kind for kind in COLORS} | {"unknown": "not served here"}
    kinds = {kind: colored(said[kind], color) for kind, color in COLORS.items()}

    def line(event: Event) -> str:
        run, detail = printable(event.workflow), printable(_detail(event))
        ways = filter(None, (opening(event, promise) for promise in event.promises))
        opened = "".join(f"  or {way}" for way in ways)
        at = time.strftime(CLOCK, time.localtime(event.at / 1_000))
        said = f"{at} {run} {kinds[event.event]}{detail}{opened}"
        return said if event.failure is None else "\n  ".join([said, *_traceback_lines(event)])

    return line


def _pages_of(settings: Settings, server: str) -> Callable[[Event, str], str | None]:
    """Return a function that returns how to open the page of a request, None if no gateway is known."""
    known, looked_at = settings.reached(server), time.monotonic()

    def page(_event: Event, request: str) -> str | None:
        nonlocal known, looked_at
        if time.monotonic() - looked_at > LOOK_S:
            known, looked_at = settings.reached(server), time.monotonic()
        return None if known is None else f"open {hyperlink(page_of(known, request))}"

    return page


def _detail(event: Event) -> str:
    """Return the rest of an event line, after the kind of event."""
    if event.event == "unknown" and event.function in INTERNAL_FUNCTIONS:
        return ": no contacts configured here; delivery waits for a worker that has them"
    if event.event == "unknown":
        return f": this worker has no workflow {event.function!r}; the run waits for a worker that has it"
    if event.event == "waiting":
        answers = "  or  ".join(command("approve", [promise]) for promise in event.promises)
        return f" for a person: {answers}"
    if event.event == "lost":
        return ": the run was canceled or expired, or another worker took over"
    if event.event == "failed":
        return f": {event.reason}{event.failure.place if event.failure else ''}"
    if event.event == "retrying":
        delay = format_duration((event.again or event.at) - event.at)
        step = "" if event.step == event.workflow else f" step {event.step}"
        where = f" ({event.failure.where})" if event.failure and event.failure.where else ""
        return f"{step} ({event.function}) in {delay}: {event.reason}{where}"
    return f" ({event.function})" if event.function else ""


def _traceback_lines(event: Event) -> list[str]:
    """Return the traceback of a failed run; with --debug of each failed attempt."""
    if event.failure is None or event.failure.traceback is None:
        return []
    shown = event.event == "failed" and event.failure.type != GIVEN_REASON
    return event.failure.traceback.splitlines() if shown or os.environ.get("HITL_DEBUG") else []
