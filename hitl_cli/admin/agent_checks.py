"""`hitl doctor --as-agent`: checks whether an agent that runs here could decide requests by itself.

Each way is tried, as the user and in the folder of the caller. Nothing is changed: files are opened but not
written, and servers are asked to settle a promise, or decide a request, that does not exist.
docs/guides/agents.md says what to do about each.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from msgspec import Struct

import hitl_cli
from hitl_cli import defaults
from hitl_cli.agents import claude_settings
from hitl_cli.auth import logins
from hitl_cli.client.connect import connect_existing, driver_of, shown_url
from hitl_cli.client.protocol import NO_SUCH, call
from hitl_cli.errors import BadInput, BadSetting, HitlError
from hitl_cli.proof import ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.settings import Settings

PATIENCE_S = 5.0
"""How long a gateway, or sudo, may take to answer."""

DOCKER = Path("/var/run/docker.sock")

MANAGED = (
    Path("/etc/claude-code/managed-settings.json"),
    Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
)
"""The settings of Claude Code that an administrator manages."""

LOCAL_SERVER = "http://127.0.0.1:8001"
"""The default address of `hitl server` and the Resonate Server."""

PEM = b"-----BEGIN "
"""How the file of a private key begins."""

SERVING = ("gateway", "server", "worker", "dev")
"""The commands that hold keys, secrets, or the right to write to the server."""


class WayOut(Struct, frozen=True):
    """A way to decide without a person: whether it is open from here, what was tried, and what to do."""

    name: str
    state: Literal["open", "closed", "unknown"]
    text: str
    advice: str | None = None


def ways_out(settings: Settings, url: str, token: str | None) -> list[WayOut]:
    """Try each way. `url` is the server's; `token` is for servers with authentication. Raises BadInput."""
    return [
        *_other_users(),
        *_server(url, token),
        *_keys(settings.keys(url)),
        *_gateways(settings, url),
        *_logins(),
        *_hook_secrets(settings),
        *_signatures(settings),
        *_processes(),
        *_files(settings),
        *_agent_hooks(),
    ]


# Other users


def _other_users() -> Iterator[WayOut]:
    """Try to be another user."""
    if os.geteuid() == 0:
        yield WayOut("user", "open", "you are root, who can do anything", "run the agent as its own user")
    else:
        yield WayOut("user", "closed", f"you are user {os.geteuid()}, not root")
    sudo = shutil.which("sudo")
    if sudo is not None and os.geteuid() != 0:
        if _asks_no_password(sudo):
            yield WayOut("sudo", "open", "sudo asks for no password", "take the user out of sudoers")
        else:
            yield WayOut("sudo", "closed", "sudo asks for a password, or is not allowed")
    if os.access(DOCKER, os.W_OK):
        advice = "take the user out of the group docker"
        yield WayOut("docker", "open", f"you can use {DOCKER}, and so start a container as root", advice)


def _asks_no_password(sudo: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603
            [sudo, "-n", "true"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


# The server


def _server(url: str, token: str | None) -> Iterator[WayOut]:
    """Try to settle promises on the server of the settings, and on one at the usual address."""
    path = driver_of(url).file(url)
    if path is not None:
        yield _database_file(path)
    else:
        yield _settles(url, token)
    if url != LOCAL_SERVER and _answers(LOCAL_SERVER):
        yield _settles(LOCAL_SERVER, token)


def _database_file(path: Path) -> WayOut:
    if not os.path.lexists(path):
        return WayOut("server", "closed", f"{path} does not exist, or cannot be accessed")
    advice = "let another user own it, in a folder of that user (chmod 700), and run the gateway as that user"
    if _may_write(path):
        return WayOut("server", "open", f"{path} is writable, so hitl approve can decide as anyone", advice)
    if _may_replace(path):
        return WayOut("server", "open", f"{path} can be replaced by another file", advice)
    return WayOut("server", "closed", f"{path} can neither be written nor replaced")


def _settles(url: str, token: str | None) -> WayOut:
    """Ask a server to settle a promise that does not exist."""
    name = shown_url(url)
    try:
        with connect_existing(url, token) as client:
            id = f"hitl-doctor-{secrets.token_hex(8)}"
            status = call(client, "promise.settle", id=id, state="resolved", value={}).status
    except HitlError as error:
        return WayOut("server", "closed", f"{name}: {error}")
    if status != NO_SUCH:
        return WayOut("server", "unknown", f"{name} answered a test decision with status {status}")
    return WayOut(
        "server",
        "open",
        f"{name} accepts changes, so any Resonate client can decide as anyone",
        "give the agent access to the gateway only, with a token that can only ask",
    )


def _answers(url: str) -> bool:
    return _status(url, "GET", "/") is not None


def _keys(path: Path) -> Iterator[WayOut]:
    """Try to read the keys that sign links and sessions."""
    advice = "let the gateway's user own it, with mode 0600, in a folder of that user"
    if os.access(path, os.R_OK):
        yield WayOut(
            "keys", "open", f"{path} is readable: its keys can sign links and sessions as anyone", advice
        )
    elif _may_replace(path):
        yield WayOut("keys", "open", f"{path} can be replaced by other keys", advice)
    else:
        yield WayOut("keys", "closed", f"{path} can neither be read nor replaced")


# Gateways


def _gateways(settings: Settings, server: str) -> Iterator[WayOut]:
    """Try to decide a request that does not exist, at each gateway that is known here."""
    usual = f"http://127.0.0.1:{defaults.GATEWAY_PORT}"
    known = dict.fromkeys([settings.gateway().value, settings.reached(server) or usual, usual])
    token = settings.gateway_token()
    for url in known:
        for sent in [None, token] if token else [None]:
            yield from _decides(url, sent)


def _logins() -> Iterator[WayOut]:
    """Try to decide with the tokens that `hitl login` has stored for this user."""
    try:
        known = logins.listed()
    except HitlError as error:
        yield WayOut("login", "unknown", str(error))
        return
    for one in known:
        if one.token is None:
            text = f"the token of {one.person} at {shown_url(one.gateway)} is in the keyring of this user"
            yield WayOut("login", "open", text, "sign in as another user than the agent's: hitl logout")
        else:
            yield from _decides(one.gateway, one.token, "login")


def _decides(url: str, token: str | None, name: str = "") -> Iterator[WayOut]:
    name = name or ("gateway" if token is None else "token")
    status = _status(
        url,
        "POST",
        f"/api/v1/requests/hitl-doctor-{secrets.token_hex(8)}/decision",
        token,
        body={"verdict": "approve"},
    )
    shown = shown_url(url)
    whose = "of hitl login" if name == "login" else "in HITL_TOKEN"
    match (status, token):
        case (None, None):
            yield WayOut(name, "closed", f"no gateway answers at {shown}")
        case (None, _):
            return
        case (401 | 403, None):
            yield WayOut(name, "closed", f"{shown} lets nobody decide without signing in")
        case (401 | 403, _):
            yield WayOut(name, "closed", f"the token {whose} cannot decide at {shown}")
        case (404, None):
            advice = "start it with --sign-in, or with a proxy that signs people in"
            yield WayOut(name, "open", f"{shown} lets everyone on this machine decide", advice)
        case (404, _):
            advice = "give the agent a token that can only ask: hitl token create --can ask"
            yield WayOut(name, "open", f"the token {whose} may decide at {shown}", advice)
        case _:
            yield WayOut(name, "unknown", f"{shown} answered a test decision with status {status}")


def _status(url: str, method: str, path: str, token: str | None = None, body: object = None) -> int | None:
    """Return the status of a response; None if there is none. Redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        try:
            connection.request(method, parts.path + path, json.dumps(body), headers)
            return connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _hook_secrets(settings: Settings) -> Iterator[WayOut]:
    """Try to read the secrets with which programs decide in a person's name."""
    for name in settings.readable_hooks():
        text = f"the secret of [hooks.{name}] is readable: it can decide as anyone"
        yield WayOut("secret", "open", text, "set it only in the environment of the gateway, as $NAME")


def _signatures(settings: Settings) -> Iterator[WayOut]:
    """Look for keys with which this user signs decisions of the people in the settings."""
    groups = settings.contacts().members
    owners = {key: person for person, keys in groups.ssh.items() for key in keys}
    if not owners:
        return
    found: dict[str, str] = {}
    try:
        found |= dict.fromkeys(ssh.agent_keys() & owners.keys(), "the SSH agent")
        for file in _private_keys(settings):
            if (public := ssh.unlocked(file)) in owners:
                found[public] = str(file)
    except (BadInput, OSError) as error:
        yield WayOut("signature", "unknown", str(error))
    for public, place in found.items():
        text = f"{place} has a key of {owners[public]} in the settings"
        if public.startswith("sk-"):
            yield WayOut("signature", "closed", f"{text}, but a person must touch it for each signature")
        else:
            advice = "use a key that needs a touch, a passphrase, or another user for the agent"
            yield WayOut("signature", "open", f"{text}, so a program can sign decisions as them", advice)
    if not found:
        yield WayOut("signature", "closed", "no key in the settings can be used by this user")


def _private_keys(settings: Settings) -> Iterator[Path]:
    """Yield the files in which this user's private keys are."""
    chosen = settings.ssh_key()
    folder = Path.home() / ".ssh"
    for file in [*([] if chosen is None else [chosen]), *(folder.iterdir() if folder.is_dir() else ())]:
        if file.is_file() and os.access(file, os.R_OK):
            with file.open("rb") as opened:
                if opened.read(len(PEM)) == PEM:
                    yield file


# This user's processes and files


def _processes() -> Iterator[WayOut]:
    """Look for processes of hitl that this user may inspect and control."""
    proc = Path("/proc")
    if not (proc / "self/cmdline").exists():
        yield WayOut("processes", "unknown", "the processes of this machine cannot be listed here")
        return
    found = [
        (int(folder.name), command)
        for folder in proc.iterdir()
        if folder.name.isdigit() and int(folder.name) != os.getpid() and (command := _serves(folder))
    ]
    for pid, command in sorted(found):
        text = f"hitl {command} (process {pid}) runs as you: its memory and secrets are readable"
        yield WayOut("processes", "open", text, f"run hitl {command} as another user")
    if not found:
        yield WayOut("processes", "closed", "no worker, gateway or server runs as you")


def _serves(folder: Path) -> str | None:
    """Return the command of hitl that a process of this user runs, if it is one of SERVING."""
    try:
        if folder.stat().st_uid != os.geteuid():
            return None
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    at = next((n for n, word in enumerate(words) if Path(word).name in ("hitl", "hitl_cli")), None)
    return None if at is None else next((word for word in words[at + 1 :] if word in SERVING), None)


def _files(settings: Settings) -> Iterator[WayOut]:
    """Try to change the settings, the workflows, and hitl itself."""
    advice = "let another user own it, and its folder"
    kinds = [
        ("settings", settings.path, "who is asked, and where"),
        *(("workflow", Path(app.value), "what a worker runs") for app in settings.apps([])),
        ("program", Path(hitl_cli.__file__).parent, "the program that asks"),
    ]
    for name, path, what in kinds:
        if path is None or not os.path.lexists(path):
            continue
        if _may_write(path) or _may_replace(path):
            yield WayOut(name, "open", f"{path} can be changed: {what}", advice)
        else:
            yield WayOut(name, "closed", f"{path} cannot be changed")


def _agent_hooks() -> Iterator[WayOut]:
    """Check whether a hook asks for this agent, and whether the agent could remove it."""
    kept = False
    for path in (*MANAGED, *(claude_settings.settings_path(user=user) for user in (False, True))):
        try:
            if not claude_settings.installed(path):
                continue
        except BadSetting as error:
            yield WayOut("hook", "unknown", str(error))
            continue
        if not (_may_write(path) or _may_replace(path)):
            kept = True
            yield WayOut("hook", "closed", f"the hook in {path} cannot be removed")
        elif not kept:
            advice = "put it into settings that only an administrator can change"
            yield WayOut("hook", "open", f"the hook can be removed from {path}", advice)


def _may_write(path: Path) -> bool:
    """Whether a file can be opened for writing, or a folder be written to."""
    if path.is_dir():
        return os.access(path, os.W_OK | os.X_OK)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _may_replace(path: Path) -> bool:
    """Whether a file, or a folder above it, can be replaced."""
    user = os.geteuid()
    entry = path.absolute()
    for folder in entry.parents:
        if os.access(folder, os.W_OK | os.X_OK):
            found = folder.stat()
            sticky = found.st_mode & stat.S_ISVTX and user != found.st_uid and os.path.lexists(entry)
            if not sticky or entry.lstat().st_uid == user:
                return True
        entry = folder
    return False
