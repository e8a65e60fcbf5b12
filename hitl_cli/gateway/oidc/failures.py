"""Errors of a sign-in with a provider."""

from __future__ import annotations

from hitl_cli.errors import HitlError


class SignInRefused(HitlError):
    """The answer of the sign-in provider is not valid, or not for this browser; nobody was signed in."""

    code = "sign-in-refused"


class ProviderAway(HitlError):
    """The sign-in provider cannot be reached, or does not respond as one."""

    code = "sign-in-unavailable"
