-- The seven functions, at revision 20. They run with their caller's rights and path, so their bodies name everything by
-- its schema, operators and types too; an OPERATOR(…) binds no closer than any other, hence the parentheses. (Text is
-- joined with text only: until 13, Postgres's own operator for anything else is a function that leaves names to the path.)

CREATE OR REPLACE FUNCTION graphile_worker.add_jobs(
  specs graphile_worker.job_spec[], job_key_preserve_run_at boolean DEFAULT false
) RETURNS SETOF graphile_worker._private_jobs LANGUAGE plpgsql AS $$
DECLARE
  pending graphile_worker.job_spec[] := specs;
  missed graphile_worker.job_spec[];
  stored graphile_worker._private_jobs[];
BEGIN
  -- The random number keeps equal notices of one transaction apart. Without specs the payload is null, that is, empty.
  PERFORM pg_catalog.pg_notify(
    'jobs:insert',
    '{"r":' OPERATOR(pg_catalog.||) pg_catalog.random()::pg_catalog.text OPERATOR(pg_catalog.||) ',"count":'
      OPERATOR(pg_catalog.||) pg_catalog.array_length(specs, 1)::pg_catalog.text OPERATOR(pg_catalog.||) '}');

  -- What happens elsewhere between two statements would lose a request: a worker locks the job with its key, so that the
  -- upsert skips it, or a clean-up deletes its task or queue. Requests that brought no row go round again. A trigger of
  -- somebody's that suppresses the row does so every time, which is why this ends.
  FOR round IN 1 .. 100 LOOP
    -- Only what is missing is inserted: an attempt that conflicts would use up an identity value.
    INSERT INTO graphile_worker._private_tasks (identifier)
    SELECT DISTINCT spec.identifier
      FROM pg_catalog.unnest(pending) AS spec
     WHERE NOT EXISTS (SELECT FROM graphile_worker._private_tasks AS task
                        WHERE task.identifier OPERATOR(pg_catalog.=) spec.identifier)
        ON CONFLICT DO NOTHING;

    INSERT INTO graphile_worker._private_job_queues (queue_name)
    SELECT DISTINCT spec.queue_name
      FROM pg_catalog.unnest(pending) AS spec
     WHERE spec.queue_name IS NOT NULL
       AND NOT EXISTS (SELECT FROM graphile_worker._private_job_queues AS queue
                        WHERE queue.queue_name OPERATOR(pg_catalog.=) spec.queue_name)
        ON CONFLICT DO NOTHING;

    -- A job that runs, or has failed for good, gives its key up and will not run again. (Without a key nobody is asked: a
    -- session that made its plan while the table was empty would read all of it for each job.)
    IF EXISTS (SELECT FROM pg_catalog.unnest(pending) AS spec WHERE spec.job_key IS NOT NULL) THEN
      UPDATE graphile_worker._private_jobs AS job
         SET key = NULL, attempts = job.max_attempts, updated_at = pg_catalog.now()
        FROM pg_catalog.unnest(pending) AS spec
       WHERE spec.job_key IS NOT NULL AND job.key OPERATOR(pg_catalog.=) spec.job_key AND job.is_available IS NOT TRUE;
    END IF;

    WITH resolved AS (
      SELECT spec, task.id AS task_id, queue.id AS queue_id,
             task.id IS NOT NULL AND (spec.queue_name IS NULL OR queue.id IS NOT NULL) AS known
        FROM pg_catalog.unnest(pending) AS spec
        LEFT JOIN graphile_worker._private_tasks AS task ON task.identifier OPERATOR(pg_catalog.=) spec.identifier
        LEFT JOIN graphile_worker._private_job_queues AS queue
               ON queue.queue_name OPERATOR(pg_catalog.=) spec.queue_name
    ), upserted AS (
      INSERT INTO graphile_worker._private_jobs AS job
             (job_queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
      SELECT queue_id, task_id, coalesce((spec).payload, '{}'::pg_catalog.json), coalesce((spec).run_at, pg_catalog.now()),
             coalesce((spec).max_attempts, 25::smallint), (spec).job_key, coalesce((spec).priority, 0::smallint),
             (SELECT pg_catalog.jsonb_object_agg(flag, true) FROM pg_catalog.unnest((spec).flags) AS flag)
        FROM resolved
       WHERE known
          ON CONFLICT (key) DO UPDATE
         SET job_queue_id = excluded.job_queue_id,
             task_id = excluded.task_id,
             payload = CASE WHEN pg_catalog.json_typeof(job.payload) OPERATOR(pg_catalog.=) 'array'
                             AND pg_catalog.json_typeof(excluded.payload) OPERATOR(pg_catalog.=) 'array'
                            THEN (job.payload::pg_catalog.jsonb OPERATOR(pg_catalog.||)
                                  excluded.payload::pg_catalog.jsonb)::pg_catalog.json
                            ELSE excluded.payload END,
             run_at = CASE WHEN job_key_preserve_run_at AND job.attempts OPERATOR(pg_catalog.=) 0
                           THEN job.run_at ELSE excluded.run_at END,
             max_attempts = excluded.max_attempts,
             priority = excluded.priority,
             flags = excluded.flags,
             revision = job.revision OPERATOR(pg_catalog.+) 1,
             attempts = 0,
             last_error = NULL,
             updated_at = pg_catalog.now()
       WHERE job.locked_at IS NULL
      RETURNING job AS row
    )
    SELECT pg_catalog.array_agg(upserted.row),
           CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.<) pg_catalog.cardinality(pending) THEN
             ARRAY(SELECT spec
                     FROM resolved
                    WHERE NOT known
                       OR (spec).job_key IS NOT NULL
                          AND NOT EXISTS (SELECT FROM upserted AS done
                                           WHERE (done.row).key OPERATOR(pg_catalog.=) (spec).job_key))
           END
      INTO stored, missed
      FROM upserted;
    RETURN QUERY SELECT * FROM pg_catalog.unnest(stored);
    EXIT WHEN coalesce(pg_catalog.cardinality(missed), 0) OPERATOR(pg_catalog.=) 0;
    pending := missed;
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION graphile_worker.add_job(
  identifier text, payload json DEFAULT NULL, queue_name text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
  max_attempts integer DEFAULT NULL, job_key text DEFAULT NULL, priority integer DEFAULT NULL,
  flags text[] DEFAULT NULL, job_key_mode text DEFAULT 'replace'
) RETURNS graphile_worker._private_jobs LANGUAGE plpgsql AS $$
DECLARE
  stored graphile_worker._private_jobs;
BEGIN
  IF job_key IS NULL OR job_key_mode IS NULL
     OR job_key_mode OPERATOR(pg_catalog.=) ANY (ARRAY['replace', 'preserve_run_at']) THEN
    SELECT * INTO stored
      FROM graphile_worker.add_jobs(
             ARRAY[(identifier, payload, queue_name, run_at, max_attempts::smallint, job_key, priority::smallint,
                    flags)::graphile_worker.job_spec],
             job_key_mode OPERATOR(pg_catalog.=) 'preserve_run_at')
     LIMIT 1;
    RETURN stored;
  END IF;
  IF job_key_mode OPERATOR(pg_catalog.<>) 'unsafe_dedupe' THEN
    RAISE EXCEPTION 'Invalid job_key_mode value, expected ''replace'', ''preserve_run_at'' or ''unsafe_dedupe''.'
      USING ERRCODE = 'GWBKM';
  END IF;

  FOR round IN 1 .. 100 LOOP  -- for what is deleted between two statements, as in add_jobs
    INSERT INTO graphile_worker._private_tasks (identifier)
    SELECT add_job.identifier
     WHERE NOT EXISTS (SELECT FROM graphile_worker._private_tasks AS task
                        WHERE task.identifier OPERATOR(pg_catalog.=) add_job.identifier)
        ON CONFLICT DO NOTHING;
    INSERT INTO graphile_worker._private_job_queues (queue_name)
    SELECT add_job.queue_name
     WHERE add_job.queue_name IS NOT NULL
       AND NOT EXISTS (SELECT FROM graphile_worker._private_job_queues AS queue
                        WHERE queue.queue_name OPERATOR(pg_catalog.=) add_job.queue_name)
        ON CONFLICT DO NOTHING;
    -- Whatever holds the key, running or failed, stays what it is.
    INSERT INTO graphile_worker._private_jobs AS job
           (job_queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
    SELECT queue.id, task.id, coalesce(add_job.payload, '{}'::pg_catalog.json), coalesce(add_job.run_at, pg_catalog.now()),
           coalesce(add_job.max_attempts::smallint, 25::smallint), add_job.job_key,
           coalesce(add_job.priority::smallint, 0::smallint),
           (SELECT pg_catalog.jsonb_object_agg(flag, true) FROM pg_catalog.unnest(add_job.flags) AS flag)
      FROM graphile_worker._private_tasks AS task
      LEFT JOIN graphile_worker._private_job_queues AS queue
             ON queue.queue_name OPERATOR(pg_catalog.=) add_job.queue_name
     WHERE task.identifier OPERATOR(pg_catalog.=) add_job.identifier
       AND (add_job.queue_name IS NULL OR queue.id IS NOT NULL)
        ON CONFLICT (key) DO UPDATE SET revision = job.revision OPERATOR(pg_catalog.+) 1, updated_at = pg_catalog.now()
    RETURNING * INTO stored;
    EXIT WHEN FOUND;
  END LOOP;
  IF stored.revision OPERATOR(pg_catalog.=) 0 THEN
    PERFORM pg_catalog.pg_notify(
      'jobs:insert',
      '{"r":' OPERATOR(pg_catalog.||) pg_catalog.random()::pg_catalog.text OPERATOR(pg_catalog.||) ',"count":1}');
  END IF;
  RETURN stored;
END
$$;

CREATE OR REPLACE FUNCTION graphile_worker.remove_job(job_key text)
RETURNS graphile_worker._private_jobs LANGUAGE plpgsql STRICT AS $$
DECLARE
  removed graphile_worker._private_jobs;
BEGIN
  DELETE FROM graphile_worker._private_jobs AS job
   WHERE job.key OPERATOR(pg_catalog.=) job_key
     AND (job.locked_at IS NULL
        OR job.locked_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '4 hours'))
  RETURNING * INTO removed;
  IF FOUND THEN
    PERFORM pg_catalog.pg_notify(
      'jobs:insert',
      '{"r":' OPERATOR(pg_catalog.||) pg_catalog.random()::pg_catalog.text OPERATOR(pg_catalog.||) ',"count":-1}');
    RETURN removed;
  END IF;
  -- It runs: it will not be tried again.
  UPDATE graphile_worker._private_jobs AS job
     SET key = NULL, attempts = job.max_attempts, updated_at = pg_catalog.now()
   WHERE job.key OPERATOR(pg_catalog.=) job_key
  RETURNING * INTO removed;
  RETURN removed;
END
$$;

-- The administrative functions leave alone what was locked within the last four hours.

CREATE OR REPLACE FUNCTION graphile_worker.complete_jobs(job_ids bigint[])
RETURNS SETOF graphile_worker._private_jobs LANGUAGE sql AS $$
  DELETE FROM graphile_worker._private_jobs AS job
   WHERE job.id OPERATOR(pg_catalog.=) ANY (job_ids)
     AND (job.locked_at IS NULL
        OR job.locked_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '4 hours'))
  RETURNING *;
$$;

CREATE OR REPLACE FUNCTION graphile_worker.permanently_fail_jobs(job_ids bigint[], error_message text DEFAULT NULL)
RETURNS SETOF graphile_worker._private_jobs LANGUAGE sql AS $$
  UPDATE graphile_worker._private_jobs AS job
     SET last_error = coalesce(error_message, 'Manually marked as failed'),
         attempts = job.max_attempts,
         updated_at = pg_catalog.now()
   WHERE job.id OPERATOR(pg_catalog.=) ANY (job_ids)
     AND (job.locked_at IS NULL
        OR job.locked_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '4 hours'))
  RETURNING *;
$$;

CREATE OR REPLACE FUNCTION graphile_worker.reschedule_jobs(
  job_ids bigint[], run_at timestamptz DEFAULT NULL, priority integer DEFAULT NULL, attempts integer DEFAULT NULL,
  max_attempts integer DEFAULT NULL
) RETURNS SETOF graphile_worker._private_jobs LANGUAGE sql AS $$
  UPDATE graphile_worker._private_jobs AS job
     SET run_at = coalesce(reschedule_jobs.run_at, job.run_at),
         priority = coalesce(reschedule_jobs.priority::smallint, job.priority),
         attempts = coalesce(reschedule_jobs.attempts::smallint, job.attempts),
         max_attempts = coalesce(reschedule_jobs.max_attempts::smallint, job.max_attempts),
         updated_at = pg_catalog.now()
   WHERE job.id OPERATOR(pg_catalog.=) ANY (job_ids)
     AND (job.locked_at IS NULL
        OR job.locked_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '4 hours'))
  RETURNING *;
$$;

CREATE OR REPLACE FUNCTION graphile_worker.force_unlock_workers(worker_ids text[])
RETURNS void LANGUAGE sql AS $$
  UPDATE graphile_worker._private_jobs AS job
     SET locked_at = NULL, locked_by = NULL
   WHERE job.locked_by OPERATOR(pg_catalog.=) ANY (worker_ids);
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_at = NULL, locked_by = NULL
   WHERE queue.locked_by OPERATOR(pg_catalog.=) ANY (worker_ids);
$$;
