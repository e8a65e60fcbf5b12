"""A sign-in provider (OpenID Connect) over real HTTP with real keys, which lies when a test says so."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

CLIENT = "hitl"
SECRET = "s3cret of the client"

LOGOUT_EVENT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}


class SmallProvider:
    """Answers as a provider does. A test changes what it says before it signs in."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})]
        self.claims: dict[str, Any] = {}
        """Claims of the account."""
        self.changes: dict[str, Any] = {}
        """Claims of the ID token that are other than they should be; None leaves one out."""
        self.header: dict[str, Any] = {}
        self.signer: Any = None
        self.algorithm = "RS256"
        self.metadata: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.id_token: str | None = None
        """Given instead of a signed one."""
        self.answer: dict[str, str] = {}
        """Parameters of the redirect back that are other than they should be."""
        self.fetched: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorize(self, location: str) -> str:
        """Be the page of the provider: sign in, and return where the browser is sent back to."""
        parts = urlsplit(location)
        asked = dict(parse_qsl(parts.query))
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        said = {"code": code, "state": asked["state"], "iss": self.issuer} | self.answer
        back = urlsplit(asked["redirect_uri"])
        return f"{back.path}?{urlencode({name: text for name, text in said.items() if text})}"

    def token(self, asked: dict[str, str]) -> str:
        """Return the ID token for an authorization request."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "account-1",
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce"),
            **self.claims,
            **self.changes,
        }
        return self.sign({name: value for name, value in claims.items() if value is not None})

    def sign(self, claims: dict[str, Any], typ: str = "JWT") -> str:
        key = self.signer or self.keys[0]
        header = {"alg": self.algorithm, "kid": self.keys[0].kid, "typ": typ} | self.header
        if header["alg"] == "none":
            return f"{_text_of(header)}.{_text_of(claims)}."
        kept = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(kept, claims, key, algorithms=[header["alg"]])

    def logout_token(self, **changes: Any) -> str:
        """Return a token that ends the sessions of the account."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "account-1", "iat": now, "exp": now + 60,
                  "jti": "j", "events": LOGOUT_EVENT, **changes}  # fmt: skip
        return self.sign({name: value for name, value in claims.items() if value is not None}, "logout+jwt")

    def documents(self) -> dict[str, Any]:
        """Return what the provider publishes, by path."""
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/end",
            "authorization_response_iss_parameter_supported": True,
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}),
            **self.metadata,
        }
        return {
            "/.well-known/openid-configuration": metadata,
            "/keys": {"keys": [key.as_dict(private=False) for key in self.keys]},
            "/userinfo": self.userinfo,
        }

    def exchange(self, headers: Any, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Return what the token endpoint answers: a code counts once, for its client and its verifier."""
        asked = self._codes.pop(form["code"][0], None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '%20')}".encode()).decode()
        if headers.get("Authorization") != f"Basic {basic}":
            return 401, {"error": "invalid_client"}
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or asked["redirect_uri"] != form["redirect_uri"][0]
            or asked["code_challenge"] != proof
        ):
            return 400, {"error": "invalid_grant"}
        token = self.id_token or self.token(asked)
        return 200, {"id_token": token, "access_token": "at", "token_type": "Bearer"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetched.append(self.path)
                found = provider.documents().get(self.path)
                self._say(200 if found is not None else 404, found)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._say(*provider.exchange(self.headers, parse_qs(body)))

            def _say(self, status: int, document: Any) -> None:
                raw = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _text_of(part: dict[str, Any] | bytes) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def hmac_signed(key: Any) -> str:
    """Return an HS256 token whose secret is a public key."""
    said = f"{_text_of({'alg': 'HS256', 'kid': key.kid})}.{_text_of({'sub': 'account-1'})}"
    return f"{said}.{_text_of(hmac.digest(key.as_pem(private=False), said.encode(), 'sha256'))}"


def for_use(key: Any, use: str) -> RSAKey:
    """Return a key as one for another use."""
    return RSAKey.import_key(key.as_dict(private=True) | {"use": use})


@cache
def another_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one"})


def keys_of(algorithm: str) -> Any:
    """Return a fresh key for an algorithm."""
    if algorithm.startswith("ES"):
        return ECKey.generate_key("P-256", {"kid": "two"})
    return OKPKey.generate_key("Ed25519", {"kid": "two"})
