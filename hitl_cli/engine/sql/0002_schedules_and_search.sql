-- Schedules; and an index for everything that a search can ask.

CREATE TABLE schedules (
  id              TEXT PRIMARY KEY,
  cron            TEXT NOT NULL,
  promise_id      TEXT NOT NULL,      -- a template; see docs/protocol.md
  promise_timeout INTEGER NOT NULL,
  promise_param   TEXT NOT NULL,      -- JSON, as on the wire
  promise_tags    TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  next_run_at     INTEGER NOT NULL,
  last_run_at     INTEGER,
  catch_up        TEXT NOT NULL       -- what of the occurrences that were missed: 'last' or 'all'
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_due ON schedules (next_run_at);

-- The tags that people search by: not those of the SDKs, which other columns answer for.
CREATE TABLE tags (
  key     TEXT NOT NULL,
  value   TEXT NOT NULL,
  promise INTEGER NOT NULL,
  PRIMARY KEY (key, value, promise)
) STRICT, WITHOUT ROWID;

INSERT INTO tags
SELECT e.key, e.value, p.seq FROM promises p, json_each(p.tags) e
WHERE substr(e.key, 1, 9) <> 'resonate:' OR e.key = 'resonate:schedule';

DROP INDEX promises_live;
CREATE INDEX promises_pending ON promises (seq, timeout_at) WHERE state = 'pending';
CREATE INDEX promises_failed  ON promises (seq)
  WHERE state = 'rejected' OR state = 'rejected_canceled' OR state = 'rejected_timedout';
CREATE INDEX tasks_live ON tasks (seq) WHERE state <> 'fulfilled';

-- How far each trace is known to be true: what stands after it was never committed.
CREATE TABLE traces (
  path   TEXT PRIMARY KEY,
  length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
