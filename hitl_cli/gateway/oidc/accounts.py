"""Maps the claims of an account to a person and groups of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput
from hitl_cli.format.mail_headers import is_address
from hitl_cli.gateway.oidc.failures import SignInRefused
from hitl_cli.people.actor import check_person
from hitl_cli.people.groups import bare_name
from hitl_cli.people.oidc_settings import EMAIL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.oidc_settings import OidcSettings


def person_in(claims: Mapping[str, Any], settings: OidcSettings, directory: Directory) -> str:
    """Return the person of an account. Raises SignInRefused.

    That is the person of the settings whose `oidc`, name or e-mail address equals the claim. Otherwise,
    unless the settings are strict, the claim is the name of a person. A person with an `oidc` signs in by
    that only.
    """
    value = claims.get(settings.person)
    if not isinstance(value, str) or value != value.strip() or not value.isprintable():
        raise SignInRefused(
            f"your account has no claim {settings.person}, with which hitl identifies you. Ask your hitl"
            " administrator."
        )
    if settings.person == EMAIL and settings.verified_email and claims.get("email_verified") is not True:
        raise SignInRefused("your account's e-mail address is not verified.")
    if settings.person == EMAIL and not is_address(value):  # otherwise it could be a person's name
        raise SignInRefused("your account's e-mail address is not valid.")
    if (pinned := directory.person_at_provider(value)) is not None:
        return pinned
    try:
        name = directory.members.name(check_person(value))
    except BadInput as error:
        raise SignInRefused(f"your account cannot be used here: {error}") from error
    contact = directory.people.get(name)
    if contact is not None and contact.oidc is not None:
        raise SignInRefused(f"{name} signs in with another account.")
    if directory.strict_people and directory.members.unknown([name]):
        raise SignInRefused(f"{name} is not in the settings: ask your hitl administrator.")
    return name


def groups_in(claims: Mapping[str, Any], settings: OidcSettings) -> tuple[str, ...]:
    """Return the groups of the settings that an account's groups map to; other groups are ignored."""
    said = claims.get(settings.groups_claim)
    values = said if isinstance(said, list) else [said]
    mapped = (settings.groups.get(value) for value in values if isinstance(value, str))
    return tuple(dict.fromkeys(bare_name(group) for group in mapped if group is not None))
