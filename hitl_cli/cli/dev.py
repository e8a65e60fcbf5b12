"""`hitl dev`: a worker and a gateway in one process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hitl_cli import defaults, tracing
from hitl_cli.cli import worker
from hitl_cli.cli.context import AtServer
from hitl_cli.cli.gateway import SignIn, options_of
from hitl_cli.cli.logs import LogJson, observed, say_serving, wants_json
from hitl_cli.cli.options import Port, flag
from hitl_cli.cli.output import hyperlink
from hitl_cli.cli.serving import listening
from hitl_cli.errors import BadInput
from hitl_cli.people.contacts import Directory
from hitl_cli.people.gateway_file import page_of, unblock_link
from hitl_cli.settings import NAMES, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.gateway.options import Options
    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.reload import Supervised
    from hitl_cli.worker.run import Serving, WorkerOptions

logger = logging.getLogger(__name__)

PLAIN = ("approval", "foo")
"""The built-in workflows that ask for yes or no only."""

MOST_NAMED = 5
"""Changed files that are named: a change of branch changes many."""

SIGNALED = 128
"""What a shell adds to the number of the signal that has ended a process."""

HOST = "127.0.0.1"
"""For other machines, run `hitl gateway` and `hitl worker` instead."""


def dev(
    ctx: AtServer,
    app: worker.Apps = None,
    port: Port = defaults.GATEWAY_PORT,
    group: worker.WorkersGroup = None,
    concurrency: worker.Concurrency = 64,
    lease: worker.Lease = "15s",
    sign_in: SignIn = False,
    log_json: LogJson = False,
    no_reload: Annotated[bool, flag("Do not restart the worker when a file changes.", "--no-reload")] = False,
) -> None:
    """Run a worker and the inbox page in one terminal. Press Ctrl-C to stop, twice to stop immediately.

    When the code of a workflow or the settings change, the worker restarts.
    """
    from hitl_cli.sdk.contract import check_sdk

    check_sdk()  # before other modules import the names that it checks
    from hitl_cli.gateway.background import background_gateway
    from hitl_cli.worker.reload import Supervised

    supervised = Supervised.here()
    works = worker.worker_options(ctx, app=app or [], group=group, concurrency=concurrency, lease=lease)

    def options() -> Options:
        return msgspec.structs.replace(
            options_of(ctx, host=HOST, port=port, url=None),
            example_routes=True,
            sign_in=sign_in,
            group=works.group,
        )

    serves, log_json = options(), wants_json(log_json)
    logging.getLogger("hitl_cli.decisions.seen").setLevel(logging.WARNING)
    if supervised is not None:
        observed("dev", as_json=log_json)
        _work(works, serves, supervised.url, supervised, as_json=log_json)
        return
    with listening(HOST, port, log_json=log_json):
        tracing.start("dev")
        gateway = background_gateway(serves)
        gateway.start()
    url = gateway.url if serves.url == f"http://{HOST}:{port}" else serves.url
    try:
        if no_reload:
            _work(works, serves, url, as_json=log_json)
        else:
            raise typer.Exit(_reload(works, options, url))
    finally:
        gateway.stop()


def _work(
    works: WorkerOptions, serves: Options, url: str, supervised: Supervised | None = None, *, as_json: bool
) -> None:
    """Run the worker until it is stopped."""
    from hitl_cli.worker.process import run_worker

    live = Settings().live_directory(worker.tell_shortcomings).reached_at(url)
    worker.tell_shortcomings(live())
    reach = msgspec.structs.replace(works.reach, directory=live(), live=live)

    announce = worker.announcer(as_json=as_json)

    def serving(served: Serving) -> None:
        announce(served)
        say_serving(f"inbox on {url}", {"server": served.server, "url": url}, as_json=as_json)

    def opening(event: Event, request: str) -> str:
        """Return what to open: for the built-in approval the link that approves, otherwise the page."""
        if event.function in PLAIN and serves.is_local and not serves.sign_in:
            return f"approve by opening {hyperlink(unblock_link(url, request))}"
        return f"open {hyperlink(page_of(url, request))}"

    report = worker.line_reporter(opening, as_json=as_json)
    run_worker(msgspec.structs.replace(works, reach=reach), serving, report, supervised)


def _reload(works: WorkerOptions, options: Callable[[], Options], url: str) -> int:
    """Run the worker in a process of its own, again after each change; return its exit code."""
    from hitl_cli.worker.reload import Reloader

    served = _fixed(options())

    def changed(files: Sequence[str]) -> None:
        named = ", ".join(files[:MOST_NAMED]) + (
            f" and {len(files) - MOST_NAMED:,} more files" if len(files) > MOST_NAMED else ""
        )
        logger.warning("%s changed: reloading the code.", named)
        with suppress(BadInput):  # which the worker reports
            if _fixed(options()) != served:
                logger.warning("For the page to use the new settings, restart `hitl dev`.")

    reloader = Reloader(
        url=url,
        env={**os.environ, "HITL_SERVER": works.server},  # the page then also continues with the old settings
        files={Settings().path or Path(NAMES[0]), Path(NAMES[0])},
        changed=changed,
        kept=lambda: logger.error(
            "The worker continues with the previous code. The next change restarts it."
        ),
    )
    code = asyncio.run(reloader.run())
    if code > SIGNALED:
        name = signal.strsignal(code - SIGNALED)
        logger.error(
            "The worker was stopped (%s). Start `hitl dev` again: its runs continue where they were.", name
        )
    return code


def _fixed(options: Options) -> Options:
    """Return the options except those that a gateway reads again when they change."""
    return msgspec.structs.replace(options, directory=Directory(), live=None)
