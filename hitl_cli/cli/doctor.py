"""`hitl doctor`: which settings hold, where they come from, and whether the server answers."""

from __future__ import annotations

import typer

from hitl_cli.cli.shared import AsJson, Server, Token, named_server, print_json
from hitl_cli.client import get_promise
from hitl_cli.connect import connect
from hitl_cli.errors import HitlError
from hitl_cli.settings import Setting, Settings


def doctor(ctx: typer.Context, as_json: AsJson = False, server: Server = None, token: Token = None) -> None:
    """Show the settings, which source each comes from, and whether the server can be reached."""
    settings = Settings()
    url, chosen_token = named_server(ctx, settings, server, token)
    group = settings.group()
    chosen: list[tuple[str, Setting]] = [
        ("server", url),
        ("group", group),
        ("workflow", settings.workflow()),
        ("as", settings.person()),
        *(("app", app) for app in settings.apps([])),
    ]
    failure: HitlError | None = None
    listening: bool | None = None
    try:
        with connect(url.value, chosen_token) as client:
            get_promise(client, "hitl-doctor")
            listening = client.has_worker(group.value)
    except HitlError as error:
        failure = error
    workers = {True: "listening", False: "none is listening", None: "this server cannot tell"}[listening]
    if as_json:
        print_json(
            {
                "settings": [{"name": n, "value": s.value, "source": s.source} for n, s in chosen],
                "reachable": failure is None,
                "worker": listening,
            }
        )
    else:
        for name, setting in chosen:
            print(f"{name:9} {setting.value}  ({setting.source})")
        if failure is None:
            print(f"{'answers':9} yes")
            print(f"{'worker':9} {workers}")
    if failure is not None:
        raise failure
