"""How to copy a database with PostgreSQL's own tools: commands for a shell, without the URL's password."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.client.connect import shown_url
from hitl_cli.format.shell import quoted

if TYPE_CHECKING:
    from pathlib import Path

CHECKED = "hitl_check"
"""The database that a copy is restored into."""

PLACE = ("host", "hostaddr", "port", "user", "service")
"""Options of a URL that say which server and user it is."""

SAFETY = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "gssencmode")
"""Options that say how to connect, and are no secrets."""


def commands(url: str, file: Path) -> tuple[str, ...]:
    """Return the commands that copy a database to a file, restore the copy elsewhere, and check it."""
    source = shown_url(url, (*PLACE, *SAFETY, "dbname"))
    there = urlsplit(shown_url(url, (*PLACE, *SAFETY)))._replace(path=f"/{CHECKED}").geturl()
    copy, name = quoted(str(file)), quoted(there)
    return (
        f"pg_dump --format=custom --schema=resonate --schema=hitl --file={copy} {quoted(source)}",
        f"psql {quoted(source)} -c 'CREATE DATABASE {CHECKED}'",
        f"pg_restore --exit-on-error --dbname={name} {copy}",
        f"hitl postgres status -S {name}",
        f"hitl pending -S {name}",
    )
