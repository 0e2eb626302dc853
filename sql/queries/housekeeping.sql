-- What is cleaned up now and then. Nothing serves these look-ups: an index would cost every claim more than a
-- sequential scan every eight minutes costs. (A million jobs: 0.2 s for a sweep, 0.1 s for each part of a collection.)
-- Batches and SKIP LOCKED keep out of the way of whoever works on the rows.

-- name: sweep
-- Unlock what was locked for four hours: everybody's constant in this schema. What daemons have locked that live is left to
-- them: a delivery may take longer, and the dead ones' jobs are returned much sooner. Attempts stay as they are, so a job whose
-- last attempt crashed has failed for good now: those are returned, because nobody else tells. A cron tick in that
-- state is removed: ticks are not kept.
WITH stale AS MATERIALIZED (
  SELECT job.id,
         job.attempts >= job.max_attempts AS exhausted,
         job.attempts >= job.max_attempts
           AND job.task_id = (SELECT task.id FROM graphile_worker._private_tasks AS task
                               WHERE task.identifier = %(tick)s) AS is_tick
    FROM graphile_worker._private_jobs AS job
   WHERE job.locked_at < now() - interval '4 hours'
     AND NOT EXISTS (SELECT FROM slayq._private_daemons AS daemon WHERE daemon.worker = job.locked_by)
   LIMIT %(batch)s
     FOR UPDATE OF job SKIP LOCKED
), unlocked AS (
  UPDATE graphile_worker._private_jobs AS job
     SET locked_at = NULL, locked_by = NULL, run_at = greatest(job.run_at, now())
   WHERE job.id = ANY (ARRAY(SELECT id FROM stale WHERE is_tick IS NOT TRUE))
  RETURNING job.id
), dropped AS (
  DELETE FROM graphile_worker._private_jobs AS job
   WHERE job.id = ANY (ARRAY(SELECT id FROM stale WHERE is_tick))
  RETURNING job.id
), freed AS (
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_at = NULL, locked_by = NULL
   WHERE queue.id = ANY (ARRAY(SELECT stale_queue.id
                                 FROM graphile_worker._private_job_queues AS stale_queue
                                WHERE stale_queue.locked_at < now() - interval '4 hours'
                                  AND NOT EXISTS (SELECT FROM slayq._private_daemons AS daemon
                                                   WHERE daemon.worker = stale_queue.locked_by)
                                LIMIT %(batch)s
                                  FOR UPDATE SKIP LOCKED))
  RETURNING queue.id
)
SELECT (SELECT count(*) FROM unlocked), (SELECT count(*) FROM freed), (SELECT count(*) FROM dropped),
       ARRAY(SELECT id FROM stale WHERE exhausted AND is_tick IS NOT TRUE ORDER BY id);

-- name: identifiers_of
-- How many of the jobs each task has.
SELECT task.identifier, count(*)
  FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
 WHERE job.id = ANY (%(ids)s::bigint[])
 GROUP BY task.identifier
 ORDER BY task.identifier;

-- name: delete_failed
-- Delete jobs that failed for good a while ago: neither due nor touched since.
WITH old AS MATERIALIZED (
  SELECT job.id
    FROM graphile_worker._private_jobs AS job
   WHERE job.locked_at IS NULL AND job.attempts >= job.max_attempts
     AND greatest(job.run_at, job.updated_at) < now() - %(days)s * interval '1 day'
   LIMIT %(batch)s
     FOR UPDATE SKIP LOCKED
)
DELETE FROM graphile_worker._private_jobs AS job
 WHERE job.id = ANY (ARRAY(SELECT id FROM old))
RETURNING job.id;

-- name: idle_queues
-- (Here and below, what is in use is gathered first, in one pass over the jobs: the planner would rather make one pass
-- for each name when there are few of them.)
WITH used AS MATERIALIZED (
  SELECT DISTINCT job_queue_id AS id FROM graphile_worker._private_jobs WHERE job_queue_id IS NOT NULL
)
SELECT queue.id
  FROM graphile_worker._private_job_queues AS queue
 WHERE queue.is_available = true AND NOT EXISTS (SELECT FROM used WHERE used.id = queue.id)
 ORDER BY queue.id
 LIMIT %(batch)s;

-- name: shut_out_queue_users
-- Whoever adds a job to a serial queue inserts the queue's name if it is missing, and so holds ROW EXCLUSIVE on the
-- table until it commits. With this lock, every such job is visible, and the next one finds the name gone.
SET LOCAL lock_timeout = '100ms';
LOCK TABLE graphile_worker._private_job_queues IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_queues
WITH used AS MATERIALIZED (
  SELECT DISTINCT job_queue_id AS id
    FROM graphile_worker._private_jobs
   WHERE job_queue_id = ANY (%(ids)s::integer[])
)
DELETE FROM graphile_worker._private_job_queues AS queue
 WHERE queue.id = ANY (%(ids)s::integer[]) AND queue.is_available = true
   AND NOT EXISTS (SELECT FROM used WHERE used.id = queue.id)
RETURNING queue.id;

-- name: recover_queues
-- Jobs whose queue was deleted under them would never run: they get a queue again, one for each that is gone. Its
-- name is lost with it.
WITH used AS MATERIALIZED (
  SELECT DISTINCT job_queue_id AS id FROM graphile_worker._private_jobs WHERE job_queue_id IS NOT NULL
)
INSERT INTO graphile_worker._private_job_queues (id, queue_name) OVERRIDING SYSTEM VALUE
SELECT used.id, 'slayq-recovered-' || used.id
  FROM used
 WHERE NOT EXISTS (SELECT FROM graphile_worker._private_job_queues AS queue WHERE queue.id = used.id)
    ON CONFLICT DO NOTHING
RETURNING queue_name;

-- name: idle_tasks
WITH used AS MATERIALIZED (
  SELECT DISTINCT task_id AS id FROM graphile_worker._private_jobs
)
SELECT task.id
  FROM graphile_worker._private_tasks AS task
 WHERE NOT (task.identifier = ANY (%(keep)s::text[]))
   AND NOT EXISTS (SELECT FROM graphile_worker._private_known_crontabs AS crontab
                    WHERE crontab.identifier = task.identifier)
   AND NOT EXISTS (SELECT FROM used WHERE used.id = task.id)
 ORDER BY task.id
 LIMIT %(batch)s;

-- name: shut_out_task_users
-- As for queues.
SET LOCAL lock_timeout = '100ms';
LOCK TABLE graphile_worker._private_tasks IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_tasks
WITH used AS MATERIALIZED (
  SELECT DISTINCT task_id AS id FROM graphile_worker._private_jobs WHERE task_id = ANY (%(ids)s::integer[])
)
DELETE FROM graphile_worker._private_tasks AS task
 WHERE task.id = ANY (%(ids)s::integer[]) AND NOT EXISTS (SELECT FROM used WHERE used.id = task.id)
RETURNING task.identifier;
