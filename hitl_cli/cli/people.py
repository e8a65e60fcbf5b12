"""`hitl people`: who can decide, and with which keys they sign.

The settings are the root of trust: a person reviews and changes them. So `add` and `revoke` print the line.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hitl_cli.auth.removal import remove as remove_person
from hitl_cli.cli.completion import complete_person
from hitl_cli.cli.context import AtServer
from hitl_cli.cli.options import AsJson, Family, argument, family, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Column, print_list
from hitl_cli.errors import BadInput, BadUsage, NotFound
from hitl_cli.format.public_keys import fingerprint, public_key
from hitl_cli.format.shell import quoted
from hitl_cli.format.terminal import printable
from hitl_cli.format.toml import toml_list, toml_name
from hitl_cli.people.actor import check_person
from hitl_cli.people.contacts import key_owners
from hitl_cli.people.groups import unknown_people
from hitl_cli.settings import Settings
from hitl_cli.views.people import people_documents

if TYPE_CHECKING:
    from hitl_cli.views.people import SigningKeyDocument


class _People(Family):
    """The commands; without one, the list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, ["list", *args] if args in ([], ["--json"]) else args)


app = family("people", "List people, and manage the keys that they sign decisions with.", _People)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List people with their groups, contacts and signing keys."""
    settings = Settings()
    directory = settings.people()
    found = people_documents(directory)
    known = {key for _, key in key_owners(directory.members)}
    for key in directory.revoked.keys() - known:
        note(
            f"hitl: {key} is revoked, but nobody has this key: keep it in the settings, so that earlier"
            " signatures stay valid"
        )
    print_list(
        found,
        [
            Column("name", [one.name for one in found], whole=True),
            Column("groups", [", ".join(one.groups) or "-" for one in found]),
            Column(
                "contact", [", ".join(f"{at.by} {at.where}" for at in one.addresses) or "-" for one in found]
            ),
            Column("signs with", ["\n".join(map(_key_line, one.keys)) or "-" for one in found]),
        ],
        "No people yet. Add one with a key: hitl people add NAME --ssh ~/.ssh/id_ed25519.pub",
        as_json=as_json,
    )


def _key_line(key: SigningKeyDocument) -> str:
    """Return a key and the time for which it is valid, on one line."""
    parts = [key.kind, key.fingerprint, key.comment]
    parts += [f"from {key.valid_from}"] if key.valid_from else []
    parts += [f"revoked from {key.revoked_from}"] if key.revoked_from else []
    return " ".join(filter(None, parts))


@app.command()
def add(
    name: Annotated[str, argument("NAME", "The person.")],
    ssh: Annotated[str, value("KEY|FILE", "Public SSH key of the person, or a file with it.", "--ssh")],
) -> None:
    """Print the lines for hitl.toml that let a person sign with an SSH key. Nothing is changed."""
    settings = Settings()
    directory = settings.people()
    known = directory.members
    name, text = known.name(check_person(name)), _public_text(ssh)
    key = fingerprint(public_key(text))
    owner = next((known.name(person) for person, other in key_owners(known) if other == key), None)
    if owner is not None:
        raise BadInput(f"{key} is a key of {owner} already. Nothing was changed.", code="key-taken")
    own = directory.people[name].ssh if name in directory.people else ()
    _print(settings, f"people.{toml_name(name)}", toml_list("ssh", (*own, text)))
    replaced = " Replace the ssh of this person." if own else ""
    note(f"{key}: add these lines to {_file(settings)}, and review them as you review code.{replaced}")


@app.command()
def revoke(
    key: Annotated[
        str, argument("KEY", "Fingerprint of the key (see `hitl people`), the public key, or a file with it.")
    ],
    since: Annotated[
        str | None,
        value("INSTANT", "When the revocation begins, e.g. 2026-11-27T12:00:00Z. Default: now.", "--from"),
    ] = None,
) -> None:
    """Print the line for hitl.toml that revokes a key. Its earlier signatures stay valid."""
    settings = Settings()
    known = settings.people().members
    id = key if key.startswith("SHA256:") else fingerprint(public_key(_public_text(key)))
    owners = [(person, other) for person, other in key_owners(known) if other.startswith(id)]
    if len(owners) != 1:
        found = "several people have" if owners else "nobody has"
        raise NotFound(f"{found} a key {id}: `hitl people` shows all.", code="no-such-key")
    (person, id) = owners[0]
    at = datetime.now().astimezone() if since is None else _instant(since)
    _print(settings, "revoked", f'"{id}" = {at.isoformat(timespec="seconds")}')
    note(
        f"Add this to {_file(settings)}. What {known.name(person)} signed with it before then stays valid:"
        " keep the key in the settings."
    )


@app.command()
def remove(
    ctx: AtServer,
    name: Annotated[str, argument("NAME", "The person.", complete=complete_person)],
    as_json: AsJson = False,
) -> None:
    """End a person's sessions, tokens and links at all gateways, within seconds."""
    settings = ctx.settings
    groups = settings.groups()
    person = groups.name(check_person(name))
    with ctx.client(creates=True) as client:
        revoked = remove_person(client, person, groups, by=settings.person().value, via="cli")
    if as_json:
        print_json({"person": person, "tokens": [one.id for one in revoked]})
    else:
        count = f"{len(revoked)} {'token' if len(revoked) == 1 else 'tokens'} revoked"
        print(printable(f"{person}: {count}; earlier sessions and links have ended"))
    if groups.unknown([person]):
        note(printable(unknown_people([person], groups)))
        return
    note(
        printable(
            f"{person} can sign in again until you remove them from {settings.path or 'hitl.toml'} and"
            " disable their account at your sign-in provider. Their requests:"
            f" hitl pending --to {quoted(person)}"
        )
    )


def _instant(text: str) -> datetime:
    """Return an instant; without a zone it is in that of this machine. Raises BadUsage."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadUsage(f"--from {text!r} is not an instant such as 2026-11-27T12:00:00Z.") from error
    try:
        return at.astimezone()
    except (ValueError, OverflowError) as error:
        raise BadUsage(f"--from {text!r} is out of range: use a year from 1 to 9999.") from error


def _public_text(given: str) -> str:
    """Return the public key that is given, or is in a file. Raises BadInput."""
    path = Path(given).expanduser()
    if " " in given.strip():
        return given.strip()
    if not path.exists():
        raise BadInput(f"{given!r} is neither a public SSH key nor a file with one.", code="bad-file")
    if not path.name.endswith(".pub") and (beside := path.with_name(f"{path.name}.pub")).exists():
        path = beside  # a private key was named
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read: {getattr(error, 'strerror', error)}.", code="bad-file"
        ) from error


def _print(settings: Settings, table: str, line: str) -> None:
    """Print a table of the settings file."""
    path = settings.path
    prefix = "tool.hitl." if path is not None and path.name == "pyproject.toml" else ""
    print(f"[{prefix}{table}]\n{line}")


def _file(settings: Settings) -> str:
    return str(settings.path or "hitl.toml")
