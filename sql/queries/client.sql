-- The statements of slayq_tw.client, for any connection of an application's. A statement that gives jobs selects them
-- whole from one of the schema's functions; the client puts `jobs_as_rows` around it.
--
-- They run in the caller's transaction, under whatever search_path he has, and may change no setting of his: each names
-- everything by its schema, operators and types too. (An OPERATOR(…) binds no closer than any other. `unnest` of several
-- arrays is syntax: it takes no schema, and means Postgres's own.) A function is called with all its arguments, each of
-- its exact type, so that none of the same name fits better.

-- name: jobs_as_rows
-- One row per job of `job`, in plain types. A name is null when this very call created it, since the statement's
-- snapshot is older: `names` finds it then.
SELECT job.id, job.task_id,
       (SELECT task.identifier FROM graphile_worker._private_tasks AS task
         WHERE task.id OPERATOR(pg_catalog.=) job.task_id),
       job.job_queue_id,
       (SELECT queue.queue_name FROM graphile_worker._private_job_queues AS queue
         WHERE queue.id OPERATOR(pg_catalog.=) job.job_queue_id),
       job.payload::pg_catalog.text, job.priority, job.run_at, job.attempts, job.max_attempts, job.last_error,
       job.created_at, job.updated_at, job.key, job.locked_at, job.locked_by, job.revision,
       CASE WHEN job.flags IS NOT NULL THEN ARRAY(SELECT pg_catalog.jsonb_object_keys(job.flags)) END
  FROM job
 WHERE job.id IS NOT NULL;

-- name: names
-- The names of tasks and of serial queues.
SELECT 'task', id, identifier FROM graphile_worker._private_tasks
 WHERE id OPERATOR(pg_catalog.=) ANY (%(tasks)s::integer[])
 UNION ALL
SELECT 'queue', id, queue_name FROM graphile_worker._private_job_queues
 WHERE id OPERATOR(pg_catalog.=) ANY (%(queues)s::integer[]);

-- name: clock
-- The database's time, from which delays count: not the transaction's, which may have begun long ago.
SELECT pg_catalog.clock_timestamp();

-- name: add_job
SELECT *
  FROM graphile_worker.add_job(
         %(identifier)s::pg_catalog.text, payload => %(payload)s::pg_catalog.json,
         queue_name => %(queue_name)s::pg_catalog.text, run_at => %(run_at)s::pg_catalog.timestamptz,
         max_attempts => %(max_attempts)s::integer, job_key => %(key)s::pg_catalog.text,
         priority => %(priority)s::integer, flags => %(flags)s::pg_catalog.text[],
         job_key_mode => %(key_mode)s::pg_catalog.text);

-- name: add_jobs
-- `flags` holds JSON arrays, since an array cannot hold arrays of different lengths.
SELECT *
  FROM graphile_worker.add_jobs(
         ARRAY(
           SELECT ROW(spec.identifier, spec.payload::pg_catalog.json, spec.queue_name, spec.run_at, spec.max_attempts,
                      spec.key, spec.priority,
                      CASE WHEN spec.flags IS NOT NULL
                           THEN ARRAY(SELECT pg_catalog.json_array_elements_text(spec.flags::pg_catalog.json)) END
                     )::graphile_worker.job_spec
             FROM unnest(%(identifiers)s::pg_catalog.text[], %(payloads)s::pg_catalog.text[],
                         %(queue_names)s::pg_catalog.text[], %(run_ats)s::pg_catalog.timestamptz[],
                         %(max_attempts)s::smallint[], %(keys)s::pg_catalog.text[], %(priorities)s::smallint[],
                         %(flags)s::pg_catalog.text[])
                  AS spec (identifier, payload, queue_name, run_at, max_attempts, key, priority, flags)),
         job_key_preserve_run_at => %(preserve_run_at)s::boolean);

-- name: send_events
-- One after the other, in the order given.
SELECT public.add_worker_job(
         event.identifier, payload => event.payload::pg_catalog.json, queue_name => event.queue_name,
         run_at => event.run_at, max_attempts => event.max_attempts, job_key => event.key, priority => event.priority,
         flags => CASE WHEN event.flags IS NOT NULL
                       THEN ARRAY(SELECT pg_catalog.json_array_elements_text(event.flags::pg_catalog.json)) END,
         job_key_mode => event.key_mode)
  FROM (SELECT *
          FROM unnest(%(identifiers)s::pg_catalog.text[], %(payloads)s::pg_catalog.text[],
                      %(queue_names)s::pg_catalog.text[], %(run_ats)s::pg_catalog.timestamptz[],
                      %(max_attempts)s::integer[], %(keys)s::pg_catalog.text[], %(priorities)s::integer[],
                      %(flags)s::pg_catalog.text[], %(key_modes)s::pg_catalog.text[]) WITH ORDINALITY
               AS given (identifier, payload, queue_name, run_at, max_attempts, key, priority, flags, key_mode, place)
         ORDER BY place) AS event;

-- name: sends_in_bulk
-- Whether this role may send many events at once: a daemon that is older has not made the function.
SELECT coalesce(
         pg_catalog.has_function_privilege(
           pg_catalog.to_regprocedure(
             'public.add_worker_jobs(pg_catalog.text[], pg_catalog.json[], pg_catalog.text[], pg_catalog.timestamptz[], '
             'pg_catalog.int4[], pg_catalog.text[], pg_catalog.int4[], pg_catalog.json[], pg_catalog.text[])'),
           'EXECUTE'),
         false);

-- name: send_in_bulk
SELECT public.add_worker_jobs(
         %(identifiers)s::pg_catalog.text[], payloads => %(payloads)s::pg_catalog.text[]::pg_catalog.json[],
         queue_names => %(queue_names)s::pg_catalog.text[], run_ats => %(run_ats)s::pg_catalog.timestamptz[],
         max_attempts => %(max_attempts)s::pg_catalog.int4[], job_keys => %(keys)s::pg_catalog.text[],
         priorities => %(priorities)s::pg_catalog.int4[], flags => %(flags)s::pg_catalog.text[]::pg_catalog.json[],
         job_key_modes => %(key_modes)s::pg_catalog.text[]);

-- name: remove_job
SELECT * FROM graphile_worker.remove_job(%(key)s::pg_catalog.text);

-- name: complete_jobs
SELECT * FROM graphile_worker.complete_jobs(%(ids)s::bigint[]);

-- name: permanently_fail_jobs
SELECT * FROM graphile_worker.permanently_fail_jobs(%(ids)s::bigint[], %(error)s::pg_catalog.text);

-- name: reschedule_jobs
SELECT *
  FROM graphile_worker.reschedule_jobs(
         %(ids)s::bigint[], run_at => %(run_at)s::pg_catalog.timestamptz, priority => %(priority)s::integer,
         attempts => %(attempts)s::integer, max_attempts => %(max_attempts)s::integer);

-- name: announce_due
-- Wake workers for those of the jobs that can run now.
SELECT pg_catalog.pg_notify(
         'jobs:insert',
         pg_catalog.json_build_object('r', pg_catalog.random(), 'count', pg_catalog.count(*))::pg_catalog.text)
  FROM graphile_worker._private_jobs
 WHERE id OPERATOR(pg_catalog.=) ANY (%(ids)s::bigint[]) AND is_available
   AND run_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;

-- name: force_unlock_workers
-- Unlock what dead workers hold, wake others for it, and tell how many jobs there were. (They are counted in the
-- statement's snapshot, which is older than what the function does.)
WITH held AS MATERIALIZED (
  SELECT (SELECT pg_catalog.count(*) FROM graphile_worker._private_jobs
           WHERE locked_by OPERATOR(pg_catalog.=) ANY (%(worker_ids)s::pg_catalog.text[])) AS jobs,
         (SELECT pg_catalog.count(*) FROM graphile_worker._private_job_queues
           WHERE locked_by OPERATOR(pg_catalog.=) ANY (%(worker_ids)s::pg_catalog.text[])) AS queues
), unlocked AS MATERIALIZED (
  SELECT graphile_worker.force_unlock_workers(%(worker_ids)s::pg_catalog.text[])
)
SELECT held.jobs,
       CASE WHEN (held.jobs OPERATOR(pg_catalog.+) held.queues) OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.pg_notify(
                   'jobs:insert',
                   pg_catalog.json_build_object(
                     'r', pg_catalog.random(), 'count', greatest(held.jobs, held.queues))::pg_catalog.text) END
  FROM held, unlocked;
