"""Settings from, in this order: an option, an environment variable, a file, the default.

The file is `hitl.toml`, or pyproject.toml with `[tool.hitl]`, in this folder or the nearest one above.
`hitl doctor` shows where each value came from.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from hitl_cli import defaults, plugins
from hitl_cli.client.connect import absolute, check_supported, driver_of, file_url, shown_url
from hitl_cli.errors import BadInput, BadSetting, naming
from hitl_cli.format.json import to_json
from hitl_cli.format.names import normalized
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.toml import toml_name
from hitl_cli.format.validation import in_words, way_to
from hitl_cli.inspected import inspected
from hitl_cli.people.actor import check_person
from hitl_cli.people.allowed_signers import allowed_signers
from hitl_cli.people.callbacks import NO_CALLBACKS, CallbackSettings, check_callbacks
from hitl_cli.people.checkpoints import CheckpointSettings, check_checkpoints
from hitl_cli.people.contacts import (
    Contact,
    Directory,
    EmailSettings,
    GroupContact,
    HookSettings,
    WebhookSettings,
    check,
    check_anybody,
    check_named,
    check_revoked,
    check_secrets,
    check_signers,
    is_http_url,
    several,
)
from hitl_cli.people.gateway_file import SUFFIX, is_place, running, without_page
from hitl_cli.people.oidc_settings import OidcSettings, check_oidc
from hitl_cli.people.visibility import RoleSettings, Visibility, VisibilitySettings, check_visibility
from hitl_cli.requests.demand import Allowance, Demand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hitl_cli.people.groups import Groups
    from hitl_cli.people.live_directory import LiveDirectory
    from hitl_cli.proof.checkpoint import CheckpointSigner

NAMES = ("hitl.toml", "pyproject.toml")

EXAMPLES = {"people": 'email = "…"', "groups": 'members = ["…"]'}
"""An example line for the table of a person or a group, shown in errors."""

SECRETS = frozenset(
    ("server", "password", "secret", "client_secret", "token", "webhook", "slack", "apprise", "channels")
)
"""Settings whose values no error shows: they are secrets, or have one in them."""

MOST_SHOWN = 60
"""Most characters of a value that an error shows."""


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings for the metrics: `[metrics]`. The token may be `$NAME`, an environment variable.

    Workflows and groups that match no glob, or come after the first `most`, are counted as `other`.
    """

    token: str | None = None
    workflows: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)
    most: Annotated[int, Meta(ge=0, le=1_000)] = 50


class _FileSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"as_": "as"}):
    """The content of a settings file."""

    server: str | None = None
    app: str | list[str] | None = None
    workflow: str | None = None
    group: str | None = None
    gateway: str | None = None
    as_: str | None = None
    keys: str | None = None
    ssh_key: str | None = None
    sign: bool = False
    allowed_signers: str | None = None
    revoked: dict[str, datetime] = {}
    people: dict[str, Contact] = {}
    groups: dict[str, GroupContact] = {}
    anybody: tuple[str, ...] = ()
    strict_people: bool = False
    email: EmailSettings | None = None
    webhooks: WebhookSettings = WebhookSettings()
    hooks: dict[str, HookSettings] = {}
    callbacks: CallbackSettings = NO_CALLBACKS
    oidc: OidcSettings | None = None
    policy: dict[str, Demand] = {}
    requests: dict[str, Allowance] = {}
    visibility: VisibilitySettings = VisibilitySettings()
    roles: RoleSettings = RoleSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    metrics: MetricsSettings = MetricsSettings()


class Setting(Struct, frozen=True):
    """A value and where it came from."""

    value: str
    source: str


SERVER_DIGITS = 16
"""Digits of the hash that names a server which is not a file."""

_IN_URL = r"(?P<before>\w+://[^/?#@:]*:)(?P<password>\$\w+)(?=@)"
"""The beginning of a URL whose password is in an environment variable."""

LOGIN_NAME = "operating system"
"""The source of the person who acts if nothing names one."""

DEFAULT_GATEWAY = Setting("http://127.0.0.1:5001", "default")


class Settings:
    """The settings for one command, run in a folder."""

    def __init__(self, env: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        """Read the nearest settings file. Raises BadInput if it is not valid."""
        self._env = os.environ if env is None else env
        try:
            self._started_in = folder or Path.cwd()
            self._file, self._path = _read_file(self._started_in)
        except FileNotFoundError as error:
            raise BadInput("the current folder does not exist any more: change to another one.") from error

    @property
    def path(self) -> Path | None:
        """The settings file."""
        return self._path

    @property
    def folder(self) -> Path | None:
        """The folder of the settings file."""
        return None if self._path is None else self._path.parent

    def server(self, flag: str | None = None) -> Setting:
        """Return the server's URL. In the file it, or its password, may be `$NAME`. Raises BadSetting."""
        chosen = self._choose(flag, "--server", ("HITL_SERVER", "RESONATE_URL"), self._file.server)
        if chosen is not None and chosen.source == str(self._path):
            url = self.secret(chosen.value) or ""
            if named := re.match(_IN_URL, url):
                password = quote(self.secret(named["password"]) or "", safe="")
                url = named["before"] + password + url[named.end() :]
            with naming(f"server in {self._path}"):
                check_supported(url)
            return Setting(_beside(url, self.folder), chosen.source)
        return chosen or Setting(file_url(data_folder() / "hitl.db"), "default")

    def token(self, flag: str | None = None) -> str | None:
        """Return the token for servers with authentication. Raises BadSetting for unprintable characters."""
        return self._token(flag, "RESONATE_TOKEN")

    def gateway_token(self, flag: str | None = None) -> str | None:
        """Return the token for a gateway. Raises BadSetting for unprintable characters."""
        return self._token(flag, "HITL_TOKEN")

    def _token(self, flag: str | None, variable: str) -> str | None:
        return checked_token(flag or self._variable(variable) or "", f"--token, {variable}") or None

    def apps(self, flags: list[str]) -> list[Setting]:
        """Return the files and modules with the workflows that a worker serves."""
        if flags:
            return [Setting(flag, "--app") for flag in flags]
        if value := self._env.get("HITL_APP"):
            return [Setting(value, "HITL_APP")]
        given = self._file.app or []
        base = self._path.parent if self._path else Path()
        named = [given] if isinstance(given, str) else given
        return [Setting(str(base / app) if app.endswith(".py") else app, str(self._path)) for app in named]

    def workflow(self, flag: str | None = None) -> Setting:
        """Return the default workflow."""
        chosen = self._choose(flag, "--workflow", ("HITL_WORKFLOW",), self._file.workflow)
        return chosen or Setting(defaults.WORKFLOW, "default")

    def group(self, flag: str | None = None) -> Setting:
        """Return the group of workers."""
        chosen = self._choose(flag, "--group", ("HITL_GROUP",), self._file.group)
        return chosen or Setting(defaults.GROUP, "default")

    def person(self, flag: str | None = None) -> Setting:
        """Return the person who acts. Raises BadName.

        This is a claim, not proof: anyone who can open the database can use any name.
        """
        chosen = self._choose(flag, "--as", ("HITL_AS",), self._file.as_)
        if flag is not None:
            check_person(flag)
        if chosen is not None:
            with naming(f"as in {self._path}") if chosen.source == str(self._path) else nullcontext():
                check_person(chosen.value)
        said = chosen or Setting(_login_name(), LOGIN_NAME)
        return Setting(self.groups().name(said.value), said.source)

    def ssh_key(self, flag: Path | None = None) -> Path | None:
        """Return the file of the SSH key to sign decisions with; None for the key of the SSH agent."""
        chosen = self._choose(
            None if flag is None else str(flag), "--key", ("HITL_SSH_KEY",), self._file.ssh_key
        )
        if chosen is None:
            return None
        in_file = chosen.source == str(self._path)
        return self._in_folder(chosen.value) if in_file else absolute(chosen.value)

    def checkpoint_signer(self, flag: Path | None = None) -> CheckpointSigner:
        """Return the key that signs checkpoints, from `--key`, `[checkpoints]` or as for decisions."""
        from hitl_cli.proof.checkpoint import CheckpointSigner

        file = self._file.checkpoints
        own = None if flag is not None or file.key is None else self._in_folder(file.key)
        return CheckpointSigner(key=own or self.ssh_key(flag), known=self.checkpoint_keys)

    @property
    def checkpoints(self) -> CheckpointSettings:
        """The settings for checkpoints, as the file has them."""
        return self._file.checkpoints

    def metrics(self) -> MetricsSettings:
        """Return the settings for the metrics, with the token to read them. Raises BadSetting."""
        file = self._file.metrics
        return msgspec.structs.replace(file, token=self.secret(file.token))

    @property
    def checkpoint_keys(self) -> tuple[str, ...]:
        """The public keys whose checkpoints are trusted."""
        return self._file.checkpoints.known

    def _in_folder(self, path: str) -> Path:
        """Return the file that the settings file names; a relative path is relative to it."""
        return absolute(path if path.startswith("~") else str((self.folder or Path()) / path))

    @property
    def sign(self) -> bool:
        """Whether each decision on the command line is signed."""
        return self._file.sign

    def groups(self) -> Groups:
        """Return the people and groups of the file. Raises BadSetting."""
        return self.people().members

    def people(self) -> Directory:
        """Return the people and groups of the file, with their public keys. Raises BadSetting."""
        file = self._file
        named = file.allowed_signers
        signers = None if named is None else self._in_folder(named)
        found = Directory(
            people=file.people,
            groups=file.groups,
            strict_people=file.strict_people,
            oidc=file.oidc,
            policy=file.policy,
            allowances=file.requests,
            visibility=Visibility(settings=file.visibility, roles=file.roles),
            signers=() if signers is None else allowed_signers(signers),
            revoked={key: round(at.timestamp() * 1_000) for key, at in file.revoked.items()},
            files=() if signers is None else (signers,),
        )
        try:
            check_signers(found)
            check_named(found)
        except BadInput as error:
            raise BadSetting(f"{self._path}: {error}") from None
        return found

    def live_directory(self, changed: Callable[[Directory], None] | None = None) -> LiveDirectory:
        """Return the `directory`, which is read again when the file changes or is created. Raises BadInput.

        `changed` is called with the new one.
        """
        from hitl_cli.people.live_directory import LiveDirectory

        file = self._path or self._started_in / NAMES[0]
        return LiveDirectory(file, lambda: Settings(self._env, file.parent).directory(), changed=changed)

    def gateway(self, flag: str | None = None) -> Setting:
        """Return the URL of the gateway, without a slash at its end."""
        chosen = self._choose(flag, "--url", ("HITL_GATEWAY",), self._file.gateway)
        if chosen is None:
            return DEFAULT_GATEWAY
        source = f"gateway in {self._path}" if chosen.source == str(self._path) else chosen.source
        if not is_http_url(chosen.value):
            raise BadSetting(
                f"{chosen.value!r} ({source}) is not a gateway's URL: it must begin with https:// or http://."
            )
        if not is_place(chosen.value):
            raise BadSetting(
                f"{chosen.value!r} ({source}) is not a gateway's URL: give a host and, if needed, a"
                " path of plain letters, without user, query or fragment, such as https://tools.example.org/hitl."
            )
        if (own := without_page(chosen.value)) is not None:
            raise BadSetting(f"{chosen.value!r} ({source}) is the URL of a page: give {own}.")
        return Setting(chosen.value.rstrip("/"), chosen.source)

    def gateway_file(self, server: str) -> Path:
        """Return the file in which a gateway of a server (its URL) announces itself on this machine."""
        path = driver_of(server).file(server)
        if path is not None:
            return path.with_name(path.name + SUFFIX)
        return data_folder() / f"{stable_id(shown_url(server), SERVER_DIGITS)}{SUFFIX}"

    def reached(self, server: str) -> str | None:
        """Return the URL of a server's gateway: as set, or announced by a running one; None if unknown."""
        said = self.gateway()
        if said is not DEFAULT_GATEWAY:
            return said.value
        if driver_of(server).file(server) is None and not any(data_folder().glob(f"*{SUFFIX}")):
            return None  # avoids computing the hash, whose library takes longer to load than a list
        return running(self.gateway_file(server))

    def contacts(self) -> Directory:
        """Return the people, groups and their contacts, without secrets and mail settings."""
        file = self._file
        return msgspec.structs.replace(
            self.people(),
            anybody=file.anybody,
            gateway=self.gateway().value,
            callbacks=file.callbacks,
        )

    def directory(self) -> Directory:
        """Return all people, groups and channels. Raises BadSetting for a missing or invalid secret."""
        file = self._file
        email = file.email
        if email is not None:
            email = msgspec.structs.replace(email, password=self.secret(email.password))
        webhooks = msgspec.structs.replace(file.webhooks, secret=self.secret(file.webhooks.secret))
        hooks = {
            name: msgspec.structs.replace(hook, secret=self.secret(hook.secret) or "")
            for name, hook in file.hooks.items()
        }
        callbacks = msgspec.structs.replace(file.callbacks, secret=self.secret(file.callbacks.secret))
        oidc = file.oidc
        if oidc is not None:
            with suppress(BadSetting):  # only a gateway needs it, and reports the error
                oidc = msgspec.structs.replace(oidc, client_secret=self.secret(oidc.client_secret))
        people = {name: self._resolved(contact) for name, contact in file.people.items()}
        groups = {name: self._resolved(contact) for name, contact in file.groups.items()}
        found = msgspec.structs.replace(
            self.contacts(),
            people=people,
            groups=groups,
            email=email,
            webhooks=webhooks,
            hooks=hooks,
            callbacks=callbacks,
            oidc=oidc,
            checkpoints=self._checkpoints(),
        )
        try:
            check_secrets(webhooks, hooks, callbacks)
            check(people, groups, email, hooks)
            check_anybody(found)
        except BadInput as error:
            raise BadSetting(f"{self._path}: {error}") from None
        return found

    def _checkpoints(self) -> CheckpointSettings:
        """Return the settings for checkpoints, with absolute paths."""
        file = self._file.checkpoints
        key = self.checkpoint_signer().key
        return msgspec.structs.replace(
            file,
            key=None if key is None else str(key),
            file=None if file.file is None else str(self._in_folder(file.file)),
        )

    def _resolved[C: Contact](self, contact: C) -> C:
        """Return a contact with its addresses, some of which are in environment variables as secrets."""

        def revealed(addresses: str | tuple[str, ...]) -> tuple[str, ...]:
            return tuple(self.secret(address) or "" for address in several(addresses))

        return msgspec.structs.replace(
            contact,
            webhook=self.secret(contact.webhook),
            slack=self.secret(contact.slack),
            apprise=revealed(contact.apprise),
            channels={kind: revealed(addresses) for kind, addresses in contact.channels.items()},
        )

    def secret(self, text: str | None) -> str | None:
        """Return a secret. `$NAME` is read from that environment variable, or the file in NAME_FILE.

        Raises BadSetting.
        """
        if text is None or not text.startswith("$"):
            return text
        value = self._variable(text[1:])
        if not value:
            raise BadSetting(f"{self._path} reads a secret from {text}, which is not set.")
        return value

    def _variable(self, name: str) -> str | None:
        """Return an environment variable, or the content of the file in NAME_FILE. Raises BadSetting."""
        value, file = self._env.get(name), self._env.get(f"{name}_FILE")
        if value or not file:
            return value
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadSetting(f"{file}, from {name}_FILE, cannot be read: {why}.") from error

    def readable_hooks(self) -> list[str]:
        """Return the names of the hooks (`[hooks.NAME]`) whose secrets can be read here."""
        readable = []
        for name, hook in self._file.hooks.items():
            with suppress(BadSetting):
                self.secret(hook.secret)
                readable.append(name)
        return readable

    def keys(self, server: str) -> Path:
        """Return the file with the keys that sign links and sessions of a server (its URL).

        It is next to a database file, and for other servers in the user's data folder. Gateways on several
        machines need a copy of the same file.
        """
        if chosen := self._env.get("HITL_KEYS"):
            return absolute(chosen)
        if self._file.keys:
            return self._in_folder(self._file.keys)
        path = driver_of(server).file(server)
        return data_folder() / "hitl.keys" if path is None else path.with_name(path.name + ".keys")

    def _choose(
        self, flag: str | None, flag_name: str, variables: tuple[str, ...], in_file: str | None
    ) -> Setting | None:
        given = [(flag, flag_name), *((self._env.get(name), name) for name in variables)]
        given.append((in_file, str(self._path)))
        return next((Setting(value, source) for value, source in given if value), None)


def checked_token(text: str, source: str) -> str:
    """Return a token without surrounding space. Raises BadSetting if an HTTP header cannot hold it."""
    token = text.strip()
    if not (token.isascii() and token.isprintable()):
        raise BadSetting(f"the token ({source}) has a line break, or a character that no token has.")
    return token


def _beside(url: str, folder: Path | None) -> str:
    """Return the URL that a settings file means: a relative path is relative to the file."""
    path = url.removeprefix("sqlite:///")
    relative = path != url and not path.startswith(("/", "~"))
    return f"{file_url(folder)}/{path}" if relative and folder is not None else url


def _read_file(folder: Path) -> tuple[_FileSettings, Path | None]:
    """Return the settings of the nearest file, at or above the folder, and its path."""
    for place in (folder, *folder.parents):
        for name in NAMES:
            path = place / name
            table = _table_in(path)
            if table is not None:
                return convert(table, path), path
    return _FileSettings(), None


def _table_in(path: Path) -> dict[str, Any] | None:
    """Return the settings in a file; None if it has none."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte-order mark
        if path.name != "hitl.toml" and not _may_have_settings(text):
            return None
        import tomllib

        content = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:  # also for text that is not UTF-8
        raise BadSetting(f"{path} is not valid TOML: {error}.") from error
    except OSError as error:
        raise BadSetting(f"{path} cannot be read: {error.strerror}.") from error
    if path.name == "hitl.toml":
        return content
    tool = content.get("tool", {})
    return tool.get("hitl") if isinstance(tool, dict) else None


def _may_have_settings(text: str) -> bool:
    """Whether a pyproject.toml may have `[tool.hitl]`. Parsing one takes longer than listing requests."""
    keys = (re.sub(r"[\s\"']", "", line) for line in text.splitlines() if "tool" in line)
    return any(key.startswith(("[tool.hitl", "[tool]", "tool.hitl", "tool=")) for key in keys)


def convert(table: Any, path: Path) -> _FileSettings:
    """Return the table as settings."""
    table = _with_channels(table)
    try:
        settings = msgspec.convert(table, inspected(_FileSettings))
    except msgspec.ValidationError as error:
        raise BadSetting(f"{path} has an invalid setting: {_named(error, table)}.") from error
    try:
        check(settings.people, settings.groups, settings.email, settings.hooks)
        check_revoked(settings.revoked)
        check_visibility(settings.visibility)
        check_callbacks(settings.callbacks)
        if settings.oidc is not None:
            check_oidc(settings.oidc, settings.groups)
        check_checkpoints(settings.checkpoints, {**settings.groups, **settings.people})
    except BadInput as error:
        raise BadSetting(f"{path}: {error}") from error
    return msgspec.structs.replace(
        settings,
        people={normalized(name): contact for name, contact in settings.people.items()},
        groups={normalized(name): group for name, group in settings.groups.items()},
    )


def _with_channels(table: Any) -> Any:
    """Return the table with the addresses for plugins' channels moved into `channels`."""
    shapes = {"people": Contact, "groups": GroupContact}
    moved = {
        kind: {name: _contact_with_channels(entry, shape) for name, entry in table[kind].items()}
        for kind, shape in shapes.items()
        if isinstance(table, dict) and isinstance(table.get(kind), dict)
    }
    return {**table, **moved} if moved else table


def _contact_with_channels(entry: Any, shape: type[Contact]) -> Any:
    """Return a person's or group's table with the addresses for plugins' channels moved into `channels`."""
    unknown = set(entry) - set(shape.__struct_fields__) if isinstance(entry, dict) else ()
    added = {key: entry[key] for key in unknown if plugins.find("hitl.channels", key) is not None}
    return {key: entry[key] for key in entry if key not in added} | {"channels": added} if added else entry


def _named(error: msgspec.ValidationError, table: Any) -> str:
    """Return the error with its key as TOML has it, and the value, unless it may be a secret."""
    way = way_to(error, table, _FileSettings)
    value = table
    for key in way:
        value = value[key]
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{toml_name(key)}" for key in way)[1:]
    said = in_words(error, _FileSettings, named=place, value=_shown(value, way))
    example = EXAMPLES.get(str(way[0])) if len(way) == len(("people", "NAME")) else None
    hint = f": write [{place}], and below it {example}" if example and not isinstance(value, dict) else ""
    return said + hint


def _shown(value: Any, way: Sequence[str | int]) -> str:
    """Return a value of the file for an error; nothing for a long value, or one that may be a secret."""
    if not SECRETS.isdisjoint(way) or isinstance(value, (dict, list)):
        return ""
    shown = to_json(value) if isinstance(value, (bool, int, float)) else repr(str(value))
    return shown if len(shown) <= MOST_SHOWN else ""


def data_folder() -> Path:
    """Return this user's data folder of hitl. Raises BadInput if there is none."""
    from platformdirs import user_data_path

    try:
        folder = user_data_path("hitl", appauthor=False)
    except RuntimeError:  # no HOME, and a user without an entry in the password database
        folder = Path()
    if not folder.is_absolute():
        raise BadInput("no home folder for the database: name a file with -S sqlite:////path/hitl.db.")
    return folder


def _login_name() -> str:
    """Return the operating system's name for the user."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
