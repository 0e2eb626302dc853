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

-- Whether a locked job is superseded. Of a job that had no key when it was claimed, the application may have re-added
-- the name that its receiver knows (`job-<id>`): superseding stamps updated_at, which nothing else does to a locked job
-- without a key.
CREATE FUNCTION slayq._private_is_superseded(job graphile_worker._private_jobs) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT job.key IS NULL
         AND (pg_catalog.date_part('microseconds', job.locked_at)::pg_catalog.int8 % 2 = 1
              OR (job.updated_at >= job.locked_at AND job.attempts >= job.max_attempts))
$$;

-- Return what a worker has locked, but for the jobs `kept` and the lanes `kept_lanes`. An attempt that did not come to
-- its end does not count; a superseded job is only unlocked. Returns the jobs.
CREATE FUNCTION slayq._private_return_jobs(worker text, kept bigint[], kept_lanes integer[]) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_by = NULL, locked_at = NULL
   WHERE queue.locked_by = worker AND NOT (queue.id = ANY (kept_lanes));
  WITH abandoned AS MATERIALIZED (
    SELECT job.id
      FROM graphile_worker._private_jobs AS job
     WHERE job.locked_by = worker AND NOT (job.id = ANY (kept))
     ORDER BY job.id
       FOR UPDATE
  )
  UPDATE graphile_worker._private_jobs AS job
     SET attempts = CASE WHEN slayq._private_is_superseded(job) THEN job.attempts
                         ELSE greatest(0, job.attempts - 1) END,
         locked_by = NULL,
         locked_at = NULL
    FROM abandoned
   WHERE job.id = abandoned.id
  RETURNING job.id;
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
