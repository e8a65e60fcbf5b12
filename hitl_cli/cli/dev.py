"""`hitl dev`: a worker and a gateway in one process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import typer

from hitl_cli import defaults
from hitl_cli.cli import worker
from hitl_cli.cli.gateway import SignIn, options_of
from hitl_cli.cli.logs import LogJson, say_serving, wants_json
from hitl_cli.cli.options import Port, Server, Token
from hitl_cli.cli.output import hyperlink
from hitl_cli.cli.serving import listening
from hitl_cli.people.gateway_file import page_of, unblock_link
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.run import Serving

PLAIN = ("approval", "foo")
"""The built-in workflows that ask for yes or no only."""

HOST = "127.0.0.1"
"""For other machines, run `hitl gateway` and `hitl worker` instead."""


def dev(
    ctx: typer.Context,
    app: worker.Apps = None,
    port: Port = defaults.GATEWAY_PORT,
    group: worker.WorkersGroup = None,
    concurrency: worker.Concurrency = 64,
    lease: worker.Lease = "15s",
    sign_in: SignIn = False,
    log_json: LogJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Run a worker and the inbox page in one terminal. Press Ctrl-C to stop, twice to stop immediately."""
    from hitl_cli.sdk.contract import check_sdk

    check_sdk()  # before other modules import the names that it checks
    from hitl_cli.gateway.background import BackgroundGateway
    from hitl_cli.worker.process import run_worker

    works = worker.worker_options(
        ctx, app=app or [], group=group, concurrency=concurrency, lease=lease, server=server, token=token
    )
    serves = msgspec.structs.replace(
        options_of(ctx, host=HOST, port=port, url=None, server=server, token=token),
        example_routes=True,
        sign_in=sign_in,
        group=works.group,
    )
    log_json = wants_json(log_json)
    with listening(HOST, port, log_json=log_json):
        logging.getLogger("hitl_cli.decisions.seen").setLevel(logging.WARNING)
        gateway = BackgroundGateway(serves)
        gateway.start()
    url = gateway.url if serves.url == f"http://{HOST}:{port}" else serves.url
    live = Settings().live_directory(worker.tell_shortcomings).reached_at(url)
    worker.tell_shortcomings(live())
    reach = msgspec.structs.replace(works.reach, directory=live(), live=live)

    announce = worker.announcer(as_json=log_json)

    def serving(served: Serving) -> None:
        announce(served)
        say_serving(f"inbox on {url}", {"server": served.server, "url": url}, as_json=log_json)

    def opening(event: Event, request: str) -> str:
        """Return what to open: the link that approves for the built-in approval, otherwise the page."""
        if event.function in PLAIN and serves.is_local and not sign_in:
            return f"approve by opening {hyperlink(unblock_link(url, request))}"
        return f"open {hyperlink(page_of(url, request))}"

    try:
        report = worker.line_reporter(opening, as_json=log_json)
        run_worker(msgspec.structs.replace(works, reach=reach), serving, report)
    finally:
        gateway.stop()
