-- A keyless job whose name, `job-<id>`, is added again during its delivery says so itself: stamps would not do, which a
-- clock that was set may have put in any order.
SET LOCAL search_path = pg_catalog, pg_temp;

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

SELECT slayq._private_shut_out();
