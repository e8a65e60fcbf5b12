"""Shared by the commands: the server, the person who acts, signals, stdin."""

from __future__ import annotations

import codecs
import signal
import sys
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeGuard

import msgspec
import typer

from hitl_cli.client.connect import check_takes, connect, connect_existing
from hitl_cli.errors import BadInput, BadJson, BadUsage, NotAllowed, Unreachable
from hitl_cli.format.json import why_not_json
from hitl_cli.people.actor import Actor
from hitl_cli.settings import LOGIN_NAME, Setting, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox import Inbox
    from hitl_cli.ledger import Ledger
    from hitl_cli.remote.client import RemoteClient
    from hitl_cli.runs import Runs

AT_GATEWAY = "Leave out -S and pass --gateway URL, with a token of `hitl token` in HITL_TOKEN."
"""Advice for programs that ask, because these never act as the signed-in person."""


class CommandContext(typer.Context):
    """The context of a command of hitl: its settings, server and person.

    A command whose `ctx` is of one of the kinds below also takes the options in `shared`, after its own. They
    are read here and are not parameters of its function.
    """

    shared: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def settings(self) -> Settings:
        """The settings, read on first use."""
        return Settings()

    @property
    def given_server(self) -> str | None:
        """The server on the command line, before or after the command."""
        return self._given("server")

    @property
    def given_token(self) -> str | None:
        """The token on the command line, before or after the command."""
        return self._given("token")

    @property
    def who(self) -> str | None:
        """The person on the command line. An empty name is refused; nobody else acts in its place."""
        who: str | None = self.params.get("who")
        return who

    def _given(self, name: str) -> str | None:
        text: str | None = self.params.get(name) or self.find_root().params.get(name)
        return text

    def server(self, settings: Settings | None = None) -> tuple[Setting, str | None]:
        """Return the server and its token, from options before or after the command, or from the settings.

        `settings` are those of the command unless they were read anew. Raises BadUsage if an option gives a
        token for a server that takes none.
        """
        known = settings or self.settings
        url, token = known.server(self.given_server), self.given_token
        check_takes(url.value, token)
        return url, known.token(token)

    def server_itself(
        self, settings: Settings | None = None, *, instead: str = ""
    ) -> tuple[Setting, str | None]:
        """Return the same for what no gateway does. Raises NotDone at one: `instead` says what to do."""
        if self.remote is not None:
            self.remote.needs_server(instead)
        return self.server(settings)

    @cached_property
    def remote(self) -> RemoteClient | None:
        """The gateway in the place of the server, None for a server. It asks once who the person is."""
        url, _ = self.server()
        return _gateway_at(url.value, self.given_token, self.settings)

    def client(self, *, creates: bool = False) -> Client:
        """Return a client of the server. A missing database is created only if `creates` is true."""
        if self.remote is not None:
            return self.remote
        url, token = self.server()
        return (connect if creates else connect_existing)(url.value, token)

    @property
    def gateway(self) -> str | None:
        """The URL of the gateway, from the settings or running on this machine; None if unknown."""
        url, _ = self.server()
        return url.value.rstrip("/") if self.remote else self.settings.reached(url.value)

    def actor(self, via: str = "cli") -> Actor:
        """Return the person who acts: at a gateway, the signed-in person. Raises BadUsage."""
        if self.remote is None:
            return actor_from(self.settings, self.who, via)
        _check_nobody_else(self.remote, self.who)
        return inbox_of(self.remote, Actor(person="", via=via)).actor

    @contextmanager
    def opened[T](
        self, make: Callable[[Client, Actor], T], *, creates: bool = False
    ) -> Iterator[tuple[T, Client]]:
        """Open what `make` returns, such as `inbox_of`, for the person who acts."""
        actor = actor_from(self.settings, self.who)
        with self.client(creates=creates) as client:
            _check_nobody_else(client, self.who)
            try:
                yield make(client, actor), client
            except NotAllowed as error:
                if error.code == "not-assignee" and not is_remote(client):
                    error.hint = error.hint or self._named_by_login(actor)
                raise

    def _named_by_login(self, actor: Actor) -> str:
        """Return how to act as somebody else, if only the login name says who acts; otherwise nothing."""
        if self.settings.person(self.who).source != LOGIN_NAME:
            return ""
        return f"{actor.person} is your login name: to act under another, pass --as NAME or set HITL_AS."


def seen_by(actor: Actor) -> str:
    """Return an addition to "not found" that says whose view it is; empty if the person sees everything."""
    return "" if actor.sees_all else f" that {actor.person} may see"


class AtFile(CommandContext):
    """A command at a database file, or at another server that needs no token: --server."""

    shared = ("server",)


class AtServer(CommandContext):
    """A command at a server: --server and --token."""

    shared = ("server", "token")


class AsPerson(CommandContext):
    """A command of a person at a server: --as, --server and --token."""

    shared = ("who", "server", "token")


@contextmanager
def opened[T](
    make: Callable[[Client, Actor], T],
    ctx: typer.Context,
    server: str | None = None,
    token: str | None = None,
    who: str | None = None,
    *,
    creates: bool = False,
) -> Iterator[tuple[T, Client]]:
    """Open what `make` returns, such as `Inbox`, in a plugin's command, which declares the options itself."""
    place = AsPerson(ctx.command, parent=ctx.find_root())
    place.params = {"server": server, "token": token, "who": who}
    with place.opened(make, creates=creates) as found:
        yield found


def _gateway_at(url: str, given: str | None, settings: Settings) -> RemoteClient | None:
    """Return a client of a gateway; None for a server. This is the one place that tells them apart.

    A gateway is what this user has signed in to, what is given with a token of `hitl token`, or what answers
    as one if HITL_TOKEN is set. `given` is the token on the command line.
    """
    if not url.startswith(("https://", "http://")):
        return None
    from hitl_cli.auth import logins, tokens
    from hitl_cli.client.gateway_api import is_gateway

    login, token = logins.login_at(url), settings.token(given)
    own = settings.gateway_token() if given is None else None
    if own is not None and (login is not None or is_gateway(url)):
        token = own
    elif token is None or tokens.FORM.fullmatch(token) is None:
        if login is None:
            return None
        token = given or logins.token_of(login)  # the gateway refuses what is no token of its own
        if token is None:
            raise Unreachable(
                f"the keyring has lost the token for {login.gateway}: run hitl login {login.gateway}",
                code="token-refused",
            )
    from hitl_cli.remote.client import RemoteClient

    return RemoteClient(url.rstrip("/"), token, program=token in (own, given))


def inbox_of(client: Client, actor: Actor) -> Inbox:
    """Return the requests on a server, or at a gateway, for the person who acts."""
    if is_remote(client):
        from hitl_cli.remote.inbox import RemoteInbox

        return RemoteInbox(client, "review" if actor.via == "review" else "cli")
    from hitl_cli.inbox import Inbox

    return Inbox(client, actor)


def runs_of(client: Client, actor: Actor) -> Runs:
    """Return the runs on a server, or at a gateway, for the person who acts."""
    if is_remote(client):
        from hitl_cli.remote.runs import RemoteRuns

        return RemoteRuns(client)
    from hitl_cli.runs import Runs

    return Runs(client, actor)


def ledger_of(client: Client, actor: Actor) -> Ledger:
    """Return the proof of the history on a server, or at a gateway, for the person who acts."""
    if is_remote(client):
        from hitl_cli.remote.ledger import RemoteLedger

        return RemoteLedger(client)
    from hitl_cli.ledger import Ledger

    return Ledger(client, actor)


def is_remote(client: Client) -> TypeGuard[RemoteClient]:
    """Whether a client is of a gateway. Its module is imported only if one is used."""
    module = sys.modules.get("hitl_cli.remote.client")
    return module is not None and isinstance(client, module.RemoteClient)


def actor_from(settings: Settings, who: str | None = None, via: str = "cli") -> Actor:
    """Return the person who acts, from `--as` or the settings, with their groups."""
    return Actor(person=settings.person(who).value, via=via, groups=settings.groups())


def _check_nobody_else(client: Client, who: str | None) -> None:
    """Raise BadUsage if a person is named who is not signed in to the gateway."""
    if who is not None and is_remote(client) and not client.me.groups.same(who, client.me.person):
        raise BadUsage(f"you are signed in at {client.name} as {client.me.person}: leave out --as.")


@contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals with a function in a block, except ignored ones, such as SIGHUP under nohup."""
    taken = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def given_stdin() -> BinaryIO:
    """Stdin as bytes. Raises BadUsage if it is closed."""
    if sys.stdin is None:
        raise BadUsage("stdin is closed: there is nothing to read.")
    return sys.stdin.buffer


def read_json(raw: bytes, source: str, hint: str = "") -> Any:
    """Return the JSON value that `source` gave. Raises BadJson, with a hint."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJson(f"{source} is not JSON: {why_not_json(error)}.{hint}") from error


def without_mark(raw: bytes) -> bytes:
    """Return the bytes without the byte-order mark that programs on Windows write."""
    return raw.removeprefix(codecs.BOM_UTF8)


def read_stdin(limit: int) -> str:
    """Up to `limit` bytes of stdin as text. Raises BadInput."""
    try:
        return without_mark(given_stdin().read(limit)).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin is not valid UTF-8: {error}.") from error
