-- add_worker_job stores what most calls bring, an event without a key for a function that is known, by itself: add_job,
-- which can do much more, takes three times as long for it.
SET LOCAL search_path = pg_catalog, pg_temp;

-- As in 0006, with the first statement.
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
  IF job_key IS NULL THEN
    -- As add_job has it: whoever deletes names that no job uses waits until this job can be seen, and is waited for.
    LOCK TABLE graphile_worker._private_tasks IN ROW EXCLUSIVE MODE;
    IF queue_name IS NOT NULL THEN
      LOCK TABLE graphile_worker._private_job_queues IN ROW EXCLUSIVE MODE;
    END IF;
    INSERT INTO graphile_worker._private_jobs AS job
           (job_queue_id, task_id, payload, run_at, max_attempts, priority, flags)
    SELECT lane.id, task.id, coalesce(add_worker_job.payload, '{}'::pg_catalog.json),
           coalesce(add_worker_job.run_at, pg_catalog.now()), coalesce(add_worker_job.max_attempts, 25),
           coalesce(add_worker_job.priority, 0),
           CASE WHEN add_worker_job.flags IS NOT NULL THEN
             (SELECT pg_catalog.jsonb_object_agg(flag, true) FROM pg_catalog.unnest(add_worker_job.flags) AS flag) END
      FROM graphile_worker._private_tasks AS task
      LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.queue_name = add_worker_job.queue_name
     WHERE task.identifier = add_worker_job.identifier
       AND (add_worker_job.queue_name IS NULL OR lane.id IS NOT NULL);
    IF FOUND THEN
      PERFORM slayq._private_announce(1);
      RETURN;
    END IF;
  END IF;

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

-- Replaced in place, it keeps the grants that it has.
REVOKE ALL ON FUNCTION public.add_worker_job(text, json, text, timestamptz, integer, text, integer, text[], text)
  FROM PUBLIC;
