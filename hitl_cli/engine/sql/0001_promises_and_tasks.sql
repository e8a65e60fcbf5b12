-- Everything the engine remembers. Times are milliseconds since the Unix epoch.
-- param, value and tags are the JSON texts of the wire, pasted into answers as they are.

CREATE TABLE clock (
  now INTEGER NOT NULL              -- the latest instant any request was answered at
) STRICT;
INSERT INTO clock VALUES (0);

CREATE TABLE promises (
  seq        INTEGER PRIMARY KEY,   -- order of creation; also the search cursor
  id         TEXT NOT NULL UNIQUE,
  state      TEXT NOT NULL,
  param      TEXT NOT NULL,
  value      TEXT NOT NULL,
  tags       TEXT NOT NULL,
  timeout_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  settled_at INTEGER,
  target     TEXT,                  -- the address that executes it, if it has a task
  timer      INTEGER NOT NULL,      -- its deadline resolves it
  external   INTEGER NOT NULL,      -- others may wait for it, so its deadline fires by itself
  open       INTEGER NOT NULL,      -- found by the tag resonate:external (see docs/protocol.md)
  root       INTEGER NOT NULL,      -- the start of a lineage: it has a task, and no ':' in its id
  owner      INTEGER                -- seq of the promise whose task created it
) STRICT;

CREATE INDEX promises_open  ON promises (seq)        WHERE state = 'pending' AND open = 1;
CREATE INDEX promises_live  ON promises (seq)        WHERE state = 'pending' AND root = 1;
CREATE INDEX promises_due   ON promises (timeout_at) WHERE state = 'pending' AND external = 1;
CREATE INDEX promises_root  ON promises (seq)        WHERE root = 1;
CREATE INDEX promises_owner ON promises (owner)      WHERE owner IS NOT NULL;

CREATE TABLE tasks (
  seq     INTEGER PRIMARY KEY,      -- the promise's
  state   TEXT NOT NULL,
  version INTEGER NOT NULL,
  address TEXT NOT NULL,            -- who may be offered it
  pid     TEXT,
  ttl     INTEGER,
  due     INTEGER,                  -- pending: when it is offered next; acquired: when its lease lapses
  resumes INTEGER NOT NULL          -- awaited promises that settled since it was last acquired
) STRICT;

CREATE INDEX tasks_offers ON tasks (address, due) WHERE state = 'pending';
CREATE INDEX tasks_leases ON tasks (due)          WHERE state = 'acquired';

CREATE TABLE callbacks (
  awaited INTEGER NOT NULL,
  awaiter INTEGER NOT NULL,
  PRIMARY KEY (awaited, awaiter)
) STRICT, WITHOUT ROWID;

CREATE TABLE listeners (
  promise INTEGER NOT NULL,
  address TEXT NOT NULL,
  PRIMARY KEY (promise, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE unblocks (
  address TEXT NOT NULL,
  promise INTEGER NOT NULL,
  PRIMARY KEY (address, promise)
) STRICT, WITHOUT ROWID;
