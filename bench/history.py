"""Finished runs in a database, as the measured workflow leaves them, spread over a year."""

from __future__ import annotations

import psycopg

RUNS = """
WITH made AS (
  SELECT 'old-' || lpad(n::text, 7, '0') AS run,
    (%(now)s - (%(count)s - n) * (31536000000 / %(count)s))::bigint AS at
  FROM generate_series(1, %(count)s) n)
INSERT INTO resonate.promises
  (id, state, param_headers, param_data, value_headers, value_data, tags, timeout_at, created_at, settled_at)
SELECT run || part, 'resolved', '{}', param, '{}', 'dHJ1ZQ==',
  jsonb_build_object('resonate:scope', scope, 'resonate:branch', run || branch, 'resonate:parent', run,
                     'resonate:origin', run) || more, at + 86400000, at + after, at + 1000 + after
FROM made, LATERAL (VALUES
  ('', 'global', '',
   encode(format('{"func":"decided","args":["%%s"],"kwargs":{},"version":1}', run)::bytea, 'base64'),
   '{"resonate:target": "poll://any@default"}'::jsonb, 0),
  (':1', 'global', ':1', 'bnVsbA==', '{"resonate:external": "true"}', 2),
  (':2', 'local', '', 'bnVsbA==', '{}', 4)) part(part, scope, branch, param, more, after)
"""

TASKS = """
INSERT INTO resonate.tasks (id, state, version, timeout_at)
SELECT id, 'fulfilled', 2, created_at FROM resonate.promises WHERE target IS NOT NULL AND id LIKE 'old-%%'
"""


def add(dsn: str, count: int, now_ms: int) -> None:
    """Add that many finished runs. No trigger fires, so nobody is notified of them."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(RUNS, {"count": count, "now": now_ms})
        connection.execute(TASKS, {})
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE resonate.promises, resonate.tasks")
