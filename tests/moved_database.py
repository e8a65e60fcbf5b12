"""Has a database go by a clock that is moved, for tests and bench.soak."""

from __future__ import annotations

import psycopg

MOVABLE = """
CREATE SCHEMA moved;
CREATE TABLE moved.clock (ahead bigint);
INSERT INTO moved.clock VALUES (0);
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
  SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM moved.clock) * interval '1 ms' $$;
DO $do$
DECLARE f oid;
BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE prosrc LIKE '%clock_timestamp()%'
      AND pronamespace IN ('resonate'::regnamespace, 'hitl'::regnamespace) LOOP
    EXECUTE replace(pg_get_functiondef(f), 'clock_timestamp()', 'moved.clock_timestamp()');
  END LOOP;
  EXECUTE format('ALTER DATABASE %I SET search_path = moved, pg_catalog, public', current_database());
END $do$
"""
"""Those who connect later are told the moved time, too."""


def make_movable(url: str) -> None:
    """Make the clock of an installed database movable. Nobody may be connected yet."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MOVABLE)


def move(url: str, ms: int) -> None:
    """Set it to so much ahead of the real one, or behind."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE moved.clock SET ahead = %s", (ms,))
