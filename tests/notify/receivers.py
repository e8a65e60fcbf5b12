"""What receives messages, for tests: a real SMTP server and a real HTTP server on this machine.

    with Mailbox() as mailbox: ...        # mailbox.settings is what stands in hitl.toml
    with HttpReceiver() as receiver: ...  # receiver.url is where to send to

Both keep what came in `received`, and refuse the next messages after `fail_with(status, times)`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult
from msgspec import Struct

from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aiosmtpd.smtp import Envelope, LoginPassword, Session

LONG_S = 3_600


class Mailbox:
    """An SMTP server. `certificate` (a PEM file with its key) has it offer, and insist on, STARTTLS.

    `login` is the user and password that it insists on.
    """

    def __init__(self, certificate: Path | None = None, login: tuple[str, str] | None = None) -> None:
        self.received: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.connections = 0
        self.port = 0
        self._login = login
        self._refusals: deque[tuple[str, str]] = deque()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def settings(self) -> str:
        """The table of hitl.toml that sends mail here, without STARTTLS and a login."""
        return f'[email]\nhost = "127.0.0.1"\nport = {self.port}\ntls = "none"\nfrom = "hitl@example.org"\n'

    def fail_with(self, status: int, times: int = 1, at: str = "DATA", saying: str = "not now") -> None:
        """Refuse the next messages with a status, at MAIL, at RCPT or after DATA."""
        self._refusals.extend([(at, f"{status} {saying}")] * times)

    def heard_since(self, connections: int) -> bool:
        """Whether there were more connections than this number."""
        return self.connections > connections

    def drop_refusals(self) -> None:
        """Refuse no more."""
        self._refusals.clear()

    def wait_for(self, count: int = 1) -> list[EmailMessage]:
        """Wait for this number of mails, and return them."""
        wait_until(lambda: len(self.received) >= count)
        return self.received

    def __enter__(self) -> Self:
        self._thread.start()
        made = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(self._session, "127.0.0.1", 0), self._loop
        )
        self._server = made.result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _session(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            hostname="mail.example.org",
            enable_SMTPUTF8=True,
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            auth_required=self._login is not None,
            auth_require_tls=self._tls is not None,
            authenticator=self._authenticate,
            timeout=LONG_S,
            loop=self._loop,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False)

    # What aiosmtpd calls; it goes by the names.

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Sequence[str]
    ) -> str:
        if self._refusals and self._refusals[0][0] == "MAIL":
            return self._refusals.popleft()[1]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Sequence[str]
    ) -> str:
        if self._refusals and self._refusals[0][0] == "RCPT":
            return self._refusals.popleft()[1]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self._refusals and self._refusals[0][0] == "DATA":
            return self._refusals.popleft()[1]
        content = cast("bytes", envelope.content)
        self.envelopes.append(envelope)
        self.received.append(message_from_bytes(content, policy=modern))
        return "250 taken"


def parts_of(mail: EmailMessage) -> tuple[str, str]:
    """Return the text and the HTML of a mail."""
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert isinstance(text, EmailMessage)
    assert isinstance(page, EmailMessage)
    return text.get_content(), page.get_content()


class Posted(Struct, frozen=True):
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpReceiver:
    """An HTTP server that takes whatever is posted."""

    def __init__(self) -> None:
        self.received: list[Posted] = []
        """All that came, also what was refused."""
        self.connections = 0
        self.answers = threading.Event()
        """Cleared, it takes what comes and does not answer."""
        self.answers.set()
        self._refusals: deque[tuple[int, Mapping[str, str]]] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def fail_with(self, status: int, times: int = 1, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next requests with a status."""
        self._refusals.extend([(status, headers or {})] * times)

    def wait_for(self, count: int = 1) -> list[Posted]:
        """Wait for this number of requests, and return them."""
        wait_until(lambda: len(self.received) >= count)
        return self.received

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                lowered = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Posted(self.path, lowered, body))
                receiver.answers.wait(PATIENCE_S)
                status, headers = receiver._refusals.popleft() if receiver._refusals else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
