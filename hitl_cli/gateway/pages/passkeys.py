"""`/passkeys`: the passkeys that the settings have for a visitor, and a new one.

The gateway stores none. A new passkey is shown as a line for the settings, and is valid once that line was
added to them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hitl_cli.errors import BadInput, HitlError
from hitl_cli.format.passkeys import are_verified_here, origin_of, passkey, to_base64url
from hitl_cli.format.toml import toml_list, toml_name
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import status_of
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.proof import passkeys
from hitl_cli.proof.checking import ALWAYS
from hitl_cli.proof.signing import usable_passkeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.web import Request

    from hitl_cli.format.passkeys import Passkey
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.http_error import HttpError

ADDRESS = "/passkeys"

LONGEST_COMMENT = 60

PATIENCE_MS = 120_000
"""How long the browser waits for the person."""


async def _index(request: Request) -> web.Response:
    """Show the passkeys of the visitor."""
    return _shown(request, gateway_of(request).access.visitor(request, "decide"))


async def _create(request: Request, visitor: Visitor, form: Any) -> web.Response:
    """Show the line for the settings of the passkey that the browser has made."""
    try:
        comment = "".join(filter(str.isprintable, form_text(form, "comment")))[:LONGEST_COMMENT]
        origin = origin_of(gateway_of(request).url) or ""
        credential = form_text(form, "credential") or "{}"
        made = passkeys.created(credential, _challenge(request, visitor), origin, comment)
    except BadInput as error:
        return _shown(request, visitor, failed=error, status=status_of(error))
    return _shown(request, visitor, made=made)


async def _stale(request: Request, visitor: Visitor, _form: Any, error: HttpError) -> web.Response:
    """Show the page again."""
    return _shown(request, visitor, failed=error, status=status_of(error))


def _shown(
    request: Request,
    visitor: Visitor,
    *,
    made: Passkey | None = None,
    failed: HitlError | None = None,
    status: int = 200,
) -> web.Response:
    """Return the page; with a new passkey, or an error."""
    gateway = gateway_of(request)
    groups, person = visitor.actor.groups, visitor.person
    lines = groups.passkeys.get(groups.key(person), ())
    origin = origin_of(gateway.url)
    own = usable_passkeys(person, groups, origin)
    return page(
        request,
        "passkeys.html",
        status=status,
        own=[(key, key in own, groups.lives.get(key.fingerprint, ALWAYS)) for key in map(passkey, lines)],
        origin=origin,
        installed=are_verified_here(),
        options=_options(request, visitor, own) if origin else {},
        made=made,
        toml=f"[people.{toml_name(person)}]\n{toml_list('passkeys', [*lines, made.line])}\n" if made else "",
        failed=failed,
        code=failed and failed.code,
        longest=LONGEST_COMMENT,
    )


def _challenge(request: Request, visitor: Visitor) -> bytes:
    """Return the challenge for a new passkey. It is the same all session, because a replay gains nothing."""
    return sha256(f"hitl.passkey\0{gateway_of(request).access.csrf(visitor)}".encode()).digest()


def _options(request: Request, visitor: Visitor, own: Sequence[Passkey]) -> dict[str, Any]:
    """Return the options with which a browser makes a passkey (WebAuthn, section 5.4)."""
    person = visitor.person
    user = sha256(f"hitl.passkey\0{visitor.actor.groups.key(person)}".encode()).digest()
    return {
        "rp": {"name": "hitl"},
        "user": {"id": to_base64url(user), "name": person, "displayName": person},
        "challenge": to_base64url(_challenge(request, visitor)),
        "pubKeyCredParams": [{"type": "public-key", "alg": number} for number in passkeys.ALGORITHMS],
        "excludeCredentials": [{"type": "public-key", "id": key.credential} for key in own],
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "required"},
        "attestation": "none",
        "timeout": PATIENCE_MS,
    }


ROUTES = [
    web.get(ADDRESS, _index),
    form_route(ADDRESS, _create, "decide", kept_for=lambda _: ADDRESS, stale=_stale),
]
