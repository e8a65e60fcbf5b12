"""`hitl server`: the database file over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.context import AtFile
from hitl_cli.cli.logs import LogJson, say_serving, wants_json
from hitl_cli.cli.options import Port, flag, value
from hitl_cli.cli.serving import listening, on_stop_signals
from hitl_cli.client.connect import driver_of, named_trace, shown_url
from hitl_cli.errors import BadInput, BadServer, BadUsage, Unreachable

if TYPE_CHECKING:
    from hitl_cli.engine.http.app import Options


def server(
    ctx: AtFile,
    host: Annotated[
        str,
        value("ADDRESS", "Address to listen on. Addresses other than localhost require --auth-publickey."),
    ] = "127.0.0.1",
    port: Port = 8001,
    auth_publickey: Annotated[
        Path | None, value("FILE.pem", "Public key to verify tokens. Then every request needs a token.")
    ] = None,
    auth_iss: Annotated[str | None, value("NAME", "Required token issuer (iss claim).")] = None,
    auth_aud: Annotated[str | None, value("NAME", "Required token audience (aud claim).")] = None,
    push_to: Annotated[
        list[str] | None,
        value("ORIGIN", "Post tasks only to workers at this origin, e.g. https://host:port (repeatable)."),
    ] = None,
    own_url: Annotated[
        str | None, value("URL", "URL of this server, sent to those workers with each task.", "--url")
    ] = None,
    debug: Annotated[
        bool, flag("Allow the debug.* requests of the protocol, to test clients.", "--debug")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Serve the database file over HTTP, to clients and workers of any Resonate SDK."""
    url, _ = ctx.server()
    path = driver_of(url.value).file(url.value)
    if path is None:
        raise BadServer(
            f"`hitl server` serves a database file, and {shown_url(url.value)} is a server: pass"
            " -S sqlite:///path."
        )
    if auth_publickey is None and (auth_iss or auth_aud):
        raise BadUsage("--auth-iss and --auth-aud need --auth-publickey: pass it too.")

    from hitl_cli.engine.errors import EngineError, KeyUnusable
    from hitl_cli.engine.http.app import Options
    from hitl_cli.engine.http.hosts import is_loopback
    from hitl_cli.engine.http.push import PushRules, origins

    if auth_publickey is None and not is_loopback(host):
        raise BadUsage(
            f"{host} is reachable from other machines, which requires authentication: pass --auth-publickey."
        )
    verifier = None
    try:
        if auth_publickey is not None:
            from hitl_cli.engine.http.auth import Verifier

            verifier = Verifier(auth_publickey, auth_iss, auth_aud)
    except KeyUnusable as error:
        raise BadInput(str(error), code=error.code) from error
    try:
        named = origins(push_to) if push_to else None
    except ValueError as error:
        raise BadUsage(
            f"--push-to is not an origin: {error}. Write https://host or http://host:port."
        ) from error
    options = Options(
        path=path,
        host=host,
        port=port,
        verifier=verifier,
        push=PushRules(origins=named, public_only=not is_loopback(host)),
        url=own_url,
        debug=debug,
        trace=named_trace(),
    )
    try:
        log_json = wants_json(log_json)
        with listening(host, port, log_json=log_json):
            asyncio.run(_serve(options, log_json=log_json))
    except EngineError as error:
        raise Unreachable(str(error), code=error.code) from error


async def _serve(options: Options, *, log_json: bool) -> None:
    """Serve until a signal stops it."""
    from hitl_cli.engine.http.app import HttpServer

    http = HttpServer(options)
    on_stop_signals(http.stop)
    served = f"sqlite:///{options.path}"

    def serving(url: str) -> None:
        text = f"serving {served} on {url} (Ctrl-C stops)"
        say_serving(text, {"server": served, "url": url}, as_json=log_json)

    await http.run(serving)
