"""`hitl gateway`: the inbox page, links and the HTTP API."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated

import msgspec

from hitl_cli import defaults, tracing
from hitl_cli.cli.context import AtServer
from hitl_cli.cli.logs import LogJson, Metrics, say_serving, wants_json
from hitl_cli.cli.options import Port, flag, value
from hitl_cli.cli.serving import listening, on_stop_signals
from hitl_cli.client.connect import shown_url
from hitl_cli.errors import BadUsage
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from hitl_cli.gateway.options import Options

logger = logging.getLogger(__name__)

SignIn = Annotated[bool, flag("Require sign-in on localhost too.", "--sign-in")]


AccessLog = Annotated[
    bool, flag("Log each HTTP request: who, what and how long, without tokens and queries.", "--access-log")
]


def gateway(
    ctx: AtServer,
    host: Annotated[
        str, value("ADDRESS", "Address to listen on. Addresses other than localhost require sign-in.")
    ] = "127.0.0.1",
    port: Port = defaults.GATEWAY_PORT,
    url: Annotated[
        str | None, value("URL", "Public URL, if different from the address. (HITL_GATEWAY)")
    ] = None,
    example_routes: Annotated[
        bool,
        flag("Serve the example routes, such as /start-workflow, to other machines too.", "--example-routes"),
    ] = False,
    plain_links: Annotated[
        bool, flag("Let GET /unblock-workflow approve from other machines too.", "--plain-links")
    ] = False,
    no_mcp: Annotated[bool, flag("Do not serve /mcp, the MCP server for agents.", "--no-mcp")] = False,
    no_undo: Annotated[
        bool,
        flag("Record decisions on pages at once. By default, people can undo them for 5 s.", "--no-undo"),
    ] = False,
    sign_in: SignIn = False,
    trust_header: Annotated[
        str | None, value("NAME", "Trust this header from an authenticating proxy. Needs --trust-from.")
    ] = None,
    trust_from: Annotated[
        list[str] | None,
        value(
            "ADDRESS",
            "Address or network of the proxy, whose X-Forwarded-For tells clients apart (repeatable).",
        ),
    ] = None,
    log_json: LogJson = False,
    access_log: AccessLog = False,
    metrics: Metrics = None,
) -> None:
    """Serve the inbox page for people and the HTTP API for programs."""
    import ipaddress

    from hitl_cli.metrics.options import metrics_options

    if trust_header is not None and not trust_from:
        raise BadUsage("--trust-header needs --trust-from: the address of the proxy.")
    try:
        networks = [ipaddress.ip_network(address) for address in trust_from or ()]
    except ValueError as error:
        raise BadUsage(f"--trust-from is not an address or a network: {error}.") from error
    options = msgspec.structs.replace(
        options_of(ctx, host=host, port=port, url=url),
        example_routes=example_routes,
        plain_links=plain_links,
        mcp=not no_mcp,
        undo=not no_undo,
        sign_in=sign_in,
        trust_header=trust_header,
        trust_from=networks,
        access_log=access_log,
        metrics=None if metrics is None else metrics_options(metrics, Settings().metrics()),
    )
    log_json = wants_json(log_json)
    with listening(host, port, log_json=log_json):
        tracing.start("gateway")
        _tell_where_mails_lead(options)
        asyncio.run(_serve(options, log_json=log_json))


def _tell_where_mails_lead(options: Options) -> None:
    """Log a warning if links in sign-in mails only work on this machine."""
    from hitl_cli.notify.shortcomings import of_gateway

    if options.directory.email is not None:
        for one in of_gateway(msgspec.structs.replace(options.directory, gateway=options.url)):
            logger.warning("%s", one)


def options_of(ctx: AtServer, *, host: str, port: int, url: str | None) -> Options:
    """Return the options of a gateway, from the command line and the settings. Raises BadInput."""
    from hitl_cli.gateway.options import Options

    settings = Settings()
    live = settings.live_directory()
    named, chosen_token = ctx.server_itself(settings)
    reached = settings.gateway(url)
    shown = f"[{host}]" if ":" in host else host
    return Options(
        server=named.value,
        token=chosen_token,
        host=host,
        port=port,
        url=f"http://{shown}:{port}" if reached.source == "default" else reached.value,
        keys=settings.keys(named.value),
        announced_in=settings.gateway_file(named.value),
        person=settings.person().value,
        directory=live(),
        live=live,
        group=settings.group().value,
        workflow=settings.workflow().value,
    )


async def _serve(options: Options, *, log_json: bool) -> None:
    """Serve until a signal stops it."""
    from hitl_cli.gateway.app import run
    from hitl_cli.gateway.context import Gateway

    gateway = Gateway(options)
    on_stop_signals(gateway.stop)
    server = shown_url(options.server)

    def serving(url: str) -> None:
        text = f"gateway for {server} on {url} (Ctrl-C stops)"
        document = {"server": server, "url": url}
        say_serving(text, document, gateway.metrics_url, as_json=log_json)

    await run(gateway, serving)
