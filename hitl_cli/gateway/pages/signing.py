"""A decision on a page that is signed by a passkey.

The form is sent twice. The first time, it requests the statement that the passkey signs, and nothing is
decided. The second time, it includes the signature, which must be of this same form. The gateway stores
nothing in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Proof
from hitl_cli.errors import BadInput, BadProof
from hitl_cli.format.passkeys import are_verified_here, origin_of, to_base64url
from hitl_cli.format.shell import command
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.inspected import inspected
from hitl_cli.proof.signing import FRESH_MS, Signer, signed_before, usable_passkeys
from hitl_cli.proof.statement import Statement, asked_digest, check_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from hitl_cli.gateway.context import Gateway
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor


class Signing(Struct, frozen=True, kw_only=True):
    """How a person signs the decision on a request.

    `origin` is the origin of this gateway's passkeys, `with_passkey` whether the person has one, `asked` the
    digest of what the page shows. `why_not` says why a decision that must be signed cannot be signed on this
    page, and how to sign it.
    """

    required: bool
    origin: str | None
    with_passkey: bool
    asked: str = ""
    why_not: str = ""


def signing(gateway: Gateway, item: RequestSummary, actor: Actor) -> Signing:
    """Return how a person signs the decision on a request on its page."""
    origin, required = origin_of(gateway.url), item.asked.proof
    own = usable_passkeys(actor.person, actor.groups, origin)
    if not required and not own:
        return Signing(required=False, origin=origin, with_passkey=False)
    asked = why = ""
    try:
        asked = asked_digest(item.promise, item.run)
    except ValueError as error:
        why = f"it cannot be signed, because it has no canonical JSON ({error})."
    if origin is None:
        why = why or f"browsers use passkeys with https or on localhost, and this is {gateway.url}."
    elif not are_verified_here():
        why = why or "this gateway lacks the extra resonate-hitl[passkeys]."
    elif not own:
        why = why or f"the settings have no valid passkey of {actor.person} for {origin}."
    if why and required == "signed":
        why = f"{why} Or sign on a terminal: `{command('approve', [item.id])} --sign`."
    return Signing(
        required=required is not None,
        origin=origin,
        with_passkey=not why,
        asked=asked,
        why_not=why if required else "",
    )


class ToSign(BadInput):
    """A statement that has no signature yet. Nothing was decided."""

    code = "not-signed"

    def __init__(self, statement: Statement) -> None:
        super().__init__("your browser did not sign it with a passkey. Nothing was changed.")
        self.statement = statement


def signer_of(form: Any, actor: Actor) -> Signer | None:
    """Return the signer with a sent form's signature; None if it has none. Raises BadProof."""
    if given := form_text(form, "proof"):
        try:
            return signed_before(msgspec.json.decode(given, type=inspected(Proof)), actor.groups)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadProof(f"the signature cannot be read: {error}. Nothing was changed.") from error
    return Signer("passkey", _not_yet) if wants_statement(form) or form_text(form, "sign") else None


def _not_yet(statement: Statement) -> Proof:
    raise ToSign(statement)


def wants_statement(form: Any) -> bool:
    """Whether a sent form asks for the statement to sign."""
    return form_text(form, "statement") == "1"


def as_shown(form: Any) -> Callable[[RequestSummary], None]:
    """Return a check that raises Conflict if the request differs from the one that the form's page showed."""

    def check(item: RequestSummary) -> None:
        if shown := form_text(form, "asked"):
            check_unchanged(item.promise, item.run, shown)

    return check


def statement_answer(gateway: Gateway, statement: Statement, actor: Actor) -> web.Response:
    """Return a statement, and the options for a browser to sign it (WebAuthn, section 5.5)."""
    origin = origin_of(gateway.url)
    own = usable_passkeys(actor.person, actor.groups, origin)
    options = {
        "challenge": to_base64url(statement.challenge()),
        "allowCredentials": [{"type": "public-key", "id": key.credential} for key in own],
        "userVerification": "required",
        "timeout": FRESH_MS,
    }
    return json_answer(
        {
            "statement": statement,
            "proof": {"kind": "passkey", "decision": statement.decision, "at": statement.at},
            "options": options,
        }
    )
