-- What makes recovery exact: no lock without a daemon's row, and a return of jobs that knows claims, not just jobs.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Claim jobs as slayq._private_claim_jobs does, for a daemon that has its row. Recovery deletes the row, and then returns
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
      WHERE daemon.worker = _private_claim_jobs_of_daemon.worker
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
-- unlocked, and a superseded cron tick removed, for ticks are not kept. Jobs before lanes, as everybody locks them who
-- waits for locks. Returns the jobs.
DROP FUNCTION slayq._private_return_jobs(text, bigint[], integer[]);

CREATE FUNCTION slayq._private_return_jobs(worker text, ids bigint[], claimed timestamptz[], lanes integer[])
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  WITH held AS MATERIALIZED (
    SELECT id, locked_at FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(claimed)) AS held (id, locked_at)
  ), abandoned AS MATERIALIZED (
    SELECT job.id, slayq._private_is_superseded(job) AS superseded,
           slayq._private_is_superseded(job) AND EXISTS (
             SELECT FROM graphile_worker._private_tasks AS task
              WHERE task.id = job.task_id AND task.identifier = 'cronQueue') AS dropped
      FROM graphile_worker._private_jobs AS job
     WHERE job.locked_by = worker
       AND NOT EXISTS (SELECT FROM held WHERE held.id = job.id AND held.locked_at = job.locked_at)
     ORDER BY job.id
       FOR UPDATE OF job
  ), removed AS (
    DELETE FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(SELECT abandoned.id FROM abandoned WHERE abandoned.dropped))
  )
  UPDATE graphile_worker._private_jobs AS job
     SET attempts = CASE WHEN abandoned.superseded THEN job.attempts ELSE greatest(0, job.attempts - 1) END,
         locked_by = NULL,
         locked_at = NULL
    FROM abandoned
   WHERE job.id = ANY (ARRAY(SELECT abandoned.id FROM abandoned)) AND job.id = abandoned.id AND NOT abandoned.dropped
  RETURNING job.id;

  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_by = NULL, locked_at = NULL
   WHERE queue.locked_by = worker
     AND NOT EXISTS (
           SELECT FROM ROWS FROM (pg_catalog.unnest(lanes), pg_catalog.unnest(claimed)) AS held (id, locked_at)
            WHERE held.id = queue.id AND held.locked_at = queue.locked_at);
END
$$;

SELECT slayq._private_shut_out();
