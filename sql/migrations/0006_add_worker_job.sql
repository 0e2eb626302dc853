-- add_worker_job: how an application adds and re-adds a job.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The keyless job that a re-add under `job-<id>` means is given that key, so that the re-add replaces it by the rules
-- for keys. It is meant when it ran, is the same function's, and the call brings a step cache as every re-add does:
-- an application whose own keys look like this must not lose another job.
CREATE FUNCTION slayq._private_name_keyless(job_key text, identifier text, payload json) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF job_key !~ '^job-[1-9][0-9]{0,17}$'
     OR pg_catalog.json_typeof(slayq._private_member(payload, 'cache')) IS DISTINCT FROM 'object' THEN
    RETURN;
  END IF;
  UPDATE graphile_worker._private_jobs AS job
     SET key = job_key
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

SELECT slayq._private_make_room('add_worker_job',
  'identifier text, payload json DEFAULT NULL::json, queue_name text DEFAULT NULL::text, '
  'run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT NULL::integer, '
  'job_key text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, flags text[] DEFAULT NULL::text[], '
  'job_key_mode text DEFAULT ''replace''::text');

CREATE OR REPLACE FUNCTION public.add_worker_job(
  identifier text, payload json = NULL, queue_name text = NULL, run_at timestamptz = NULL, max_attempts integer = NULL,
  job_key text = NULL, priority integer = NULL, flags text[] = NULL, job_key_mode text = 'replace'
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  replaces pg_catalog.bool := job_key IS NOT NULL AND coalesce(job_key_mode, 'replace') <> 'unsafe_dedupe';
  holder pg_catalog.record;
  held_at pg_catalog.timestamptz;
  failed_attempts pg_catalog.int2;
  stored graphile_worker._private_jobs;
BEGIN
  -- add_job answers with nulls when a worker took the job under the key while the call was on its way. Locking the
  -- holder first leaves that to calls that race for a new key. Each look-up sees what was committed before it.
  FOR try IN 1..10 LOOP
    held_at := NULL;
    failed_attempts := NULL;
    IF replaces THEN
      IF pg_catalog.left(job_key, 4) = 'job-' THEN
        PERFORM slayq._private_name_keyless(job_key, identifier, payload);
      END IF;
      SELECT job.id, job.task_id, job.payload, job.attempts, job.locked_at INTO holder
        FROM graphile_worker._private_jobs AS job
       WHERE job.key = add_worker_job.job_key
         FOR UPDATE;
      IF FOUND THEN
        held_at := holder.locked_at;
        -- A function that threw is re-added by the client with its step cache and without a time: it is the next
        -- attempt of the same job. (A step that sleeps or waits says when it goes on.)
        IF holder.attempts > 0 AND run_at IS NULL AND coalesce(job_key_mode, 'replace') = 'replace'
           AND pg_catalog.json_typeof(slayq._private_member(payload, 'cache')) = 'object'
           AND slayq._private_text(slayq._private_member(payload, 'event'))
               = slayq._private_text(slayq._private_member(holder.payload, 'event'))
           AND EXISTS (SELECT FROM graphile_worker._private_tasks AS task
                        WHERE task.id = holder.task_id AND task.identifier = add_worker_job.identifier) THEN
          failed_attempts := holder.attempts;
        END IF;
      END IF;
    END IF;
    stored := graphile_worker.add_job(
      identifier => identifier, payload => payload, queue_name => queue_name,
      run_at => CASE WHEN failed_attempts IS NULL THEN run_at ELSE
        pg_catalog.now() + pg_catalog.make_interval(secs => pg_catalog.exp(least(failed_attempts, 10))) END,
      max_attempts => max_attempts, job_key => job_key, priority => priority, flags => flags,
      job_key_mode => coalesce(job_key_mode, 'replace'));
    EXIT WHEN stored.id IS NOT NULL;
  END LOOP;
  IF stored.id IS NULL THEN
    RAISE EXCEPTION 'Job not stored: others keep taking the key %', job_key USING ERRCODE = 'serialization_failure';
  END IF;

  IF failed_attempts IS NOT NULL THEN
    UPDATE graphile_worker._private_jobs AS job
       SET attempts = failed_attempts,
           last_error = pg_catalog.format('The function failed in the application (attempt %s of %s)', failed_attempts,
                                          job.max_attempts)
     WHERE job.id = stored.id;
  END IF;
  IF replaces AND stored.revision > 0 THEN
    -- Replaced in place: what the job waited for before is nothing to what it is now. While the delivery that added it
    -- still runs, this re-add is its doing too, and counts from the same moment.
    DELETE FROM slayq._private_waiting_on AS wait WHERE wait.job_id = stored.id;
    DELETE FROM slayq._private_invoker AS wait WHERE wait.job_id = stored.id;
    DELETE FROM slayq._private_references AS reference
     WHERE reference.job_id = stored.id
       AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS delivery
                        WHERE delivery.id = reference.delivery_id AND delivery.locked_at = reference.locked_at);
  ELSIF held_at IS NOT NULL THEN
    PERFORM slayq._private_forget(2);
    INSERT INTO slayq._private_references (job_id, delivery_id, locked_at, noted_at)
    VALUES (stored.id, holder.id, held_at, pg_catalog.clock_timestamp());
  END IF;
END
$$;

SELECT slayq._private_secure('add_worker_job');
