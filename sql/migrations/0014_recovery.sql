-- What makes recovery exact: no lock without a daemon's row, a return of jobs that knows claims and not just jobs, and a
-- superseded job that is known without comparing stamps, which a clock that was set may have put in any order.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Claim jobs as slayq._private_claim_jobs does, for a daemon that has its row. Recovery takes the row, and then returns
-- what the daemon has locked: a claim that came later, from a daemon that was only cut off or by a statement that was
-- long on its way, would be found by nobody. So the claim holds on to the row until it is committed, after it has taken
-- jobs: either recovery waits for it and sees them, or the claim sees that the row is gone, and takes nothing. A beat does
-- not mind a key-share lock. A claim that finds nothing writes nothing, and takes none.
CREATE FUNCTION slayq._private_claim_jobs_of_daemon(
  tasks integer[], groups integer[], limits integer[], worker text, max_bytes bigint, max_payload bigint)
RETURNS TABLE (id bigint, task_id integer, payload text, attempts smallint, max_attempts smallint, key text,
               priority smallint, run_at timestamptz, job_queue_id integer, locked_at timestamptz, revision integer)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT job.*
    FROM slayq._private_claim_jobs(tasks, groups, limits, _private_claim_jobs_of_daemon.worker, max_bytes,
                                   max_payload) AS job;
  IF FOUND THEN
    PERFORM FROM slayq._private_daemons AS daemon
      WHERE daemon.worker = _private_claim_jobs_of_daemon.worker AND daemon.beat >= 0
        FOR KEY SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'Nothing claimed: % is no living daemon', _private_claim_jobs_of_daemon.worker
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
  END IF;
END
$$;

-- Return what a worker has locked, but for the claims that it still works on: jobs `ids`, each as it was `claimed` and
-- with the lane that is locked for it. An attempt that did not come to its end does not count; a superseded job is only
-- unlocked, and a superseded cron tick removed, for ticks are not kept. A job whose row some transaction has locked is
-- left, with its lane: nobody waits for that, which may take long. Returns the jobs, and of each whether it was returned.
DROP FUNCTION slayq._private_return_jobs(text, bigint[], integer[]);

CREATE FUNCTION slayq._private_return_jobs(worker text, ids bigint[], claimed timestamptz[], lanes integer[])
RETURNS TABLE (id bigint, returned boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH held AS MATERIALIZED (
    SELECT held.job_id, held.lane, held.locked_at
      FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(lanes), pg_catalog.unnest(claimed))
           AS held (job_id, lane, locked_at)
  ), its AS MATERIALIZED (
    SELECT job.id, job.job_queue_id
      FROM graphile_worker._private_jobs AS job
     WHERE job.locked_by = worker
       AND NOT EXISTS (SELECT FROM held WHERE held.job_id = job.id AND held.locked_at = job.locked_at)
  ), free AS MATERIALIZED (
    SELECT job.id, slayq._private_is_superseded(job) AS superseded,
           slayq._private_is_superseded(job) AND EXISTS (
             SELECT FROM graphile_worker._private_tasks AS task
              WHERE task.id = job.task_id AND task.identifier = 'cronQueue') AS dropped
      FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(SELECT its.id FROM its)) AND job.locked_by = worker
     ORDER BY job.id
       FOR UPDATE OF job SKIP LOCKED
  ), removed AS (
    DELETE FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(SELECT free.id FROM free WHERE free.dropped))
  ), unlocked AS (
    UPDATE graphile_worker._private_jobs AS job
       SET attempts = CASE WHEN free.superseded THEN job.attempts ELSE greatest(0, job.attempts - 1) END,
           locked_by = NULL,
           locked_at = NULL
      FROM free
     WHERE job.id = ANY (ARRAY(SELECT free.id FROM free)) AND job.id = free.id AND NOT free.dropped
  ), freed AS (
    UPDATE graphile_worker._private_job_queues AS queue
       SET locked_by = NULL, locked_at = NULL
     WHERE queue.locked_by = worker
       AND NOT EXISTS (SELECT FROM held WHERE held.lane = queue.id AND held.locked_at = queue.locked_at)
       AND NOT EXISTS (SELECT FROM its WHERE its.job_queue_id = queue.id AND its.id NOT IN (SELECT free.id FROM free))
  )
  SELECT its.id, free.id IS NOT NULL
    FROM its LEFT JOIN free ON free.id = its.id
   WHERE free.dropped IS NOT TRUE;
END
$$;

-- What stands in `last_error` of a job without a key whose name, `job-<id>`, was added again while it was locked. It names
-- that delivery: whoever revives the job has it delivered anew.
CREATE FUNCTION slayq._private_superseded_note(job graphile_worker._private_jobs) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_catalog.format('Added again as job-%s during the delivery that was claimed at %s', job.id,
                           pg_catalog.to_char(job.locked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;

-- As in 0006, with the note.
CREATE OR REPLACE FUNCTION slayq._private_name_keyless(job_key text, identifier text, payload json) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF job_key !~ '^job-[1-9][0-9]{0,17}$'
     OR pg_catalog.json_typeof(slayq._private_member(payload, 'cache')) IS DISTINCT FROM 'object' THEN
    RETURN;
  END IF;
  UPDATE graphile_worker._private_jobs AS job
     SET key = job_key,
         last_error = CASE WHEN job.locked_at IS NULL THEN job.last_error ELSE slayq._private_superseded_note(job) END
    FROM graphile_worker._private_tasks AS task
   WHERE job.id = pg_catalog.substr(job_key, 5)::pg_catalog.int8 AND job.key IS NULL AND job.attempts > 0
     AND task.id = job.task_id AND task.identifier = _private_name_keyless.identifier
     AND slayq._private_text(slayq._private_member(job.payload, 'event'))
         = slayq._private_text(slayq._private_member(_private_name_keyless.payload, 'event'))
     AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS holder WHERE holder.key = job_key);
EXCEPTION WHEN unique_violation THEN
  NULL;  -- somebody else has just stored a job under it, which this call then replaces
END
$$;

-- Whether a locked job is superseded: it had a key when it was claimed, which the claim says, or was given its name since,
-- which the note says.
CREATE OR REPLACE FUNCTION slayq._private_is_superseded(job graphile_worker._private_jobs) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN job.key IS NOT NULL THEN false
              WHEN pg_catalog.date_part('microseconds', job.locked_at)::pg_catalog.int8 % 2 = 1 THEN true
              WHEN job.attempts < job.max_attempts OR job.last_error IS NULL THEN false
              ELSE job.last_error = slayq._private_superseded_note(job) END
$$;

SELECT slayq._private_shut_out();
