"""`hitl server`: the file, over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.cli.context import named_server
from hitl_cli.cli.options import Port, Server, flag, value
from hitl_cli.cli.serving import listening, on_stop_signals
from hitl_cli.cli.worker import say
from hitl_cli.client.connect import driver_of, named_trace
from hitl_cli.errors import BadInput, BadServer, BadUsage, Unreachable
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from hitl_cli.engine.http.app import Options


def server(
    ctx: typer.Context,
    host: Annotated[
        str, value("ADDRESS", "Where to listen; beyond this machine only with --auth-publickey.")
    ] = "127.0.0.1",
    port: Port = 8001,
    auth_publickey: Annotated[
        Path | None, value("FILE.pem", "Public key of the tokens that every request must bring.")
    ] = None,
    auth_iss: Annotated[str | None, value("NAME", "Who must have issued a token (iss).")] = None,
    auth_aud: Annotated[str | None, value("NAME", "Whom a token must be for (aud).")] = None,
    push_to: Annotated[
        list[str] | None, value("ORIGIN", "Post messages only there, as https://host:port; may be repeated.")
    ] = None,
    own_url: Annotated[
        str | None, value("URL", "Where those that messages are posted to reach this server.", "--url")
    ] = None,
    debug: Annotated[bool, flag("Answer debug.* requests, for tests of clients.", "--debug")] = False,
    server: Server = None,
) -> None:
    """Serve the file to clients and workers of any Resonate SDK, over HTTP."""
    url, _ = named_server(ctx, Settings(), server, None)
    path = driver_of(url.value).file(url.value)
    if path is None:
        raise BadServer(f"{url.value} is a server already: name the file to serve, as -S sqlite:///path.")
    if auth_publickey is None and (auth_iss or auth_aud):
        raise BadUsage("--auth-iss and --auth-aud say what tokens must claim: give --auth-publickey too.")

    from hitl_cli.engine.errors import EngineError, KeyUnusable
    from hitl_cli.engine.http.app import Options
    from hitl_cli.engine.http.hosts import is_loopback
    from hitl_cli.engine.http.push import PushRules, origins

    if auth_publickey is None and not is_loopback(host):
        raise BadUsage(
            f"{host} can be reached from other machines: that needs authentication, see --auth-publickey."
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
            f"--push-to names no origin: {error}. Write https://host or http://host:port."
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
        with listening(host, port):
            asyncio.run(_serve(options))
    except EngineError as error:
        raise Unreachable(str(error), code=error.code) from error


async def _serve(options: Options) -> None:
    """Serve until a signal says to stop."""
    from hitl_cli.engine.http.app import HttpServer

    http = HttpServer(options)
    on_stop_signals(http.stop)
    await http.run(lambda url: say(f"serving sqlite:///{options.path} on {url} (Ctrl-C stops)"))
