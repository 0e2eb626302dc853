-- The example application of development mode.

-- name: sleep
-- A step that sleeps: the function's job is added again under its key, due later, with the steps that are done.
SELECT public.add_worker_job(
  identifier => %(queue)s::text, payload => %(payload)s::json, job_key => %(key)s::text,
  run_at => clock_timestamp() + %(seconds)s * interval '1 second');
