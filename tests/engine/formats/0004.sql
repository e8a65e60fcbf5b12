PRAGMA application_id = 1751741548;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE callbacks (
  awaited INTEGER NOT NULL,
  awaiter INTEGER NOT NULL,
  PRIMARY KEY (awaited, awaiter)
) STRICT, WITHOUT ROWID;
INSERT INTO "callbacks" VALUES(5,4);
INSERT INTO "callbacks" VALUES(7,6);
INSERT INTO "callbacks" VALUES(8,6);
CREATE TABLE clock (
  now INTEGER NOT NULL              -- the latest instant any request was answered at
, slow_from INTEGER, slow_wall INTEGER) STRICT;
INSERT INTO "clock" VALUES(1001000,NULL,NULL);
CREATE TABLE listeners (
  promise INTEGER NOT NULL,
  address TEXT NOT NULL,
  PRIMARY KEY (promise, address)
) STRICT, WITHOUT ROWID;
INSERT INTO "listeners" VALUES(16,'poll://uni@people/p1');
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
INSERT INTO "promises" VALUES(1,'done','resolved','{}','{"data":"IjEi"}','{"resonate:target":"poll://any@workers"}',1060000,1000000,1000000,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(2,'done:1','resolved','{}','{"data":"IjEi"}','{}',1009000,1000000,1000000,NULL,0,0,0,0,1);
INSERT INTO "promises" VALUES(3,'held','pending','{}','{}','{"resonate:target":"poll://any@workers"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(4,'waits','pending','{}','{}','{"resonate:target":"poll://any@workers"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(5,'waits:1','pending','{"data":"InBsZWFzZSI="}','{}','{"resonate:external":"true"}',1040000,1000000,NULL,NULL,0,1,1,0,4);
INSERT INTO "promises" VALUES(6,'both','pending','{}','{}','{"resonate:target":"poll://any@workers"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(7,'both:1','pending','{"data":"InBsZWFzZSI="}','{}','{"resonate:external":"true"}',1040000,1000000,NULL,NULL,0,1,1,0,6);
INSERT INTO "promises" VALUES(8,'both:2','pending','{"data":"InBsZWFzZSI="}','{}','{"resonate:external":"true"}',1040000,1000000,NULL,NULL,0,1,1,0,6);
INSERT INTO "promises" VALUES(9,'offered','pending','{}','{}','{"resonate:target":"poll://any@workers"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(10,'delayed','pending','{}','{}','{"resonate:target":"poll://any@workers","resonate:delay":"1020000"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(11,'halted','pending','{}','{}','{"resonate:target":"poll://any@workers"}',1060000,1000000,NULL,'poll://any@workers',0,1,0,1,NULL);
INSERT INTO "promises" VALUES(12,'asked','pending','{}','{}','{"resonate:external":"true","hitl:request":"1","hitl:assignee":"a@example.org"}',1060000,1000000,NULL,NULL,0,1,1,0,NULL);
INSERT INTO "promises" VALUES(13,'rejected','rejected','{}','{"data":"IjEi"}','{"resonate:external":"true"}',1060000,1000000,1000000,NULL,0,1,1,0,NULL);
INSERT INTO "promises" VALUES(14,'timer','pending','{}','{}','{"resonate:timer":"true"}',1030000,1000000,NULL,NULL,1,1,0,0,NULL);
INSERT INTO "promises" VALUES(15,'step','pending','{}','{}','{}',1000100,1000000,NULL,NULL,0,0,0,0,NULL);
INSERT INTO "promises" VALUES(16,'heard','pending','{}','{}','{"resonate:external":"true"}',1060000,1000000,NULL,NULL,0,1,1,0,NULL);
INSERT INTO "promises" VALUES(17,'unheard','resolved','{}','{"data":"IjEi"}','{"resonate:external":"true"}',1060000,1000000,1000000,NULL,0,1,1,0,NULL);
INSERT INTO "promises" VALUES(18,'last','pending','{}','{}','{"resonate:external":"true"}',1061000,1001000,NULL,NULL,0,1,1,0,NULL);
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
INSERT INTO "schedules" VALUES('nightly','0 2 * * *','nightly-{{.timestamp}}',60000,'{}','{"resonate:target":"poll://any@workers"}',1000000,7200000,NULL,'last');
CREATE TABLE tags (
  key     TEXT NOT NULL,
  value   TEXT NOT NULL,
  promise INTEGER NOT NULL,
  PRIMARY KEY (key, value, promise)
) STRICT, WITHOUT ROWID;
INSERT INTO "tags" VALUES('hitl:assignee','a@example.org',12);
INSERT INTO "tags" VALUES('hitl:request','1',12);
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
INSERT INTO "tasks" VALUES(1,'fulfilled',1,'poll://any@workers',NULL,NULL,NULL,0);
INSERT INTO "tasks" VALUES(3,'acquired',1,'poll://any@workers','w1',50000,1050000,0);
INSERT INTO "tasks" VALUES(4,'suspended',1,'poll://any@workers',NULL,NULL,NULL,0);
INSERT INTO "tasks" VALUES(6,'suspended',1,'poll://any@workers',NULL,NULL,NULL,0);
INSERT INTO "tasks" VALUES(9,'pending',0,'poll://any@workers',NULL,NULL,1000000,0);
INSERT INTO "tasks" VALUES(10,'pending',0,'poll://any@workers',NULL,NULL,1020000,0);
INSERT INTO "tasks" VALUES(11,'halted',1,'poll://any@workers',NULL,NULL,NULL,0);
CREATE TABLE traces (
  path   TEXT PRIMARY KEY,
  length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE unblocks (
  address TEXT NOT NULL,
  promise INTEGER NOT NULL, due INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (address, promise)
) STRICT, WITHOUT ROWID;
INSERT INTO "unblocks" VALUES('poll://uni@people/p1',17,0);
CREATE INDEX promises_open  ON promises (seq)        WHERE state = 'pending' AND open = 1;
CREATE INDEX promises_due   ON promises (timeout_at) WHERE state = 'pending' AND external = 1;
CREATE INDEX promises_root  ON promises (seq)        WHERE root = 1;
CREATE INDEX promises_owner ON promises (owner)      WHERE owner IS NOT NULL;
CREATE INDEX tasks_offers ON tasks (address, due) WHERE state = 'pending';
CREATE INDEX tasks_leases ON tasks (due)          WHERE state = 'acquired';
CREATE INDEX schedules_due ON schedules (next_run_at);
CREATE INDEX promises_pending ON promises (seq, timeout_at) WHERE state = 'pending';
CREATE INDEX promises_failed  ON promises (seq)
  WHERE state = 'rejected' OR state = 'rejected_canceled' OR state = 'rejected_timedout';
CREATE INDEX tasks_live ON tasks (seq) WHERE state <> 'fulfilled';
CREATE INDEX unblocks_due  ON unblocks (address, due);
CREATE INDEX tasks_push    ON tasks (due)    WHERE state = 'pending' AND address >= 'http' AND address < 'httq';
CREATE INDEX unblocks_push ON unblocks (due) WHERE address >= 'http' AND address < 'httq';
COMMIT;
