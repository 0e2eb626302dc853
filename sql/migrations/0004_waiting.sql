-- What waits and triggers are made of. All of it runs inside the functions in public, under their path and their
-- owner's rights.
--
-- Locks are taken in one order, here and in every statement of the daemon's: the advisory lock of a triple or target,
-- then jobs by id, then what hangs on a job (its waits, which its deletion cascades to).
SET LOCAL search_path = pg_catalog, pg_temp;

-- Since when fired events and results are remembered.
CREATE FUNCTION slayq._private_memory_start() RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
  SELECT pg_catalog.clock_timestamp() - setting.value
    FROM slayq._private_settings AS setting
   WHERE setting.name = 'memory'
$$;

-- Remember for at least that many seconds. The daemon says so at its start when its deliveries may take longer. Only
-- ever longer, because other daemons on this database may have slower receivers.
CREATE FUNCTION slayq._private_remember_for(seconds double precision) RETURNS void
LANGUAGE sql VOLATILE AS $$
  UPDATE slayq._private_settings AS setting
     SET value = pg_catalog.make_interval(secs => seconds)
   WHERE setting.name = 'memory' AND setting.value < pg_catalog.make_interval(secs => seconds)
$$;

-- Remove at most that many of each: memories that are over, and expired waits. Every call that adds a row removes two,
-- so the tables stay bounded whoever serves the database. Nothing here waits for another transaction. A wait is left
-- to its job while that is locked: soon the job's deletion takes it along, and would have to wait for our commit. The
-- job is locked for the same reason: so that nobody takes it and is done with it before we are. (Ids and row addresses
-- go from one statement into the next as arrays, which keeps each on its index whatever the statistics.)
CREATE FUNCTION slayq._private_forget(at_most integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  memory_start pg_catalog.timestamptz := slayq._private_memory_start();
  moment pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  expired_jobs pg_catalog.int8[];
BEGIN
  DELETE FROM slayq._private_fired AS old
   WHERE old.ctid = ANY (ARRAY(
           SELECT fired.ctid FROM slayq._private_fired AS fired
            WHERE fired.fired_at < memory_start
            ORDER BY fired.fired_at LIMIT at_most FOR UPDATE SKIP LOCKED));
  DELETE FROM slayq._private_results AS old
   WHERE old.ctid = ANY (ARRAY(
           SELECT result.ctid FROM slayq._private_results AS result
            WHERE result.fired_at < memory_start
            ORDER BY result.fired_at LIMIT at_most FOR UPDATE SKIP LOCKED));
  DELETE FROM slayq._private_references AS old
   WHERE old.ctid = ANY (ARRAY(
           SELECT reference.ctid FROM slayq._private_references AS reference
            WHERE reference.noted_at < memory_start
            ORDER BY reference.noted_at LIMIT at_most FOR UPDATE SKIP LOCKED));
  expired_jobs := ARRAY(
    SELECT wait.job_id FROM slayq._private_waiting_on AS wait
     WHERE wait.expires_at <= moment
     ORDER BY wait.expires_at LIMIT at_most);
  IF pg_catalog.cardinality(expired_jobs) > 0 THEN
    expired_jobs := ARRAY(
      SELECT job.id FROM graphile_worker._private_jobs AS job
       WHERE job.id = ANY (expired_jobs) AND job.locked_at IS NULL
         FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM slayq._private_waiting_on AS wait
     WHERE wait.job_id = ANY (expired_jobs) AND wait.expires_at <= moment;
  END IF;
END
$$;

-- The job that a wait is for, locked until the end of the transaction, and since when an event counts for it: since
-- the delivery began that held the key when the job was added; since its own, when it is locked; since it was added.
-- A key job-<id> may stand for the keyless job of that id while its delivery runs, as it is called there.
CREATE FUNCTION slayq._private_waiter(job_key text, OUT id bigint, OUT counts_from timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  job pg_catalog.record;
BEGIN
  -- Whoever is replacing the job under the key holds its row. Having waited for that, this statement no longer finds
  -- the key in the old row and does not see the new one: the next statement does.
  FOR look IN 1..3 LOOP
    SELECT holder.id, holder.locked_at, holder.updated_at INTO job
      FROM graphile_worker._private_jobs AS holder
     WHERE holder.key = job_key
       FOR NO KEY UPDATE;
    EXIT WHEN FOUND;
  END LOOP;
  IF job.id IS NULL AND job_key ~ '^job-[1-9][0-9]{0,17}$' THEN
    SELECT holder.id, holder.locked_at, holder.updated_at INTO job
      FROM graphile_worker._private_jobs AS holder
     WHERE holder.id = pg_catalog.substr(job_key, 5)::pg_catalog.int8 AND holder.key IS NULL
       AND holder.locked_at IS NOT NULL
       FOR NO KEY UPDATE;
  END IF;
  IF job.id IS NULL THEN
    RAISE EXCEPTION 'Job not found: %', job_key;
  END IF;
  id := job.id;
  counts_from := coalesce(
    (SELECT reference.locked_at FROM slayq._private_references AS reference WHERE reference.job_id = job.id),
    job.locked_at,
    job.updated_at);
END
$$;

-- Give a waiting job what it waited for. It is due now unless a delivery holds it: that one began without the result,
-- so when it fails or ends in a re-add the usual rules decide when the job runs again. Neither updated_at nor revision
-- moves, as with everything that is no re-add. Returns 1 for a job that is due, else 0.
CREATE FUNCTION slayq._private_resume(job_id bigint, step_name text, result json) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  is_due pg_catalog.bool;
BEGIN
  UPDATE graphile_worker._private_jobs AS job
     SET payload = slayq._private_with_step(job.payload, step_name, result),
         run_at = CASE WHEN job.locked_at IS NULL THEN least(job.run_at, pg_catalog.now()) ELSE job.run_at END
   WHERE job.id = job_id
  RETURNING job.is_available INTO is_due;
  RETURN coalesce(is_due::pg_catalog.int4, 0);
END
$$;

-- Wake idle workers, as Graphile Worker announces new jobs. The random number keeps equal notices apart.
CREATE FUNCTION slayq._private_announce(jobs integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF jobs > 0 THEN
    PERFORM pg_catalog.pg_notify('jobs:insert',
                                 pg_catalog.format('{"r":%s,"count":%s}', pg_catalog.random(), jobs));
  END IF;
END
$$;
