-- add_worker_job stores by itself what it can, with a key or without: add_job, which can do more, takes three times as
-- long. What is left to add_job are names that are new, and modes that do not exist.
SET LOCAL search_path = pg_catalog, pg_temp;

-- As in 0015, with the two statements for keys, and with plans that follow no statistics: a session that has made them
-- while the tables were empty would read all of them for each event once they are not.
CREATE OR REPLACE FUNCTION public.add_worker_job(
  identifier text, payload json = NULL, queue_name text = NULL, run_at timestamptz = NULL, max_attempts integer = NULL,
  job_key text = NULL, priority integer = NULL, flags text[] = NULL, job_key_mode text = 'replace'
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  replaces pg_catalog.bool := job_key IS NOT NULL AND coalesce(job_key_mode, 'replace') <> 'unsafe_dedupe';
  preserves pg_catalog.bool := coalesce(job_key_mode = 'preserve_run_at', false);
  due_at pg_catalog.timestamptz := run_at;
  holder pg_catalog.record;
  held_at pg_catalog.timestamptz;
  failed_attempts pg_catalog.int2;
  stored_id pg_catalog.int8;
  stored_revision pg_catalog.int4;
BEGIN
  -- As add_job has it: whoever deletes names that no job uses waits until this job can be seen, and is waited for.
  LOCK TABLE graphile_worker._private_tasks IN ROW EXCLUSIVE MODE;
  IF queue_name IS NOT NULL THEN
    LOCK TABLE graphile_worker._private_job_queues IN ROW EXCLUSIVE MODE;
  END IF;
  IF NOT replaces THEN
    -- Whatever holds the key, running or failed, stays what it is.
    INSERT INTO graphile_worker._private_jobs AS job
           (job_queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
    SELECT lane.id, task.id, coalesce(add_worker_job.payload, '{}'::pg_catalog.json),
           coalesce(add_worker_job.run_at, pg_catalog.now()), coalesce(add_worker_job.max_attempts, 25),
           add_worker_job.job_key, coalesce(add_worker_job.priority, 0),
           CASE WHEN add_worker_job.flags IS NOT NULL THEN
             (SELECT pg_catalog.jsonb_object_agg(flag, true) FROM pg_catalog.unnest(add_worker_job.flags) AS flag) END
      FROM graphile_worker._private_tasks AS task
      LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.queue_name = add_worker_job.queue_name
     WHERE task.identifier = add_worker_job.identifier
       AND (add_worker_job.queue_name IS NULL OR lane.id IS NOT NULL)
        ON CONFLICT (key) DO UPDATE SET revision = job.revision + 1, updated_at = pg_catalog.now()
    RETURNING job.revision INTO stored_revision;
    IF FOUND THEN
      IF stored_revision = 0 THEN
        PERFORM slayq._private_announce(1);
      END IF;
      RETURN;
    END IF;
  END IF;

  -- A worker may take the job under the key between two statements, or somebody delete a name. Each look-up sees what was
  -- committed before it.
  FOR try IN 1..10 LOOP
    held_at := NULL;
    failed_attempts := NULL;
    due_at := run_at;
    IF replaces THEN
      IF pg_catalog.left(job_key, 4) = 'job-' THEN
        PERFORM slayq._private_name_keyless(job_key, identifier, payload);
      END IF;
      SELECT job.id, job.task_id, job.payload, job.attempts, job.locked_at, job.is_available INTO holder
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
          due_at := pg_catalog.now() + pg_catalog.make_interval(secs => pg_catalog.exp(least(failed_attempts, 10)));
        END IF;
      END IF;
      IF preserves OR coalesce(job_key_mode, 'replace') = 'replace' THEN
        -- A job that runs, or has failed for good, gives its key up and will not run again.
        IF NOT holder.is_available THEN
          UPDATE graphile_worker._private_jobs AS job
             SET key = NULL, attempts = job.max_attempts, updated_at = pg_catalog.now()
           WHERE job.id = holder.id;
        END IF;
        INSERT INTO graphile_worker._private_jobs AS job
               (job_queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
        SELECT lane.id, task.id, coalesce(add_worker_job.payload, '{}'::pg_catalog.json),
               coalesce(due_at, pg_catalog.now()), coalesce(add_worker_job.max_attempts, 25),
               add_worker_job.job_key, coalesce(add_worker_job.priority, 0),
               CASE WHEN add_worker_job.flags IS NOT NULL THEN
                 (SELECT pg_catalog.jsonb_object_agg(flag, true) FROM pg_catalog.unnest(add_worker_job.flags) AS flag) END
          FROM graphile_worker._private_tasks AS task
          LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.queue_name = add_worker_job.queue_name
         WHERE task.identifier = add_worker_job.identifier
           AND (add_worker_job.queue_name IS NULL OR lane.id IS NOT NULL)
            ON CONFLICT (key) DO UPDATE
           SET job_queue_id = excluded.job_queue_id,
               task_id = excluded.task_id,
               payload = CASE WHEN pg_catalog.json_typeof(job.payload) = 'array'
                                   AND pg_catalog.json_typeof(excluded.payload) = 'array'
                              THEN (job.payload::pg_catalog.jsonb || excluded.payload::pg_catalog.jsonb)::pg_catalog.json
                              ELSE excluded.payload END,
               run_at = CASE WHEN preserves AND job.attempts = 0 THEN job.run_at ELSE excluded.run_at END,
               max_attempts = excluded.max_attempts,
               priority = excluded.priority,
               flags = excluded.flags,
               revision = job.revision + 1,
               attempts = 0,
               last_error = NULL,
               updated_at = pg_catalog.now()
         WHERE job.locked_at IS NULL
        RETURNING job.id, job.revision INTO stored_id, stored_revision;
        IF FOUND THEN
          PERFORM slayq._private_announce(1);
          EXIT;
        END IF;
        -- Taken by others meanwhile: the next look-up sees that. (Where the names are known, add_job would do no better.)
        CONTINUE WHEN EXISTS (SELECT FROM graphile_worker._private_tasks AS task
                               WHERE task.identifier = add_worker_job.identifier)
                  AND (queue_name IS NULL
                       OR EXISTS (SELECT FROM graphile_worker._private_job_queues AS lane
                                   WHERE lane.queue_name = add_worker_job.queue_name));
      END IF;
    END IF;
    SELECT stored.id, stored.revision INTO stored_id, stored_revision
      FROM graphile_worker.add_job(
        identifier => identifier, payload => payload, queue_name => queue_name, run_at => due_at,
        max_attempts => max_attempts, job_key => job_key, priority => priority, flags => flags,
        job_key_mode => coalesce(job_key_mode, 'replace')) AS stored;
    EXIT WHEN stored_id IS NOT NULL;
  END LOOP;
  IF stored_id IS NULL THEN
    RAISE EXCEPTION 'Job not stored: others keep taking the key %', job_key USING ERRCODE = 'serialization_failure';
  END IF;

  IF failed_attempts IS NOT NULL THEN
    UPDATE graphile_worker._private_jobs AS job
       SET attempts = failed_attempts,
           last_error = pg_catalog.format('The function failed in the application (attempt %s of %s)', failed_attempts,
                                          job.max_attempts)
     WHERE job.id = stored_id;
  END IF;
  IF replaces AND stored_revision > 0 THEN
    -- Replaced in place: what the job waited for before is nothing to what it is now. While the delivery that added it
    -- still runs, this re-add is its doing too, and counts from the same moment.
    DELETE FROM slayq._private_waiting_on AS wait WHERE wait.job_id = stored_id;
    DELETE FROM slayq._private_invoker AS wait WHERE wait.job_id = stored_id;
    DELETE FROM slayq._private_references AS reference
     WHERE reference.job_id = stored_id
       AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS delivery
                        WHERE delivery.id = reference.delivery_id AND delivery.locked_at = reference.locked_at);
  ELSIF held_at IS NOT NULL THEN
    PERFORM slayq._private_forget(2);
    INSERT INTO slayq._private_references (job_id, delivery_id, locked_at, noted_at)
    VALUES (stored_id, holder.id, held_at, pg_catalog.clock_timestamp());
  END IF;
END
$$;

-- Replaced in place, it keeps the grants that it has.
REVOKE ALL ON FUNCTION public.add_worker_job(text, json, text, timestamptz, integer, text, integer, text[], text)
  FROM PUBLIC;
