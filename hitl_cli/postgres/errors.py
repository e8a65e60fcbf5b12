"""Explains errors of PostgreSQL: one sentence, and what to do.

An error while connecting has no SQLSTATE, only the text of libpq, which the server may have translated. An
unknown text is shown unchanged.
"""

from __future__ import annotations

import re

import psycopg

from hitl_cli.errors import BadServer, HitlError, Unreachable

MISSING = frozenset({"3F000", "42883", "42P01", "42703"})
"""SQLSTATEs of a schema, function, table or column that does not exist."""

READ_ONLY = "25006"

AWAY = ("08", "57")
"""Prefixes of the SQLSTATEs of a server that stops, starts, or ends a connection."""

PREFIXES = ("connection failed: ", "connection is bad: ")
PLACE = r"connection to server (at|on) [^\n]*? failed: (?!FATAL)"
"""The part with the server's address, which the sentence names anyway."""

BAD_URL = ("invalid URI query parameter", "missing key/value separator")
"""The beginnings of errors about an invalid URL that quote no secret."""

BAD_OPTION = r"invalid (\w+ value: |integer value |port number: )|weak sslmode |could not match "
"""The beginning of errors about an option of the URL."""

REFUSED = (
    r"authentication failed|, SSL encryption$|permission denied|role .* (does not exist|is not permitted)"
)
"""Texts of errors that refuse the user, regardless of TLS."""

TLS = ("SSL", "certificate", "private key", "no encryption")
BUSY = ("too many", "connection slots", "no more connections")

GUIDE = "docs/guides/postgres.md"


def explained(error: psycopg.Error, name: str) -> HitlError:
    """Return the explanation of an error; `name` is the server's, without secrets."""
    text = str(error).strip()
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    if "Multiple connection attempts" not in text:
        text = re.sub(PLACE, "", text, count=1)
    first = text.partition("\n")[0] or type(error).__name__
    why = (first.rpartition("FATAL:")[2].strip() or first).rstrip(".")
    if error.sqlstate is None:
        return _not_connected(error, why, text, name)
    match error.sqlstate:
        case state if state in MISSING:
            return _incomplete(first, name)
        case "42501":
            return Unreachable(
                f"this user may not use Resonate in {name}: {why}. Its owner runs: GRANT resonate_worker TO"
                " the user",
                code="access-refused",
            )
        case state if state == READ_ONLY:
            return read_only(name)
        case state if state.startswith(AWAY):
            return Unreachable(f"{name} cannot be reached: {why}.")
    return Unreachable(f"{name} failed: {why} ({error.sqlstate}). See its log.", code="server-failed")


def _not_connected(error: psycopg.Error, why: str, text: str, name: str) -> HitlError:
    """Return the explanation of an error while connecting."""
    if isinstance(error, psycopg.ProgrammingError):
        shown = why if why.startswith(BAD_URL) else "it is not a PostgreSQL URL"  # others quote from it
        return BadServer(f"the URL of {name} cannot be used: {shown}.")
    if re.match(BAD_OPTION, why):
        return BadServer(f"the URL of {name} cannot be used: {why}.")
    if "password authentication failed" in text or "no password supplied" in text:
        return Unreachable(
            f"{name} refused the user or the password. Set PGPASSWORD, or use ~/.pgpass or the URL.",
            code="access-refused",
        )
    if ("database" in why and "does not exist" in why) or "no such database" in why:
        return Unreachable(
            f"{name} does not exist: {why}. Create the database, and apply resonate.sql to it.",
            code="not-prepared",
        )
    if "session is read-only" in text:
        return read_only(name)
    if re.search(REFUSED, why):
        return Unreachable(f"{name} refused the user: {why}.", code="access-refused")
    if any(word in text for word in TLS) and "received invalid response" not in text:
        return Unreachable(
            f"{name} cannot be reached safely: {why}. See sslmode, sslrootcert and sslcert in {GUIDE}."
        )
    if any(word in text for word in BUSY):
        return Unreachable(f"{name} has no connection left: {why}.")
    return Unreachable(f"{name} cannot be reached: {why}.")


def read_only(name: str) -> HitlError:
    """Return the error for a server that takes no writes."""
    return Unreachable(
        f"{name} is read-only: it is a standby, or its settings say so. Use the primary.", code="read-only"
    )


def _incomplete(first: str, name: str) -> HitlError:
    """Return the error for a database where something is missing."""
    if "resonate" in first and "hitl" not in first:
        return Unreachable(
            f"{name} does not have the schema of Resonate: apply resonate.sql of resonatehq/resonate-pg,"
            " then run hitl"
            " postgres install.",
            code="not-prepared",
        )
    return Unreachable(
        f"{name} lacks hitl's schema. If it also has no schema resonate, apply resonate.sql of"
        " resonatehq/resonate-pg first. Then the owner of that schema runs: hitl postgres install",
        code="not-prepared",
    )
