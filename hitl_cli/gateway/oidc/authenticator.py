"""The pages of sign-in with a provider: to it, back from it, and signing out at it.

The authorization code flow with PKCE. The state of a sign-in is in a signed cookie of the browser. The
provider's answer is accepted once, in the browser that began, and only with this provider's `iss` (RFC 9207).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from hitl_cli.auth import ended, signed_token
from hitl_cli.auth.sign_in import use_once
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.errors import BadSetting, logged
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.auth.redirects import HOME, local_path
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.oidc.accounts import groups_in, person_in
from hitl_cli.gateway.oidc.failures import ProviderAway, SignInRefused
from hitl_cli.gateway.oidc.id_token import id_token_claims, logout_claims
from hitl_cli.gateway.oidc.provider import Provider
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.pages.sign_in import check_pace, signed_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from aiohttp.web import Request

    from hitl_cli.gateway.auth.access import AuthContext, Visitor
    from hitl_cli.gateway.context import Gateway
    from hitl_cli.gateway.oidc.provider import Metadata, Tokens
    from hitl_cli.people.oidc_settings import OidcSettings

logger = logging.getLogger(__name__)

PATH = "/sign-in/oidc"
BACK = f"{PATH}/callback"
LOGOUT = f"{PATH}/logout"
OUT = f"{PATH}/out"

SALT = "hitl.oidc"

FLOW_MS = 15 * 60_000
"""How long a person may take at the provider."""

RANDOM_BYTES = 32

LONGEST_HINT = 3_500
"""Characters of an ID token that a browser keeps for signing out: its limit for a cookie is 4,096 bytes."""


class _Flow(TokenFields, frozen=True, kw_only=True):
    """A sign-in that has begun: the values that must come back, and the page to go to."""

    state: str
    nonce: str
    verifier: str
    wanted: str
    ends_at: int


class OidcSignIn:
    """Signs people in with the provider of the settings. Afterwards their session identifies them."""

    path = PATH

    def __init__(self, context: AuthContext) -> None:
        """Read the settings. Raises BadSetting without the client's secret."""
        self._options = context.options
        self._provider = Provider(self._settings())
        secret = self._provider.settings.client_secret or ""
        if secret.startswith("$"):
            raise BadSetting(f"oidc.client_secret is in {secret}, which is not set.")
        self.routes = [
            web.get(PATH, self._begin),
            web.get(BACK, self._finish),
            web.post(LOGOUT, self._end_sessions),
            web.get(OUT, self._sign_out),
        ]

    @property
    def label(self) -> str:
        """The name of the provider."""
        return self._provider.settings.name

    @property
    def sign_out(self) -> str | None:
        """The path that leads to the provider's page to sign out; None if it has none."""
        return OUT if self._provider.signs_out else None

    async def identify(self, request: Request) -> Visitor | None:  # noqa: ARG002 - the session does
        """Return None: a person who signed in has a session."""
        return None

    def _settings(self) -> OidcSettings:
        """Return the current settings. Raises HttpError (404) if the provider was removed from them."""
        settings = self._options.people.oidc
        if settings is None:
            raise HttpError(404, "sign-in with a provider is not set up here.")
        return settings

    def _current(self) -> Provider:
        """Return the provider of the current settings."""
        if (settings := self._settings()) != self._provider.settings:
            self._provider = Provider(settings)
        return self._provider

    async def _begin(self, request: Request) -> web.Response:
        """Send the browser to the provider."""
        gateway, provider = gateway_of(request), self._current()
        try:
            metadata = await provider.metadata()
        except ProviderAway as error:
            return _failed(request, error)
        flow = _Flow(
            state=secrets.token_urlsafe(RANDOM_BYTES),
            nonce=secrets.token_urlsafe(RANDOM_BYTES),
            verifier=secrets.token_urlsafe(RANDOM_BYTES),
            wanted=local_path(request.query.get("next", HOME)),
            ends_at=gateway.clock() + FLOW_MS,
        )
        challenge = urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": provider.settings.client_id,
            "redirect_uri": _back(gateway),
            "scope": " ".join(provider.settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        response = _to(metadata.authorization_endpoint, asked)
        text = signed_token.sign(flow, SALT, gateway.keys())
        gateway.cookies.put(response, gateway.cookies.oidc, text, FLOW_MS)
        return response

    async def _finish(self, request: Request) -> web.Response:
        """Sign in with what the provider sent back."""
        gateway = gateway_of(request)
        try:
            response = await self._signed_in(request, gateway, self._current())
        except (SignInRefused, ProviderAway) as error:
            check_pace(request)  # successful sign-ins are not counted: an office may share an address
            response = _failed(request, error)
        gateway.cookies.drop(response, gateway.cookies.oidc)
        return response

    async def _signed_in(self, request: Request, gateway: Gateway, provider: Provider) -> web.Response:
        """Return the response that begins the session. Raises SignInRefused, ProviderAway."""
        flow = _flow_of(request, gateway)
        given = {name: request.query.getall(name, []) for name in ("state", "code", "error", "iss")}
        if any(len(values) > 1 for values in given.values()):
            raise SignInRefused("the answer of the sign-in provider has a parameter twice.")
        said = {name: values[0] for name, values in given.items() if values}
        if not hmac.compare_digest(said.get("state", "").encode(), flow.state.encode()):
            raise SignInRefused(
                "this sign-in was started in another browser, or started again since. Sign in again."
            )
        _check_issuer(said.get("iss"), await provider.metadata())
        if not await gateway.bridge.run(use_once, _mark_of(flow), flow.ends_at, "oidc"):
            raise SignInRefused("this sign-in was already used. Sign in again.")
        if "code" not in said:
            why = said.get("error", "no code")
            raise SignInRefused(f"the sign-in provider did not sign you in ({printable(why[:60])}).")
        tokens = await provider.tokens(said["code"], flow.verifier, _back(gateway))
        claims = await _claims(provider, flow, tokens, gateway)
        response = self._session(gateway, provider, claims, flow.wanted)
        if len(tokens.id_token) <= LONGEST_HINT:
            gateway.cookies.put(response, gateway.cookies.hint, tokens.id_token, sessions.LIFE_MS, OUT)
        return response

    def _session(
        self, gateway: Gateway, provider: Provider, claims: Mapping[str, Any], wanted: str
    ) -> web.Response:
        settings, now = provider.settings, gateway.clock()
        person = person_in(claims, settings, self._options.people)
        sid = claims.get("sid")
        subjects = [ended.provider_subject("sub", settings.issuer, claims["sub"])]
        subjects += [ended.provider_subject("sid", settings.issuer, sid)] if isinstance(sid, str) else []
        session = sessions.begin(
            person,
            settings.can,
            now,
            now + settings.session_ms,
            subjects=tuple(subjects),
            groups=groups_in(claims, settings),
        )
        logger.info("%s signed in with %s", printable(person), printable(settings.name))
        return signed_in(gateway, session, wanted)

    async def _sign_out(self, request: Request) -> web.Response:
        """Send a browser that has signed out to the provider, to sign out there too."""
        gateway, provider = gateway_of(request), self._current()
        try:
            end = (await provider.metadata()).end_session_endpoint
        except ProviderAway as error:
            return _failed(request, error)
        if end is None:
            raise HttpError(404, "the sign-in provider offers no sign-out address: sign out on its own page.")
        back = f"{gateway.url}/sign-in"
        asked = {"client_id": provider.settings.client_id, "post_logout_redirect_uri": back}
        hint = gateway.cookies.get(request, gateway.cookies.hint)
        # With it, the provider may not ask; but another site can send a person here who has not signed out.
        if hint and gateway.cookies.session_in(request, gateway.keys(), gateway.clock()) is None:
            asked["id_token_hint"] = hint
        response = _to(end, asked)
        gateway.cookies.drop(response, gateway.cookies.hint, OUT)
        return response

    async def _end_sessions(self, request: Request) -> web.Response:
        """End the sessions that the provider names (OpenID Connect Back-Channel Logout)."""
        gateway, provider = gateway_of(request), self._current()
        text = (await request.post()).get("logout_token")
        if not isinstance(text, str):
            raise HttpError(400, "send a logout_token.")
        try:
            claims = await logout_claims(provider, text, now_s=gateway.clock() // 1_000)
        except SignInRefused as error:
            check_pace(request)
            raise HttpError(400, str(error), code=error.code) from error
        kind = "sid" if isinstance(claims.get("sid"), str) else "sub"
        subject = ended.provider_subject(kind, provider.settings.issuer, str(claims[kind]))
        await gateway.bridge.run(ended.end, subject, life_ms=sessions.LIFE_MS, by="oidc", via="oidc")
        return web.Response()


async def _claims(provider: Provider, flow: _Flow, tokens: Tokens, gateway: Gateway) -> dict[str, Any]:
    """Return the provider's claims about the person who signed in. Raises SignInRefused, ProviderAway."""
    claims = await id_token_claims(
        provider,
        tokens.id_token,
        nonce=flow.nonce,
        access_token=tokens.access_token,
        now_s=gateway.clock() // 1_000,
    )
    if {provider.settings.person, provider.settings.groups_claim} <= claims.keys():
        return claims
    more = await provider.userinfo(tokens.access_token)
    if more and more.get("sub") != claims["sub"]:
        raise SignInRefused("the sign-in provider answered about another account.")
    return more | claims


def _flow_of(request: Request, gateway: Gateway) -> _Flow:
    """Return the sign-in that this browser began. Raises SignInRefused."""
    text = gateway.cookies.get(request, gateway.cookies.oidc)
    flow = signed_token.read(text, _Flow, SALT, gateway.keys())
    if flow is None or gateway.clock() >= flow.ends_at:
        raise SignInRefused("no sign-in was started in this browser, or it took too long. Sign in again.")
    return flow


def _check_issuer(iss: str | None, metadata: Metadata) -> None:
    """Raise SignInRefused if another provider answered (RFC 9207)."""
    missing = iss is None and metadata.authorization_response_iss_parameter_supported
    if missing or iss not in (None, metadata.issuer):
        raise SignInRefused("another sign-in provider has answered. Sign in again.")


def _mark_of(flow: _Flow) -> str:
    """Return an id of a sign-in, which does not reveal its state."""
    return f"oidc-{hashlib.sha256(flow.state.encode()).hexdigest()[:32]}"


def _back(gateway: Gateway) -> str:
    """Return the redirect URI, on the gateway's URL from the settings and never from a request."""
    return f"{gateway.url}{BACK}"


def _to(endpoint: str, asked: Mapping[str, str]) -> web.Response:
    """Return a redirect to a page of the provider."""
    joint = "&" if "?" in endpoint else "?"
    return web.Response(status=303, headers={"Location": f"{endpoint}{joint}{urlencode(asked)}"})


def _failed(request: Request, error: SignInRefused | ProviderAway) -> web.Response:
    """Return the page that says why sign-in failed. The provider's address is only in the log."""
    logger.warning("sign-in failed: %s", printable(logged(error)))
    refused = isinstance(error, SignInRefused)
    said = str(error) if refused else "the sign-in provider does not answer. Try again later."
    return page(
        request,
        "link_over.html",
        status=403 if refused else 503,
        again=True,
        heading="You are not signed in",
        message=said,
        code=error.code,
    )
