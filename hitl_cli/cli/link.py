"""`hitl link` and `hitl link revoke`: URLs with which one person answers one request."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from hitl_cli.auth import links
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.cli.completion import complete_person
from hitl_cli.cli.context import AsPerson, CommandContext
from hitl_cli.cli.options import AsJson, Family, Id, argument, family, flag, value
from hitl_cli.cli.output import is_terminal, note, note_unknown, print_json
from hitl_cli.engine.http.hosts import is_loopback
from hitl_cli.errors import BadInput, BadUsage
from hitl_cli.format.durations import format_age, parse_duration
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.people.sight import Sight
from hitl_cli.views.auth import link_document

if TYPE_CHECKING:
    from hitl_cli.auth.links import Link
    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.client.protocol import Client

BLACK_ON_WHITE = "\x1b[38;5;231;48;5;16m"
"""Colors of the QR code, fixed so that it can be scanned on dark and on light terminals."""

QR_BORDER = 4
"""The light border around the code, in modules, as the standard requires."""


class _LinkCommands(Family):
    """`hitl link ID` is short for `hitl link create ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = family(
    "link",
    "Create or revoke links that let one person answer one request. `hitl link ID` creates one.",
    _LinkCommands,
)


@app.command()
def create(
    ctx: AsPerson,
    id: Id,
    person: Annotated[
        str, value("PERSON", "Person who answers with the link.", "--for", complete=complete_person)
    ],
    expires: Annotated[str | None, value("DURATION", "How long the link is valid. Default: 30d.")] = None,
    post: Annotated[
        bool, flag("Create a URL for a program, which sends the answer to it by POST.", "--post")
    ] = False,
    qr: Annotated[bool, flag("Also print a QR code, on stderr.", "--qr")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a link that lets a person answer a request. Anyone with the link can answer as that person."""
    settings = ctx.settings
    if post and qr:
        raise BadUsage("--post and --qr cannot be combined: a URL for a program has no page to open.")
    gateway = ctx.gateway
    life_ms = parse_duration(expires) if expires is not None else None
    client, keys = _opened(ctx)
    with client:
        kind = links.PROGRAM if post else links.PAGE
        groups, sight = settings.groups(), _sight(ctx, client)
        link = links.make(client, id, person, life_ms=life_ms, groups=groups, kind=kind, sight=sight)
    note_unknown([link.person], groups)
    url = links.url_of(gateway or settings.gateway().value, link, keys, kind)
    if settings.gateway().source == "default" and is_loopback(urlsplit(url).hostname or ""):
        note(
            'This link works on this machine only. For others, set gateway = "https://…" in hitl.toml,'
            " or HITL_GATEWAY, to the public URL of the gateway."
        )
    if qr:
        _draw(url)
    if as_json:
        print_json(link_document(link, url))
        return
    note(f"For {link.person} to answer {link.request}, valid for {format_age(link.ends_at - link.made_at)}:")
    print(url)


@app.command()
def revoke(
    ctx: AsPerson,
    what: Annotated[str, argument("LINK|ID", "A link, or a request to revoke all its links.")],
    person: Annotated[
        str | None,
        value("PERSON", "With a request: only the links of this person.", "--for", complete=complete_person),
    ] = None,
) -> None:
    """Revoke a link, or all links of a request."""
    settings = ctx.settings
    by, groups = settings.person(ctx.who).value, settings.groups()
    client, keys = _opened(ctx)
    with client:
        link = _link_named(what, keys)
        if link is not None and person is not None and not groups.same(person, link.person):
            raise BadInput(f"this link is for {link.person}, not for {person}.")
        if link is not None:
            request = links.revoke_link(client, link, by=by, via="cli")
            said = f"the link of {link.person}"
        else:
            sight = _sight(ctx, client)
            request = links.revoke_all(client, what, person, by=by, via="cli", groups=groups, sight=sight)
            said = "all links" if person is None else f"all links of {person}"
    ended = "" if request.state == "pending" else " (it was already answered or closed)"
    print(f"{said} for {request.id} revoked{ended}")


def _opened(ctx: CommandContext) -> tuple[Client, Keys]:
    """Return a client of the server, and its signing keys."""
    client = ctx.client()
    return client, load_keys(ctx.settings.keys(ctx.server()[0].value), client.now())


def _sight(ctx: CommandContext, client: Client) -> Sight:
    """Return what the person of the settings may see."""
    actor = Actor(person=ctx.settings.person(ctx.who).value, via="cli", groups=ctx.settings.groups())
    return Sight(Inbox(client, actor).actor)


def _link_named(text: str, keys: Keys) -> Link | None:
    """Return the link for a URL or a link token; None if the text names a request.

    Raises LinkInvalid for a URL that is not a link of hitl.
    """
    if "://" in text:
        return links.link_at(text, keys)
    try:
        return links.link_in(text, keys)
    except links.LinkInvalid:
        return None


def _draw(url: str) -> None:
    """Print a QR code on stderr."""
    import segno

    code = segno.make(url, error="l", micro=False)
    width = code.symbol_size(border=QR_BORDER)[0]
    if is_terminal(sys.stderr) and shutil.get_terminal_size().columns < width:
        note(f"The QR code needs {width} columns: make the terminal wider.")
        return
    drawn = io.StringIO()
    code.terminal(drawn, border=QR_BORDER, compact=True)
    lines = drawn.getvalue().splitlines()
    if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        lines = [f"{BLACK_ON_WHITE}{line}\x1b[0m" for line in lines]
    print("\n".join(lines), file=sys.stderr)
