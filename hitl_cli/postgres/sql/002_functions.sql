-- The functions, tables and triggers of the schema hitl, installed in one transaction.
-- Locks, by the first key: 7107111 work of one process at a time, 7107112 lineages, 7107113 groups of workers.
BEGIN;

CREATE SCHEMA IF NOT EXISTS hitl;

-- Tables ----------------------------------------------------------------------------------------------------

-- Schedules of hitl: cron expressions with names and time zones, which resonate.schedules does not accept.
CREATE TABLE IF NOT EXISTS hitl.schedules (
  id              text COLLATE "C" PRIMARY KEY,
  cron            text NOT NULL,
  promise_id      text NOT NULL,
  promise_timeout bigint NOT NULL,
  promise_param   jsonb NOT NULL,
  promise_tags    jsonb NOT NULL,
  catch_up        text NOT NULL CHECK (catch_up IN ('last', 'all')),
  created_at      bigint NOT NULL,
  next_run_at     bigint NOT NULL,
  last_run_at     bigint
);
CREATE INDEX IF NOT EXISTS hitl_schedules_due ON hitl.schedules (next_run_at);

-- Workers that are listening. A row is valid while its session holds the lock of its group.
CREATE UNLOGGED TABLE IF NOT EXISTS hitl.workers (
  session   int PRIMARY KEY,
  name      text NOT NULL,
  workflows text[] NOT NULL
);

-- Notifications -----------------------------------------------------------------------------------------------

-- A message is the id of the promise; '?' if the id is too long for a message, empty for a run.
-- The conditions of the triggers are short, because each statement evaluates them; the function checks the rest.
CREATE OR REPLACE FUNCTION hitl._changed() RETURNS trigger
  LANGUAGE plpgsql SET search_path = resonate, pg_temp AS $$
BEGIN
  IF (NEW.target IS NULL AND NOT NEW.is_timer AND (NEW.external OR NEW.tags->>'resonate:scope' = 'global'))
     OR (TG_OP = 'UPDATE' AND NEW.target IS NOT NULL AND coalesce(NEW.origin_id, split_part(NEW.id, ':', 1)) = NEW.id)
     OR (TG_OP = 'INSERT' AND NEW.tags ? 'hitl:said') THEN
    PERFORM pg_notify('hitl', CASE WHEN NEW.target IS NOT NULL THEN '' WHEN octet_length(NEW.id) < 7000 THEN NEW.id ELSE '?' END);
  END IF;
  RETURN NULL;
END $$;

-- A request was answered, or a run ended. A step has the scope local.
CREATE OR REPLACE TRIGGER hitl_changed AFTER UPDATE OF state ON resonate.promises
  FOR EACH ROW WHEN (NEW.tags->>'resonate:scope' IS DISTINCT FROM 'local') EXECUTE FUNCTION hitl._changed();

-- A request was asked, or a vote, a comment or another record of one was stored.
CREATE OR REPLACE TRIGGER hitl_asked AFTER INSERT ON resonate.promises
  FOR EACH ROW WHEN (NEW.tags->>'resonate:scope' IS DISTINCT FROM 'local' OR NEW.tags ? 'hitl:said')
  EXECUTE FUNCTION hitl._changed();

-- Reading -----------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hitl._now() RETURNS bigint
  LANGUAGE sql VOLATILE AS $$ SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

-- A map of texts. Tags and headers of other tools may be any JSON.
CREATE OR REPLACE FUNCTION hitl._texts(found jsonb) RETURNS jsonb
  LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN jsonb_typeof(found) = 'null' THEN found
    WHEN jsonb_typeof(found) <> 'object' THEN '{}'::jsonb
    WHEN found @? '$.*.type() ? (@ != "string")'
      THEN (SELECT jsonb_object_agg(key, coalesce(value, 'null')) FROM jsonb_each_text(found))
    ELSE found END
$$;

-- A promise on the wire whose tags and headers are texts.
CREATE OR REPLACE FUNCTION hitl._readable(promise jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF promise @? '$.tags.*.type() ? (@ != "string")' OR promise @? '$.*.headers.*.type() ? (@ != "string")'
     OR promise @? '$.*.headers.type() ? (@ != "object" && @ != "null")'
     OR jsonb_typeof(promise->'tags') <> 'object' THEN
    RETURN promise || jsonb_build_object('tags', hitl._texts(promise->'tags'),
      'param', promise->'param' || jsonb_build_object('headers', hitl._texts(promise#>'{param,headers}')),
      'value', promise->'value' || jsonb_build_object('headers', hitl._texts(promise#>'{value,headers}')));
  END IF;
  RETURN promise;
END $$;

-- A promise for the wire.
CREATE OR REPLACE FUNCTION hitl._shown(p resonate.promises, now bigint) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN hitl._readable(resonate._promise_json(p, now));
END $$;

-- promise.search, with hitl's additions: root, sort, after, idPrefix, settledSince.
CREATE OR REPLACE FUNCTION hitl._search_promises(q jsonb, now bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  own constant text := $x$(p.tags - '{resonate:origin,resonate:branch,resonate:parent,resonate:scope,resonate:target,resonate:external,resonate:timer,resonate:delay,resonate:prefix}'::text[])$x$;
  open constant text := $x$(p.target IS NULL AND NOT p.is_timer AND (p.external OR p.tags->>'resonate:scope' = 'global'))$x$;
  place constant text := $x$p.created_at, length(p.id), p.id COLLATE "C"$x$;
  conditions text[] := '{}';
  asked jsonb := '{}';
  most int := coalesce((q->>'limit')::int, 100);
  sort text := coalesce(q->>'sort', 'created');
  wanted text := q->>'state';
  at jsonb := (q->>'cursor')::jsonb;
  mark text;
  ordering text;
  key text;
  value text;
  found jsonb;
  n int;
BEGIN
  IF most < 1 OR most > 10000 THEN
    RETURN jsonb_build_object('status', 400, 'why', 'limit must be from 1 to 10000');
  END IF;
  IF wanted = 'pending' THEN
    conditions := conditions || format('p.state = ''pending'' AND p.timeout_at > %s', now);
  ELSIF wanted = 'rejected_timedout' THEN
    conditions := conditions || format('(p.state = %L OR (p.state = ''pending'' AND NOT p.is_timer AND p.timeout_at <= %s))', wanted, now);
  ELSIF wanted IS NOT NULL THEN
    conditions := conditions || format('p.state = %L', wanted);
  END IF;
  IF (q->>'root')::bool THEN
    conditions := conditions || 'p.target IS NOT NULL AND NOT p.is_timer AND coalesce(p.origin_id, split_part(p.id, '':'', 1)) = p.id'::text;
  END IF;
  IF q->>'idPrefix' IS NOT NULL THEN
    conditions := conditions || format('p.id COLLATE "C" >= %L AND p.id COLLATE "C" < %L', q->>'idPrefix', (q->>'idPrefix') || U&'\+10FFFF');
  END IF;
  FOR key, value IN SELECT * FROM jsonb_each_text(coalesce(nullif(q->'tags', 'null'), '{}')) LOOP
    CASE
      WHEN key = 'resonate:external' AND value = 'true' THEN conditions := conditions || open;
      WHEN key = 'resonate:origin' THEN
        conditions := conditions || format('(p.origin_id = %1$L OR p.id = %1$L OR (p.id COLLATE "C" >= %2$L AND p.id COLLATE "C" < %3$L))', value, value || ':', value || ';');
      WHEN key = 'resonate:branch' THEN conditions := conditions || format('p.branch_id = %L', value);
      WHEN key = 'hitl:said' OR (key LIKE 'resonate:%' AND key <> 'resonate:schedule') THEN
        conditions := conditions || format('p.tags->>%L = %L', key, value);
      ELSE asked := asked || jsonb_build_object(key, value);
    END CASE;
  END LOOP;
  IF asked <> '{}' THEN
    conditions := conditions || format('%s @> %L::jsonb AND %s <> ''{}''::jsonb', own, asked, own);
  END IF;
  IF q->>'after' IS NOT NULL THEN
    SELECT jsonb_build_array(p.created_at, p.id) INTO at FROM resonate.promises p WHERE p.id = q->>'after';
    IF at IS NULL OR q->>'cursor' IS NOT NULL OR sort <> 'created' THEN
      RETURN jsonb_build_object('status', 400, 'why', 'after is the id of a promise, without a cursor and with the sort "created"');
    END IF;
  END IF;
  IF at IS NOT NULL THEN
    mark := format('%s, %s, %L', (at->>0)::bigint, length(at->>1), at->>1);
  END IF;
  CASE sort
    WHEN 'created' THEN
      ordering := place;
      IF mark IS NOT NULL THEN conditions := conditions || format('(%s) > (%s)', place, mark); END IF;
    WHEN '-created' THEN
      ordering := 'p.created_at DESC, length(p.id) DESC, p.id COLLATE "C" DESC';
      IF mark IS NOT NULL THEN conditions := conditions || format('(%s) < (%s)', place, mark); END IF;
    WHEN '-settled' THEN
      ordering := 'p.settled_at DESC, p.created_at DESC, length(p.id) DESC, p.id COLLATE "C" DESC';
      conditions := conditions || (open || ' AND p.state <> ''pending''');
      IF mark IS NOT NULL THEN
        conditions := conditions || format('(p.settled_at, %s) < (%s, %s)', place, (at->>2)::bigint, mark);
      END IF;
    WHEN 'id' THEN
      ordering := 'p.id COLLATE "C"';
      IF mark IS NOT NULL THEN conditions := conditions || format('p.id COLLATE "C" > %L', at->>1); END IF;
    ELSE RETURN jsonb_build_object('status', 400, 'why', 'there is no such sort');
  END CASE;
  IF q->>'settledSince' IS NOT NULL AND sort <> '-settled' THEN
    RETURN jsonb_build_object('status', 400, 'why', 'settledSince goes with the sort "-settled"');
  ELSIF q->>'settledSince' IS NOT NULL THEN
    conditions := conditions || format('p.settled_at >= %s', (q->>'settledSince')::bigint);
  END IF;
  EXECUTE format(
    'SELECT jsonb_agg(j), count(*) FROM (SELECT hitl._shown(p, %s) AS j FROM resonate.promises p %s ORDER BY %s LIMIT %s) s',
    now, CASE WHEN conditions = '{}' THEN '' ELSE 'WHERE ' || array_to_string(conditions, ' AND ') END,
    ordering, most + 1) INTO found, n;
  IF n > most THEN
    found := found - most;
    at := found->(most - 1);
    RETURN jsonb_build_object('status', 200, 'data', jsonb_build_object('promises', found,
      'cursor', jsonb_build_array(at->'createdAt', at->'id', at->'settledAt')::text));
  END IF;
  RETURN jsonb_build_object('status', 200, 'data', jsonb_build_object('promises', coalesce(found, '[]')));
END $$;

-- task.search, by state, and by the tags and the id of the task's promise. The state is written into the text, so that
-- the planner can use the index of pending and acquired tasks.
CREATE OR REPLACE FUNCTION hitl._search_tasks(q jsonb, now bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  most int := coalesce((q->>'limit')::int, 100);
  wanted text := q->>'state';
  found jsonb;
  n int;
BEGIN
  IF most < 1 OR most > 10000 THEN
    RETURN jsonb_build_object('status', 400, 'why', 'limit must be from 1 to 10000');
  END IF;
  EXECUTE format(
    'SELECT jsonb_agg(j), count(*) FROM (
      SELECT resonate._task_json(t) AS j FROM resonate.tasks t JOIN resonate.promises p ON p.id = t.id
      WHERE %s AND ($1->>''idPrefix'' IS NULL OR starts_with(t.id, $1->>''idPrefix''))
        AND p.tags @> coalesce(nullif($1->''tags'', ''null''), ''{}'')
        AND ($1->>''cursor'' IS NULL OR t.id COLLATE "C" > $1->>''cursor'')
      ORDER BY t.id COLLATE "C" LIMIT $3 + 1) s',
    CASE WHEN wanted IS NULL THEN 'true'
      ELSE format('t.state = %L', wanted) || CASE WHEN wanted = 'fulfilled' THEN '' ELSE ' AND p.timeout_at > $2' END END
  ) INTO found, n USING q, now, most;
  IF n > most THEN
    found := found - most;
    RETURN jsonb_build_object('status', 200, 'data',
      jsonb_build_object('tasks', found, 'cursor', found->(most - 1)->>'id'));
  END IF;
  RETURN jsonb_build_object('status', 200, 'data', jsonb_build_object('tasks', coalesce(found, '[]')));
END $$;

-- Schedules ---------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hitl._schedule_json(s hitl.schedules) RETURNS jsonb
  LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('id', s.id, 'cron', s.cron, 'promiseId', s.promise_id,
    'promiseTimeout', s.promise_timeout, 'promiseParam', s.promise_param, 'promiseTags', s.promise_tags,
    'nextRunAt', s.next_run_at, 'lastRunAt', s.last_run_at, 'createdAt', s.created_at, 'catchUp', s.catch_up)
$$;

-- All schedules: those of hitl, and those that other tools have added.
CREATE OR REPLACE VIEW hitl._schedules AS
  SELECT s.id, hitl._schedule_json(s) AS shown FROM hitl.schedules s
  UNION ALL
  SELECT s.id COLLATE "C", resonate._schedule_json(s) FROM resonate.schedules s
  WHERE NOT EXISTS (SELECT FROM hitl.schedules h WHERE h.id = s.id);

CREATE OR REPLACE FUNCTION hitl._schedule(kind text, d jsonb, now bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  most int := coalesce((d->>'limit')::int, 100);
  listed jsonb;
  n int;
BEGIN
  IF kind = 'schedule.create' THEN
    PERFORM resonate._lock('sched:' || (d->>'id'));
    IF NOT EXISTS (SELECT FROM hitl._schedules WHERE id = d->>'id') THEN
      INSERT INTO hitl.schedules VALUES (d->>'id', d->>'cron', d->>'promiseId', (d->>'promiseTimeout')::bigint,
        coalesce(nullif(d->'promiseParam', 'null'), '{}'), coalesce(nullif(d->'promiseTags', 'null'), '{}'),
        coalesce(d->>'catchUp', 'last'), now, (d->>'nextRunAt')::bigint, NULL);
    END IF;
  ELSIF kind = 'schedule.delete' THEN
    DELETE FROM hitl.schedules WHERE id = d->>'id';
    IF FOUND THEN RETURN jsonb_build_object('status', 200, 'data', '{}'::jsonb); END IF;
    RETURN NULL;
  ELSIF kind = 'schedule.search' THEN
    SELECT jsonb_agg(shown), count(*) INTO listed, n FROM (
      SELECT shown FROM hitl._schedules
      WHERE (d->>'idPrefix' IS NULL OR starts_with(id, d->>'idPrefix'))
        AND shown->'promiseTags' @> coalesce(nullif(d->'tags', 'null'), '{}')
        AND (d->>'cursor' IS NULL OR id > d->>'cursor')
      ORDER BY id LIMIT most + 1) s;
    IF n > most THEN
      listed := listed - most;
      RETURN jsonb_build_object('status', 200, 'data',
        jsonb_build_object('schedules', listed, 'cursor', listed->(most - 1)->>'id'));
    END IF;
    RETURN jsonb_build_object('status', 200, 'data', jsonb_build_object('schedules', coalesce(listed, '[]')));
  END IF;
  SELECT shown INTO listed FROM hitl._schedules WHERE id = d->>'id';
  IF listed IS NULL THEN
    RETURN jsonb_build_object('status', 404, 'why', 'there is no schedule ' || coalesce(d->>'id', ''));
  END IF;
  RETURN jsonb_build_object('status', 200, 'data', jsonb_build_object('schedule', listed));
END $$;

-- Create the promises of occurrences of a schedule, and store the next one, unless another process has done so.
CREATE OR REPLACE FUNCTION hitl.fire(p_id text, p_seen bigint, p_due bigint[], p_next bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
DECLARE
  s hitl.schedules;
  at bigint;
  run text;
  tags jsonb;
BEGIN
  SELECT * INTO s FROM hitl.schedules WHERE id = p_id AND next_run_at = p_seen FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN false; END IF;
  FOREACH at IN ARRAY p_due LOOP
    run := _expand(s.promise_id, s.id, at);
    tags := s.promise_tags || jsonb_build_object('resonate:schedule', s.id,
      'resonate:origin', split_part(run, ':', 1), 'resonate:prefix', split_part(run, ':', 1),
      'resonate:branch', run, 'resonate:parent', run);
    IF tags ? 'resonate:target' THEN tags := tags || '{"resonate:scope": "global"}'; END IF;
    PERFORM promise_create(run, at + s.promise_timeout, s.promise_param, tags, at);
    s.last_run_at := at;
  END LOOP;
  UPDATE hitl.schedules SET next_run_at = p_next, last_run_at = s.last_run_at WHERE id = p_id;
  RETURN true;
END $$;

-- Timers ------------------------------------------------------------------------------------------------------

-- Fire deadlines and leases that are due, and the schedules of other tools. Any client may call it; one runs at a time.
-- Returns hitl's schedules that are due, because the database cannot read their cron expressions.
CREATE OR REPLACE FUNCTION hitl.tick() RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  r record;
  now bigint := hitl._now();
BEGIN
  IF current_setting('transaction_read_only') = 'on' THEN RETURN '[]'; END IF;
  IF (SELECT timeout_at <= now FROM promises
        WHERE state = 'pending' AND (external OR tags->>'resonate:scope' = 'global')
        ORDER BY timeout_at LIMIT 1)
     OR (SELECT timeout_at <= now FROM tasks WHERE state IN ('pending', 'acquired') ORDER BY timeout_at LIMIT 1)
     OR (SELECT next_run_at <= now FROM schedules ORDER BY next_run_at LIMIT 1) THEN
    IF pg_try_advisory_xact_lock(7107111, 1) THEN
      FOR r IN SELECT id, coalesce(origin_id, split_part(id, ':', 1)) AS origin FROM promises
          WHERE state = 'pending' AND (external OR tags->>'resonate:scope' = 'global') AND timeout_at <= now
          ORDER BY timeout_at LIMIT 200 LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(7107112, hashtext(r.origin));
        PERFORM _on_promise_timeout(r.id, now);
      END LOOP;
      FOR r IN SELECT t.id, t.state, split_part(t.id, ':', 1) AS origin FROM tasks t
          WHERE t.state IN ('pending', 'acquired') AND t.timeout_at <= now
          ORDER BY t.timeout_at LIMIT 200 LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(7107112, hashtext(r.origin));
        IF r.state = 'pending' THEN PERFORM _on_task_retry_timeout(r.id, now);
        ELSE PERFORM _on_task_lease_timeout(r.id, now);
        END IF;
      END LOOP;
      FOR r IN SELECT id FROM schedules WHERE next_run_at <= now LOOP
        BEGIN
          PERFORM _on_schedule_timeout(r.id, now);
        EXCEPTION WHEN data_exception OR raise_exception THEN
          RAISE WARNING 'hitl: the schedule % could not be fired: %', r.id, SQLERRM;
        END;
      END LOOP;
    END IF;
  END IF;
  RETURN coalesce((SELECT jsonb_agg(hitl._schedule_json(s)) FROM hitl.schedules s WHERE s.next_run_at <= now), '[]');
END $$;

-- Statements of resonate-pg are planned once in a session. A plan from when a table was empty reads everything
-- pending each time. New statistics cause a new plan.
CREATE OR REPLACE FUNCTION hitl.care() RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
DECLARE r record;
BEGIN
  IF NOT pg_try_advisory_xact_lock(7107111, 2) THEN RETURN; END IF;
  FOR r IN SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'resonate' AND relname <> 'schedules'
      AND n_mod_since_analyze > 100 + n_live_tup * 0.5 LOOP
    EXECUTE format('ANALYZE resonate.%I', r.relname);
  END LOOP;
END $$;

-- Requests ----------------------------------------------------------------------------------------------------

-- The promises that a task has created so far: its steps, and theirs, but not those of other tasks below it.
CREATE OR REPLACE FUNCTION hitl._preload(p_task text, now bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
  WITH RECURSIVE made(id, ends) AS (
    SELECT p_task, false
    UNION
    SELECT p.id, p.target IS NOT NULL AND NOT p.is_timer
    FROM made m JOIN resonate.promises p ON p.parent_id = m.id WHERE p.parent_id <> p.id AND NOT m.ends)
  SELECT coalesce(jsonb_agg(hitl._shown(p, now) ORDER BY p.created_at, length(p.id), p.id COLLATE "C"), '[]')
  FROM made JOIN resonate.promises p USING (id) WHERE p.id <> p_task
$$;

-- Why a request fails, which resonate_rpc does not say. NULL if it does not fail this time.
CREATE OR REPLACE FUNCTION hitl._failure(kind text, d jsonb, now bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  CASE kind
    WHEN 'promise.create' THEN
      PERFORM resonate.promise_create(d->>'id', (d->>'timeoutAt')::bigint, d->'param', coalesce(d->'tags', '{}'), now);
    WHEN 'promise.settle' THEN PERFORM resonate.promise_settle(d->>'id', d->>'state', d->'value', now);
    ELSE RETURN 'an error in resonate.resonate_rpc';
  END CASE;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'hitl: % failed: %', kind, SQLERRM;
  RETURN SQLERRM || ' (' || SQLSTATE || ')';
END $$;

-- The answer to one request of a rare kind, or one that failed as a frequent kind.
CREATE OR REPLACE FUNCTION hitl._answer(req jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  kind text := req->>'kind';
  d jsonb := coalesce(req->'data', '{}');
  r jsonb;
  now bigint;
  why text;
BEGIN
  BEGIN
    now := coalesce((req->'head'->>'resonate:debug_time')::bigint, hitl._now());
    CASE
      WHEN kind = 'promise.get' THEN
        r := (SELECT jsonb_build_object('status', 200, 'data', jsonb_build_object('promise', hitl._shown(p, now)))
              FROM resonate.promises p WHERE p.id = d->>'id');
        r := coalesce(r, jsonb_build_object('status', 404, 'why', 'there is no promise ' || coalesce(d->>'id', '')));
      WHEN kind = 'promise.search' THEN r := hitl._search_promises(d, now);
      WHEN kind = 'task.search' THEN r := hitl._search_tasks(d, now);
      WHEN kind IN ('schedule.get', 'schedule.search', 'schedule.delete')
        OR (kind = 'schedule.create' AND d ? 'nextRunAt') THEN r := hitl._schedule(kind, d, now);
      WHEN kind = 'hitl.take' THEN r := jsonb_build_object('status', 200, 'data', hitl._take(d));
      WHEN kind = 'unreadable' THEN r := jsonb_build_object('status', 400, 'why', d);
      ELSE r := NULL;
    END CASE;
  EXCEPTION WHEN data_exception OR not_null_violation THEN
    r := jsonb_build_object('status', 400, 'why', SQLERRM);
  END;
  IF r IS NOT NULL THEN
    RETURN jsonb_build_object('kind', kind, 'data', coalesce(r->'data', r->'why'),
      'head', jsonb_build_object('corrId', req->'head'->>'corrId', 'status', r->'status',
                                 'version', req->'head'->>'version'));
  END IF;
  r := resonate.resonate_rpc(req);
  IF r#>>'{head,status}' = '500' THEN
    why := hitl._failure(kind, d, now);
    r := CASE WHEN why IS NULL THEN resonate.resonate_rpc(req) ELSE jsonb_set(r, '{data}', to_jsonb(why)) END;
  END IF;
  IF (kind = 'task.acquire' AND r#>>'{head,status}' = '200')
     OR (kind = 'task.suspend' AND r#>>'{head,status}' = '300') THEN
    RETURN jsonb_set(r, '{data,preload}', hitl._preload(d->>'id', now));
  END IF;
  IF r#>'{data,promise}' IS NOT NULL THEN
    RETURN jsonb_set(r, '{data,promise}', hitl._readable(r#>'{data,promise}'));
  END IF;
  RETURN r;
END $$;
-- The answer to one request, as resonate_rpc gives it. The kinds that a decision needs call resonate's functions
-- directly, without resonate_rpc, and do not catch their errors.
CREATE OR REPLACE FUNCTION hitl._fast_answer(req jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  kind text := req->>'kind';
  d jsonb := req->'data';
  now bigint := coalesce((req#>>'{head,resonate:debug_time}')::bigint, hitl._now());
  head text := concat('"head":{"corrId":', coalesce(req#>'{head,corrId}', 'null'), ',"version":', coalesce(req#>'{head,version}', '"1"'), ',"status":');
  action jsonb;
  r jsonb;
  done jsonb;
  said text;
BEGIN
  CASE kind
    WHEN 'task.fence' THEN
      action := d->'action';
      IF action->>'kind' = 'promise.create' THEN
        r := resonate.task_fence(d->>'id', (d->>'version')::int, jsonb_build_object('kind', 'create', 'req', action->'data'), now);
        done := r#>'{action,create}';
      ELSE
        r := resonate.task_fence(d->>'id', (d->>'version')::int, jsonb_build_object('kind', 'settle', 'req', action->'data'), now);
        done := r#>'{action,settle}';
      END IF;
      said := concat('{"preload":[],"action":{"kind":', action->'kind', ',', head, done->'status', '},"data":',
        coalesce('{"promise":' || (done->'promise')::text || '}', to_json(resonate._status_text((done->>'status')::int))::text), '}}');
    WHEN 'promise.settle' THEN
      r := resonate.promise_settle(d->>'id', d->>'state', d->'value', now);
      said := concat('{"promise":', hitl._readable(r->'promise'), '}');
    WHEN 'task.fulfill' THEN
      r := resonate.task_fulfill(d->>'id', (d->>'version')::int, d#>'{action,data}', now);
      said := concat('{"promise":', r->'promise', '}');
    WHEN 'promise.create' THEN
      r := resonate.promise_create(d->>'id', (d->>'timeoutAt')::bigint, d->'param', coalesce(d->'tags', '{}'), now);
      said := concat('{"promise":', hitl._readable(r->'promise'), '}');
    WHEN 'task.suspend' THEN
      r := resonate.task_suspend(d->>'id', (d->>'version')::int,
        (SELECT jsonb_agg(e->'data') FROM jsonb_array_elements(d->'actions') e), now);
      said := concat('{"preload":', CASE WHEN r->>'status' = '300' THEN hitl._preload(d->>'id', now) ELSE '[]' END, '}');
    WHEN 'hitl.take' THEN
      r := '{"status": 200}';
      said := hitl._take(d);
    ELSE
      RETURN hitl._answer(req);
  END CASE;
  IF r->>'status' NOT IN ('200', '300') THEN said := to_json(resonate._status_text((r->>'status')::int)); END IF;
  RETURN concat('{"kind":"', kind, '",', head, r->'status', '},"data":', said, '}');
END $$;

-- A request as JSON; an invalid one is refused later.
CREATE OR REPLACE FUNCTION hitl._read(request text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN request::jsonb;
EXCEPTION WHEN data_exception THEN
  RETURN jsonb_build_object('kind', 'unreadable', 'data', SQLERRM);
END $$;

-- Requests in one transaction and one round trip. The lineages that they change are locked first, in a fixed
-- order, so that two batches never wait for each other. If one of them fails, each is answered by itself.
CREATE OR REPLACE FUNCTION hitl.many(requests text[]) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp SET plan_cache_mode = force_generic_plan
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  asked jsonb[];
  req jsonb;
  kind text;
  changed text[] := '{}';
  answers text[] := '{}';
BEGIN
  BEGIN
    asked := requests;
  EXCEPTION WHEN data_exception THEN
    asked := (SELECT array_agg(hitl._read(q) ORDER BY n) FROM unnest(requests) WITH ORDINALITY u(q, n));
  END;
  FOREACH req IN ARRAY asked LOOP
    kind := req->>'kind';
    IF kind = 'task.heartbeat' THEN
      changed := changed || (SELECT array_agg(split_part(x#>>'{}', ':', 1)) FROM jsonb_path_query(req, '$.data.tasks[*].id') x);
    ELSIF kind NOT IN ('promise.get', 'promise.search', 'task.get', 'task.search', 'schedule.get', 'schedule.search', 'hitl.take', 'unreadable') THEN
      changed := changed || split_part(
        coalesce(req#>>'{data,id}', req#>>'{data,awaited}', req#>>'{data,action,data,id}', ''), ':', 1);
    END IF;
  END LOOP;
  IF changed = '{}' THEN
    PERFORM hitl.tick();  -- a list shows nothing that is past its deadline
  ELSIF current_setting('transaction_read_only') = 'on' THEN
    RAISE read_only_sql_transaction USING MESSAGE = 'the database takes no writes';
  ELSE
    PERFORM pg_advisory_xact_lock(7107112, lock)
      FROM (SELECT DISTINCT hashtext(lineage) AS lock FROM unnest(changed) lineage ORDER BY lock) s;
  END IF;
  BEGIN
    FOREACH req IN ARRAY asked LOOP answers := answers || hitl._fast_answer(req); END LOOP;
  EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE LIKE '53%' OR SQLSTATE LIKE '58%' THEN RAISE; END IF;  -- a full disk is no request's fault
    answers := '{}';
    FOREACH req IN ARRAY asked LOOP answers := answers || hitl._answer(req)::text; END LOOP;
  END;
  RETURN concat('[', array_to_string(answers, ','), ']');
END $$;

-- Workers -----------------------------------------------------------------------------------------------------

-- Announce the workflows that this session serves, until it ends.
CREATE OR REPLACE FUNCTION hitl.announce(p_group text, p_workflows text[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_lock_shared(7107113, hashtext(p_group));
  DELETE FROM hitl.workers w WHERE NOT EXISTS (
    SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7107113 AND l.pid = w.session);
  INSERT INTO hitl.workers VALUES (pg_backend_pid(), p_group, p_workflows)
    ON CONFLICT (session) DO UPDATE SET name = EXCLUDED.name, workflows = EXCLUDED.workflows;
END $$;

CREATE OR REPLACE FUNCTION hitl.workers() RETURNS TABLE(name text, workflows text[])
  LANGUAGE sql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
  SELECT w.name, w.workflows FROM hitl.workers w
  WHERE EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7107113
    AND l.pid = w.session AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$$;

-- The groups whose workers of other SDKs are listening, as far as the owner may see sessions. Only these groups are
-- found: the given ones, those of hitl's workers, those with tasks on offer, and the default. A session that listens is
-- found by its last query, which stays LISTEN.
CREATE OR REPLACE FUNCTION hitl.others(p_groups text[]) RETURNS SETOF text
  LANGUAGE sql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
  SELECT g FROM (
    SELECT unnest(p_groups || 'default'::text) UNION SELECT name FROM hitl.workers()
    UNION SELECT split_part(split_part(address, '@', 2), '/', 1) FROM outbox WHERE kind = 'execute') known(g)
  WHERE EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database()
    AND a.query = format('LISTEN "%s"', outbox_channel('poll://any@' || g)))
$$;

-- The function that a task calls, as name@version; NULL if that cannot be read.
CREATE OR REPLACE FUNCTION hitl._call(data text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE call jsonb;
BEGIN
  call := convert_from(decode(data, 'base64'), 'UTF8')::jsonb;
  RETURN (call->>'func') || '@' || coalesce(call->>'version', '1');
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;

-- Take up to p_room tasks that are offered to some addresses and call one of the functions, except p_left. They are
-- returned as acquired, with the promises that they have created so far, and with messages about settled promises.
-- Also returns how many were busy, whether there may be more, and if nothing else was found, the tasks for others.
DROP FUNCTION IF EXISTS hitl.take(text[], text, bigint, int, text[]);
CREATE OR REPLACE FUNCTION hitl.take(
    p_addresses text[], p_pid text, p_ttl bigint, p_room int, p_functions text[], p_left text[]) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp SET plan_cache_mode = force_generic_plan
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  o record;
  r jsonb;
  now bigint := hitl._now();
  place text;
  room int := p_room;
  taken jsonb[] := '{}';
  gone text[] := '{}';
  busy int := 0;
  seen int;
  more boolean := false;
  news jsonb;
  others jsonb := '[]';
BEGIN
  FOREACH place IN ARRAY p_addresses LOOP  -- by itself: so the index has them in order
    seen := 0;
    FOR o IN SELECT b.key, b.task_id, b.version, q.is_timer FROM outbox b JOIN promises q ON q.id = b.task_id
        WHERE b.kind = 'execute' AND b.address = place AND b.task_id <> ALL (p_left)
          AND (q.is_timer OR coalesce(hitl._call(q.param_data) = ANY (p_functions), true))
        ORDER BY b.seq LIMIT room FOR UPDATE OF b SKIP LOCKED LOOP
      seen := seen + 1;
      IF NOT pg_try_advisory_xact_lock(7107112, hashtext(split_part(o.task_id, ':', 1))) THEN
        busy := busy + 1;
        CONTINUE;
      END IF;
      gone := gone || o.key;
      IF o.is_timer THEN
        PERFORM task_halt(o.task_id, now);  -- a deadline ends it: there is nothing to run
        CONTINUE;
      END IF;
      r := task_acquire(o.task_id, o.version, p_pid, p_ttl, now);
      IF r->>'status' = '200' THEN
        taken := taken || jsonb_build_object('task', r->'task', 'promise', hitl._readable(r->'promise'),
          'preload', CASE WHEN o.version = 0 THEN '[]'::jsonb ELSE hitl._preload(o.task_id, now) END);
      END IF;
    END LOOP;
    more := more OR seen = room;
    room := p_room - cardinality(taken);
  END LOOP;
  DELETE FROM outbox WHERE key = ANY (gone);
  WITH gone AS (DELETE FROM outbox WHERE kind = 'unblock' AND address = ANY (p_addresses) RETURNING promise, seq)
    SELECT jsonb_agg(promise ORDER BY seq) INTO news FROM gone;
  IF taken = '{}' AND busy = 0 AND p_room > 0 THEN
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', q.id, 'data', q.param_data)), '[]') INTO others
      FROM (SELECT task_id FROM outbox WHERE kind = 'execute' AND address = ANY (p_addresses)
            ORDER BY seq LIMIT 20) b JOIN promises q ON q.id = b.task_id;
  END IF;
  RETURN jsonb_build_object('tasks', to_jsonb(taken), 'settled', coalesce(news, '[]'), 'busy', busy,
    'more', more AND gone <> '{}', 'others', others);
END $$;

-- The same as a request, which shares a transaction with others.
CREATE OR REPLACE FUNCTION hitl._take(d jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT hitl.take(ARRAY(SELECT jsonb_array_elements_text(d->'addresses')), d->>'pid', (d->>'ttl')::bigint,
    (d->>'room')::int, ARRAY(SELECT jsonb_array_elements_text(d->'functions')),
    ARRAY(SELECT jsonb_array_elements_text(d->'left')))
$$;

-- Upkeep ------------------------------------------------------------------------------------------------------

-- Check the next 100 runs that were created before p_cutoff, and with p_remove delete those that ended before it. A run
-- is deleted as a whole: its root last, a huge one in several transactions. The rules are those of a file
-- (hitl_cli/engine/prune.py). Messages about runs that ended before p_unfetched count as lost.
CREATE OR REPLACE FUNCTION hitl.prune(p_after jsonb, p_cutoff bigint, p_unfetched bigint, p_remove boolean) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  most constant int := 1000;
  r record;
  place jsonb := p_after;
  seen int := 0;
  part boolean := false;
  ids text[];
  ended bigint;
  is_open boolean;
  reason text;
  kept jsonb := '{}';
  doomed text[] := '{}';
  runs int := 0;
  gone int := 0;
  first bigint;
  last bigint;
BEGIN
  PERFORM hitl.tick();  -- what is past its deadline has ended
  FOR r IN SELECT p.id, p.created_at FROM promises p
      WHERE p.target IS NOT NULL AND NOT p.is_timer AND coalesce(p.origin_id, split_part(p.id, ':', 1)) = p.id
        AND p.created_at <= p_cutoff
        AND (p_after IS NULL OR (p.created_at, length(p.id), p.id COLLATE "C")
             > ((p_after->>0)::bigint, length(p_after->>1), p_after->>1))
      ORDER BY p.created_at, length(p.id), p.id COLLATE "C" LIMIT 100 LOOP
    -- Nobody may say something of it meanwhile; where somebody is doing so, it has not ended.
    is_open := p_remove AND NOT pg_try_advisory_xact_lock(7107112, hashtext(split_part(r.id, ':', 1)));
    SELECT array_agg(q.id ORDER BY q.id = r.id), max(q.settled_at),
        is_open OR bool_or(q.state = 'pending' AND (q.external OR q.tags->>'resonate:scope' = 'global'))
      INTO ids, ended, is_open FROM promises q
      WHERE q.origin_id = r.id OR q.id = r.id OR (q.id COLLATE "C" >= r.id || ':' AND q.id COLLATE "C" < r.id || ';');
    reason := CASE
      WHEN is_open THEN 'live'
      WHEN ended > p_cutoff THEN 'recent'
      WHEN ended > p_unfetched AND EXISTS (
        SELECT FROM outbox b WHERE b.kind = 'unblock' AND b.promise->>'id' = ANY (ids)) THEN 'unfetched'
    END;
    IF reason IS NOT NULL THEN
      kept := kept || jsonb_build_object(reason, coalesce((kept->>reason)::int, 0) + 1);
    ELSE
      part := p_remove AND cardinality(ids) > most;
      IF part THEN ids := ids[:most]; END IF;
      doomed := doomed || ids;
      gone := gone + cardinality(ids);
      EXIT WHEN part;
      runs := runs + 1;
      first := least(first, ended);
      last := greatest(last, ended);
    END IF;
    seen := seen + 1;
    place := jsonb_build_array(r.created_at, r.id);
    EXIT WHEN p_remove AND gone >= most;
  END LOOP;
  IF p_remove THEN
    DELETE FROM outbox b WHERE b.kind = 'unblock' AND b.promise->>'id' = ANY (doomed);
    DELETE FROM outbox b WHERE b.task_id = ANY (doomed);
    DELETE FROM task_resumes t WHERE t.awaited_id = ANY (doomed);
    DELETE FROM callbacks c WHERE c.awaiter_id = ANY (doomed);
    DELETE FROM promises q WHERE q.id = ANY (doomed);
  END IF;
  RETURN jsonb_build_object('runs', runs, 'promises', gone, 'kept', kept, 'first', first, 'last', last,
    'after', CASE WHEN part OR gone >= most OR seen = 100 THEN place END, 'more', part OR gone >= most OR seen = 100);
END $$;

-- The facts for hitl doctor. It changes nothing. With p_full, all promises are counted, even if there are many.
CREATE OR REPLACE FUNCTION hitl.facts(p_full boolean) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = resonate, pg_temp AS $$
DECLARE
  now bigint := hitl._now();
  about bigint := (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'promises'::regclass);
  few boolean := p_full OR about < 1000000;
  cron text;
BEGIN
  BEGIN
    EXECUTE 'SELECT schedule FROM cron.job WHERE active AND command LIKE ''%resonate%process_timeouts%'' LIMIT 1' INTO cron;
  EXCEPTION WHEN undefined_table OR invalid_schema_name OR undefined_column OR insufficient_privilege THEN
    cron := NULL;
  END;
  RETURN jsonb_build_object(
    'now', now,
    'promises', CASE WHEN few THEN (SELECT count(*) FROM promises) ELSE about END,
    'counted', few,
    'runs', CASE WHEN few THEN (SELECT count(*) FROM promises p WHERE p.target IS NOT NULL AND NOT p.is_timer
      AND coalesce(p.origin_id, split_part(p.id, ':', 1)) = p.id) END,
    'waiting', (SELECT count(*) FROM promises p WHERE p.state = 'pending' AND p.target IS NULL AND NOT p.is_timer
      AND (p.external OR p.tags->>'resonate:scope' = 'global') AND p.timeout_at > now),
    'oldest', (SELECT jsonb_build_array(p.id, p.created_at) FROM promises p WHERE p.state = 'pending'
      AND p.target IS NULL AND NOT p.is_timer AND (p.external OR p.tags->>'resonate:scope' = 'global')
      AND p.timeout_at > now ORDER BY p.created_at, length(p.id), p.id COLLATE "C" LIMIT 1),
    'tasks', (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (
      SELECT state, count(*) AS n FROM tasks WHERE state <> 'fulfilled' GROUP BY state) t),
    'offered', (SELECT coalesce(jsonb_agg(jsonb_build_array(address, n, since) ORDER BY since), '[]') FROM (
      SELECT address, count(*) AS n, (extract(epoch FROM min(created_at)) * 1000)::bigint AS since
      FROM outbox WHERE kind = 'execute' GROUP BY address) o),
    'lapsed', (SELECT jsonb_build_array(count(*), min(timeout_at)) FROM tasks WHERE state = 'acquired' AND timeout_at <= now),
    'unfired', (SELECT jsonb_build_array(count(*), min(at)) FROM (
      SELECT timeout_at AS at FROM promises WHERE state = 'pending' AND (external OR tags->>'resonate:scope' = 'global')
        AND timeout_at <= now
      UNION ALL SELECT next_run_at FROM hitl.schedules WHERE next_run_at <= now) d),
    'stranded', (SELECT coalesce(jsonb_agg(id), '[]') FROM (
      SELECT t.id FROM tasks t JOIN promises p ON p.id = t.id WHERE t.state = 'suspended' AND p.state = 'pending'
        AND NOT EXISTS (SELECT FROM callbacks c WHERE c.awaiter_id = t.id) LIMIT 5) s),
    'stale', (SELECT coalesce(jsonb_agg(relname ORDER BY relname), '[]') FROM pg_stat_user_tables
      WHERE schemaname = 'resonate' AND n_mod_since_analyze > 10000 + 2 * n_live_tup),
    'cron', cron);
END $$;

-- Plans -------------------------------------------------------------------------------------------------------

-- A session that begins while the tables are empty plans resonate._cascade_settle once. For a table that was never analyzed,
-- the plan would read everything pending at each settlement, until hitl.care() causes new plans.
ANALYZE resonate.callbacks;

-- Rights ------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hitl.version() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 2 $$;

REVOKE ALL ON SCHEMA hitl FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA hitl FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA hitl FROM PUBLIC;

COMMIT;
