"""The file of allowed signers of OpenSSH (ssh-keygen(1)), whose principals are names of people.

Lines that hitl would read differently from OpenSSH are refused: patterns instead of names, and certificates.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.errors import BadInput, BadSetting
from hitl_cli.format.public_keys import KEY_TYPES, NAMESPACE, public_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIELD = r'(?:"[^"]*"|[^\s"])+'
"""A field of a line: spaces may stand in quotes."""

OPTION = r'([A-Za-z-]+)(?:="([^"]*)")?(?:,|$)'
PATTERN_CHARS = frozenset("*?!")
TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Formats of an instant by their length; a Z after it means UTC."""


class AllowedSigner(Struct, frozen=True, kw_only=True):
    """A key, the people who sign with it, and the time for which it is valid, in ms since the epoch."""

    people: tuple[str, ...]
    key: str
    since: int | None = None
    until: int | None = None


def allowed_signers(path: Path) -> tuple[AllowedSigner, ...]:
    """Return the signers of decisions in a file. Raises BadSetting, with the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", error)
        raise BadSetting(f"{path}, the allowed_signers of the settings, cannot be read: {why}.") from error
    return tuple(_signers(path, lines))


def _signers(path: Path, lines: list[str]) -> Iterator[AllowedSigner]:
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                signer = _signer(line)
            except BadInput as error:
                raise BadSetting(f"{path}:{number}: {error}") from None
            if signer is not None:
                yield signer


def _signer(line: str) -> AllowedSigner | None:
    """Return the signer in a line; None if it is for other purposes. Raises BadInput."""
    fields = re.findall(FIELD, line)
    principals = tuple(filter(None, fields[0].replace('"', "").split(",")))
    options: dict[str, str] = {}
    if len(fields) > 1 and fields[1] not in KEY_TYPES:
        options = _options(fields.pop(1))
    key = public_key(" ".join(fields[1:]))
    if patterns := [name for name in principals if PATTERN_CHARS & set(name)]:
        raise BadInput(f"{patterns[0]!r} is a pattern: the principals must be names of people.")
    names = options.get("namespaces", NAMESPACE).split(",")
    if not any(fnmatchcase(NAMESPACE, name) for name in names):
        return None
    return AllowedSigner(
        people=principals,
        key=key,
        since=_instant(options.get("valid-after")),
        until=_instant(options.get("valid-before")),
    )


def _options(text: str) -> dict[str, str]:
    """Return the options of a key. Raises BadInput for those that are not supported."""
    found = {name.lower(): value for name, value in re.findall(OPTION, text)}
    known = {"namespaces", "valid-after", "valid-before"}
    if "cert-authority" in found:
        raise BadInput("cert-authority is not supported: name each key.")
    if re.sub(OPTION, "", text) or not found.keys() <= known:
        raise BadInput(f"{text[:60]!r} has an unknown option: {', '.join(sorted(known))} are supported.")
    return found


def _instant(text: str | None) -> int | None:
    """Return an instant as OpenSSH writes it, in ms since the epoch. Raises BadInput."""
    if text is None:
        return None
    digits = text.removesuffix("Z")
    try:
        at = datetime.strptime(digits, TIMES[len(digits)])  # noqa: DTZ007 - its zone follows
    except (KeyError, ValueError) as error:
        raise BadInput(f"{text!r} is not an instant such as 20261127 or 20261127120000Z.") from error
    zoned = at.replace(tzinfo=UTC) if text.endswith("Z") else at.astimezone()
    return round(zoned.timestamp() * 1_000)
