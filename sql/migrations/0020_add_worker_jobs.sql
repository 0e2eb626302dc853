-- add_worker_jobs: many events in one call.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Somebody else's function of this very signature, which CREATE OR REPLACE could not take over. Others of this name are
-- whose they are, and stay: it is no name of upstream's.
DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_catalog.pg_proc AS routine
     WHERE routine.oid = pg_catalog.to_regprocedure('public.add_worker_jobs(pg_catalog.text[], pg_catalog.json[], '
             'pg_catalog.text[], pg_catalog.timestamptz[], pg_catalog.int4[], pg_catalog.text[], pg_catalog.int4[], '
             'pg_catalog.json[], pg_catalog.text[])')
       AND routine.proowner <> (SELECT role.oid FROM pg_catalog.pg_roles AS role WHERE role.rolname = CURRENT_USER)
  ) THEN
    DROP ROUTINE public.add_worker_jobs(pg_catalog.text[], pg_catalog.json[], pg_catalog.text[],
      pg_catalog.timestamptz[], pg_catalog.int4[], pg_catalog.text[], pg_catalog.int4[], pg_catalog.json[],
      pg_catalog.text[]);
  END IF;
END
$$;

-- Add as many jobs as `identifiers` has elements, with the effect of calling add_worker_job for each, one after the
-- other. Each other array has as many elements, in the same order, or is null: then all take the default. An element of
-- `flags` is a JSON array of strings, since an array cannot hold arrays of different lengths. All are stored, or none: an
-- error says which event it is about, counted from 1.
--
-- Most are stored by one statement: those without a key, and the first under each key that nobody holds. Whatever is left
-- goes one by one. Keys are taken in one order, and their holders are locked by id, so that two calls with the same keys
-- do not wait for each other.
CREATE OR REPLACE FUNCTION public.add_worker_jobs(
  identifiers text[], payloads json[] = NULL, queue_names text[] = NULL, run_ats timestamptz[] = NULL,
  max_attempts integer[] = NULL, job_keys text[] = NULL, priorities integer[] = NULL, flags json[] = NULL,
  job_key_modes text[] = NULL
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  total pg_catalog.int4 := coalesce(pg_catalog.cardinality(identifiers), 0);
  argument pg_catalog.record;
  event pg_catalog.record;
  held pg_catalog.text[];
  stored pg_catalog.int4 := 0;
  later pg_catalog.int8[];
  place pg_catalog.int8;
  state pg_catalog.text;
  message pg_catalog.text;
  detail pg_catalog.text;
  hint pg_catalog.text;
  relation pg_catalog.text;
  attribute pg_catalog.text;
  violated pg_catalog.text;
BEGIN
  FOR argument IN
    SELECT given.name, given.length
      FROM (VALUES ('payloads', pg_catalog.cardinality(payloads)), ('queue_names', pg_catalog.cardinality(queue_names)),
                   ('run_ats', pg_catalog.cardinality(run_ats)), ('max_attempts', pg_catalog.cardinality(max_attempts)),
                   ('job_keys', pg_catalog.cardinality(job_keys)), ('priorities', pg_catalog.cardinality(priorities)),
                   ('flags', pg_catalog.cardinality(flags)), ('job_key_modes', pg_catalog.cardinality(job_key_modes))
           ) AS given (name, length)
     WHERE given.length <> total
  LOOP
    RAISE EXCEPTION 'identifiers has % elements, % has %', total, argument.name, argument.length
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Each array has one element for each event, or is null.';
  END LOOP;
  IF total = 0 THEN
    RETURN;
  END IF;

  -- As add_job has it: whoever deletes names that no job uses waits until these jobs can be seen, and is waited for.
  LOCK TABLE graphile_worker._private_tasks IN ROW EXCLUSIVE MODE;
  IF queue_names IS NOT NULL THEN
    LOCK TABLE graphile_worker._private_job_queues IN ROW EXCLUSIVE MODE;
  END IF;
  IF job_keys IS NOT NULL THEN
    held := ARRAY(SELECT holder.key FROM graphile_worker._private_jobs AS holder
                   WHERE holder.key = ANY (job_keys) ORDER BY holder.id FOR UPDATE);
  END IF;

  BEGIN
    INSERT INTO graphile_worker._private_tasks (identifier)
    SELECT DISTINCT given.identifier
      FROM pg_catalog.unnest(identifiers) AS given (identifier)
     WHERE NOT EXISTS (SELECT FROM graphile_worker._private_tasks AS task WHERE task.identifier = given.identifier)
     ORDER BY given.identifier
        ON CONFLICT DO NOTHING;
    INSERT INTO graphile_worker._private_job_queues (queue_name)
    SELECT DISTINCT given.queue_name
      FROM pg_catalog.unnest(queue_names) AS given (queue_name)
     WHERE given.queue_name IS NOT NULL
       AND NOT EXISTS (SELECT FROM graphile_worker._private_job_queues AS lane WHERE lane.queue_name = given.queue_name)
     ORDER BY given.queue_name
        ON CONFLICT DO NOTHING;

    WITH given AS MATERIALIZED (
      SELECT given.*, pg_catalog.row_number() OVER (PARTITION BY given.key ORDER BY given.place) AS turn
        FROM ROWS FROM (
               pg_catalog.unnest(identifiers), pg_catalog.unnest(payloads), pg_catalog.unnest(queue_names),
               pg_catalog.unnest(run_ats), pg_catalog.unnest(max_attempts), pg_catalog.unnest(job_keys),
               pg_catalog.unnest(priorities), pg_catalog.unnest(flags), pg_catalog.unnest(job_key_modes)
             ) WITH ORDINALITY
             AS given (identifier, payload, queue_name, run_at, max_attempts, key, priority, flags, key_mode, place)
    ), resolved AS MATERIALIZED (
      SELECT given.*, task.id AS task_id, lane.id AS lane_id,
             task.id IS NOT NULL AND (given.queue_name IS NULL OR lane.id IS NOT NULL)
               AND (given.key IS NULL
                    OR given.turn = 1 AND pg_catalog.left(given.key, 4) <> 'job-'
                       AND coalesce(given.key_mode, 'replace') IN ('replace', 'preserve_run_at', 'unsafe_dedupe')
                       AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS holder WHERE holder.key = given.key)
                   ) AS at_once
        FROM given
        LEFT JOIN graphile_worker._private_tasks AS task ON task.identifier = given.identifier
        LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.queue_name = given.queue_name
    ), inserted AS (
      INSERT INTO graphile_worker._private_jobs AS job
             (job_queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
      SELECT resolved.lane_id, resolved.task_id, coalesce(resolved.payload, '{}'::pg_catalog.json),
             coalesce(resolved.run_at, pg_catalog.now()), coalesce(resolved.max_attempts, 25), resolved.key,
             coalesce(resolved.priority, 0),
             CASE WHEN resolved.flags IS NOT NULL THEN
               (SELECT pg_catalog.jsonb_object_agg(flag, true)
                  FROM pg_catalog.json_array_elements_text(resolved.flags) AS flag) END
        FROM resolved
       WHERE resolved.at_once
       ORDER BY resolved.key COLLATE pg_catalog."C" NULLS FIRST, resolved.place
          ON CONFLICT (key) DO NOTHING
      RETURNING job.key
    )
    SELECT pg_catalog.count(*),
           ARRAY(SELECT resolved.place
                   FROM resolved
                  WHERE NOT resolved.at_once
                     OR resolved.key IS NOT NULL AND resolved.key NOT IN (
                          SELECT done.key FROM inserted AS done WHERE done.key IS NOT NULL))
      INTO stored, later
      FROM inserted;
    PERFORM slayq._private_announce(stored);
  EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
    later := NULL;  -- all one by one, which says which of them it was
  END;
  IF pg_catalog.cardinality(later) = 0 THEN
    RETURN;
  END IF;

  BEGIN
    FOR event IN
      SELECT given.*
        FROM ROWS FROM (
               pg_catalog.unnest(identifiers), pg_catalog.unnest(payloads), pg_catalog.unnest(queue_names),
               pg_catalog.unnest(run_ats), pg_catalog.unnest(max_attempts), pg_catalog.unnest(job_keys),
               pg_catalog.unnest(priorities), pg_catalog.unnest(flags), pg_catalog.unnest(job_key_modes)
             ) WITH ORDINALITY
             AS given (identifier, payload, queue_name, run_at, max_attempts, key, priority, flags, key_mode, place)
       WHERE later IS NULL OR given.place = ANY (later)
       ORDER BY given.place
    LOOP
      place := event.place;
      PERFORM public.add_worker_job(
        event.identifier, payload => event.payload, queue_name => event.queue_name, run_at => event.run_at,
        max_attempts => event.max_attempts, job_key => event.key, priority => event.priority,
        flags => CASE WHEN event.flags IS NOT NULL THEN
                   ARRAY(SELECT flag FROM pg_catalog.json_array_elements_text(event.flags) AS flag) END,
        job_key_mode => event.key_mode);
    END LOOP;
  EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR SQLSTATE 'GWBKM' THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
      hint = PG_EXCEPTION_HINT, relation = TABLE_NAME, attribute = COLUMN_NAME, violated = CONSTRAINT_NAME;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = pg_catalog.format('event %s of %s: %s', place, total, message),
      DETAIL = detail, HINT = hint, TABLE = relation, COLUMN = attribute, CONSTRAINT = violated;
  END;
END
$$;

-- Nobody's by default. Whoever may add one event may add many.
DO $$
DECLARE
  ours pg_catalog.text := 'FUNCTION public.add_worker_jobs(text[], json[], text[], timestamptz[], integer[], text[], '
                          'integer[], json[], text[])';
  entry pg_catalog.record;
BEGIN
  EXECUTE 'REVOKE ALL ON ' || ours || ' FROM PUBLIC';
  FOR entry IN
    SELECT role.rolname AS name
      FROM pg_catalog.pg_roles AS role
     WHERE role.rolname IN ('anon', 'authenticated', 'service_role')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', ours, entry.name);
  END LOOP;
  FOR entry IN
    SELECT role.rolname AS name, pg_catalog.bool_or(acl.is_grantable) AS grantable
      FROM pg_catalog.pg_proc AS routine
     CROSS JOIN LATERAL pg_catalog.aclexplode(routine.proacl) AS acl
      JOIN pg_catalog.pg_roles AS role ON role.oid = acl.grantee
     WHERE routine.pronamespace = 'public'::pg_catalog.regnamespace AND routine.proname = 'add_worker_job'
       AND acl.privilege_type = 'EXECUTE' AND acl.grantee <> routine.proowner
       AND role.rolname NOT IN ('anon', 'authenticated', CURRENT_USER)
     GROUP BY role.rolname
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO %I%s', ours, entry.name,
                              CASE WHEN entry.grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END LOOP;
END
$$;

-- As in 0010, with one more. (By its signature: others of the name may be somebody's.)
CREATE OR REPLACE FUNCTION slayq._private_grant_execute(grantees text[])
RETURNS TABLE (change text, function_name text, role_name text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  step pg_catalog.record;
BEGIN
  FOR step IN
    WITH ours AS (
      SELECT routine.oid, routine.proname::pg_catalog.text AS name,
             pg_catalog.format('FUNCTION public.%I(%s)', routine.proname,
                               pg_catalog.pg_get_function_identity_arguments(routine.oid)) AS target,
             coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner)) AS acl
        FROM pg_catalog.pg_proc AS routine
       WHERE routine.pronamespace = 'public'::pg_catalog.regnamespace
         AND (routine.proname IN ('add_worker_job', 'wait_for_worker_event', 'wait_for_invocation',
                                  'trigger_waiting_invoker', 'trigger_waiting_workers', 'cancel_pending_tasks')
              OR routine.oid = pg_catalog.to_regprocedure(
                   'public.add_worker_jobs(pg_catalog.text[], pg_catalog.json[], pg_catalog.text[], '
                   'pg_catalog.timestamptz[], pg_catalog.int4[], pg_catalog.text[], pg_catalog.int4[], '
                   'pg_catalog.json[], pg_catalog.text[])'))
    ), held AS (
      SELECT ours.oid, entry.grantee
        FROM ours CROSS JOIN LATERAL pg_catalog.aclexplode(ours.acl) AS entry
       WHERE entry.privilege_type = 'EXECUTE'
    ), roles AS (
      SELECT role.oid, role.rolname::pg_catalog.text AS name, pg_catalog.quote_ident(role.rolname) AS quoted
        FROM pg_catalog.pg_roles AS role
       UNION ALL
      SELECT 0, 'PUBLIC', 'PUBLIC'
    )
    SELECT 'revoked' AS change, ours.name AS function_name, roles.name AS role_name,
           pg_catalog.format('REVOKE ALL ON %s FROM %s', ours.target, roles.quoted) AS statement
      FROM ours JOIN held USING (oid) JOIN roles ON roles.oid = held.grantee
     WHERE roles.oid = 0 OR roles.name IN ('anon', 'authenticated')
     UNION ALL
    SELECT 'granted', ours.name, roles.name, pg_catalog.format('GRANT EXECUTE ON %s TO %s', ours.target, roles.quoted)
      FROM ours CROSS JOIN roles
     WHERE roles.oid <> 0 AND (roles.name = 'service_role' OR roles.name = ANY (grantees))
       AND NOT EXISTS (SELECT FROM held WHERE held.oid = ours.oid AND held.grantee = roles.oid)
  LOOP
    EXECUTE step.statement;
    change := step.change;
    function_name := step.function_name;
    role_name := step.role_name;
    RETURN NEXT;
  END LOOP;
END
$$;
