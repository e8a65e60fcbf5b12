"""`hitl postgres install` and `hitl postgres status`: hitl's schema in a PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.cli.context import AtFile
from hitl_cli.cli.options import AsJson, family, flag, value
from hitl_cli.cli.output import print_json
from hitl_cli.client.connect import shown_url, split_url
from hitl_cli.errors import BadServer
from hitl_cli.format.terminal import printable

if TYPE_CHECKING:
    from hitl_cli.postgres.schema import Installed

SCHEMES = ("postgresql", "postgres")

app = family("postgres", "Install and check hitl's schema in a PostgreSQL database.")


@app.command()
def install(
    ctx: AtFile,
    print_sql: Annotated[bool, flag("Print the SQL for psql, and change nothing.", "--print")] = False,
    role: Annotated[
        str,
        value("ROLE", "Role that workers and people connect as, or a role that it is a member of.", "--role"),
    ] = "resonate_worker",
) -> None:
    """Add hitl's schema to a database that has resonate-pg, or upgrade it. Connect as its owner."""
    _need_psycopg()
    from hitl_cli.postgres import schema

    if print_sql:
        print(schema.printed(role), end="")
        return
    found = schema.install(_url(ctx), role)
    print(printable(f"{found.name} has version {found.version} of hitl's schema; {role} may use it"))


@app.command()
def status(ctx: AtFile, as_json: AsJson = False) -> None:
    """Show the versions that a database has, and any problems. Exits 1 if there are problems."""
    _need_psycopg()
    from hitl_cli.postgres import schema

    found = schema.inspect(_url(ctx))
    if as_json:
        print_json(_document(found))
    else:
        for line in _lines(found):
            print(printable(line))
    if found.problems:
        raise typer.Exit(1)


def _document(found: Installed) -> dict[str, object]:
    """Return the status of a database as JSON."""
    return {
        "server": found.name,
        "postgres": found.server_version,
        "version": found.version,
        "needed": found.needed,
        "pgCron": found.pg_cron,
        "problems": found.problems,
    }


def _lines(found: Installed) -> list[str]:
    """Return the status of a database as lines."""
    lines = [f"{found.name}: PostgreSQL {found.server_version}"]
    if not found.problems:
        lines.append(f"hitl's schema: version {found.version}, complete")
    if found.pg_cron:
        lines.append(
            "pg_cron is installed: its job resonate_process_timeouts is not needed while a hitl worker runs"
        )
    return [*lines, *(f"problem: {problem}" for problem in found.problems)]


def _url(ctx: AtFile) -> str:
    """Return the URL of the database. Raises BadServer for another kind of server."""
    url = ctx.server()[0].value
    if split_url(url).scheme not in SCHEMES:
        raise BadServer(f"{shown_url(url)} is not a PostgreSQL server: pass -S postgresql://host/database.")
    return url


def _need_psycopg() -> None:
    from hitl_cli.postgres.extra import require_psycopg

    require_psycopg()
