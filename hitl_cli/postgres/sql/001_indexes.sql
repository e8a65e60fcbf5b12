-- Indexes for hitl beside the tables of resonate-pg, which stay as they are. psql runs each statement by itself.
-- A promise is open if only the outside can settle it: no target, no timer, and marked external or global.
-- Ids are compared byte by byte, as in a file of hitl, whatever the collation of the database.

CREATE SCHEMA IF NOT EXISTS hitl;

-- What waits: hitl pending, completion, events.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_waiting
  ON resonate.promises (created_at, length(id), (id COLLATE "C"))
  WHERE state = 'pending' AND target IS NULL AND NOT is_timer
    AND (external OR tags->>'resonate:scope' = 'global');

-- What was answered: hitl history, hitl stats, events.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_answered
  ON resonate.promises (settled_at, created_at, length(id), (id COLLATE "C"))
  WHERE state <> 'pending' AND target IS NULL AND NOT is_timer
    AND (external OR tags->>'resonate:scope' = 'global');

-- The runs: hitl status, hitl prune.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_runs
  ON resonate.promises (created_at, length(id), (id COLLATE "C"))
  WHERE target IS NOT NULL AND NOT is_timer AND coalesce(origin_id, split_part(id, ':', 1)) = id;

CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_running
  ON resonate.promises (created_at, length(id), (id COLLATE "C"))
  WHERE state = 'pending' AND target IS NOT NULL AND NOT is_timer AND coalesce(origin_id, split_part(id, ':', 1)) = id;

-- Those that failed or were canceled: hitl status --state.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_failed
  ON resonate.promises (created_at, length(id), (id COLLATE "C"))
  WHERE state IN ('rejected', 'rejected_canceled') AND target IS NOT NULL AND NOT is_timer
    AND coalesce(origin_id, split_part(id, ':', 1)) = id;

-- What has a deadline that somebody waits for.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_due
  ON resonate.promises (timeout_at)
  WHERE state = 'pending' AND (external OR tags->>'resonate:scope' = 'global');

-- Settling: which of the callbacks of a task are on pending promises.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_pending_id
  ON resonate.promises (id) WHERE state = 'pending';

-- What a task has created.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_children
  ON resonate.promises (parent_id) WHERE parent_id <> id;

-- The beginning of an id, and the parts of a run.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_ids
  ON resonate.promises ((id COLLATE "C"));

-- Votes and comments, in order: events.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_said
  ON resonate.promises (created_at, length(id), (id COLLATE "C")) WHERE tags->>'hitl:said' = '1';

-- Every tag but the SDKs' own: votes, comments, keys, links. Steps have none, and are not in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_tags
  ON resonate.promises USING gin ((tags - '{resonate:origin,resonate:branch,resonate:parent,resonate:scope,resonate:target,resonate:external,resonate:timer,resonate:delay,resonate:prefix}'::text[]) jsonb_path_ops)
  WHERE (tags - '{resonate:origin,resonate:branch,resonate:parent,resonate:scope,resonate:target,resonate:external,resonate:timer,resonate:delay,resonate:prefix}'::text[]) <> '{}'::jsonb;

-- Settling looks both up by these columns.
CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_outbox_task ON resonate.outbox (task_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS hitl_resumes_awaited ON resonate.task_resumes (awaited_id);
