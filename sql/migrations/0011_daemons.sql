-- The daemons that are alive, and how to tell that one is not.
SET LOCAL search_path = pg_catalog, pg_temp;

-- One row for each daemon. `worker` is what its locks carry. `beat` is counted up by the daemon itself: another one that
-- sees it stand still for long enough, by its own clock, takes it for dead; no time stamp is compared with any clock.
-- `place` and `process` name a process on one running kernel, for a proof that it is gone; NULL proves nothing.
CREATE TABLE slayq._private_daemons (
  worker text PRIMARY KEY,
  beat bigint NOT NULL DEFAULT 0,
  place text,
  process text,
  started_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE slayq._private_daemons ENABLE ROW LEVEL SECURITY;

-- The claim says whether the job had a key: then locked_at is an odd number of microseconds, else an even one. A locked
-- job that had a key and has none is superseded: its successor has the key, and it must not run again. (The lock owner
-- cannot say it, for it is the pool's id, by which operators unlock; and a table of claims would have to be written for
-- every job.)
CREATE FUNCTION slayq._private_claim_stamp(keyed boolean) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_catalog.now()
         + (CASE WHEN keyed THEN 1 ELSE 0 END - pg_catalog.date_part('microseconds', pg_catalog.now())::pg_catalog.int8 % 2)
         * pg_catalog.make_interval(secs => 0.000001)
$$;

-- What stands in `last_error` of a job without a key whose name, `job-<id>`, was added again while it was locked. It names
-- that delivery: whoever revives the job has it delivered anew.
CREATE FUNCTION slayq._private_superseded_note(job graphile_worker._private_jobs) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_catalog.format('Added again as job-%s during the delivery that was claimed at %s', job.id,
                           pg_catalog.to_char(job.locked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;

-- Whether a locked job is superseded: it had a key when it was claimed, which the claim says, or was given its name since,
-- which the note says.
CREATE FUNCTION slayq._private_is_superseded(job graphile_worker._private_jobs) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN job.key IS NOT NULL THEN false
              WHEN pg_catalog.date_part('microseconds', job.locked_at)::pg_catalog.int8 % 2 = 1 THEN true
              WHEN job.attempts < job.max_attempts OR job.last_error IS NULL THEN false
              ELSE job.last_error = slayq._private_superseded_note(job) END
$$;

-- Return what a worker has locked, but for the claims that it still works on: jobs `ids`, each as it was `claimed` and
-- with the lane that is locked for it. An attempt that did not come to its end does not count; a superseded job is only
-- unlocked, and a superseded cron tick removed, for ticks are not kept. A job whose row some transaction has locked is
-- left, with its lane: nobody waits for that, which may take long. Returns the jobs, and of each whether it was returned.
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

-- Nothing of schema slayq is for others: what is made is everybody's by default, on Supabase its roles' by name. What the
-- index on the job table evaluates as whoever adds a job stays open. Each migration that makes something ends with this.
CREATE FUNCTION slayq._private_shut_out() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  grantee pg_catalog.text;
BEGIN
  FOR grantee IN
    SELECT 'PUBLIC'
     UNION ALL
    SELECT pg_catalog.quote_ident(role.rolname)
      FROM pg_catalog.pg_roles AS role
     WHERE role.rolname IN ('anon', 'authenticated', 'service_role')
  LOOP
    EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA slayq FROM ' || grantee;
    EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA slayq FROM ' || grantee;
    EXECUTE 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA slayq FROM ' || grantee;
  END LOOP;
  GRANT EXECUTE ON FUNCTION slayq._private_member(json, text), slayq._private_text(json) TO PUBLIC;
END
$$;

SELECT slayq._private_shut_out();
