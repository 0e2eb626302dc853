-- Waiting for the result of another job, and handing one over.
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT slayq._private_make_room('wait_for_invocation', '_invoker_job_key text, _target_job_key text, _step_name text');

CREATE OR REPLACE FUNCTION public.wait_for_invocation(_invoker_job_key text, _target_job_key text, _step_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target pg_catalog.int8 := slayq._private_target(_target_job_key);
  waiter pg_catalog.record;
  remembered pg_catalog.json;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(target);
  waiter := slayq._private_waiter(_invoker_job_key);
  SELECT last.result INTO remembered
    FROM slayq._private_results AS last
   WHERE last.hash = target AND last.job_key = _target_job_key
     AND last.fired_at >= greatest(waiter.counts_from, slayq._private_memory_start());
  IF FOUND THEN
    PERFORM slayq._private_announce(slayq._private_resume(waiter.id, _step_name, remembered));
    RETURN;
  END IF;
  PERFORM slayq._private_forget(2);
  INSERT INTO slayq._private_invoker (job_id, job_key, step_name) VALUES (waiter.id, _target_job_key, _step_name);
END
$$;

SELECT slayq._private_secure('wait_for_invocation');

SELECT slayq._private_make_room('trigger_waiting_invoker', '_job_key text, _result json');

CREATE OR REPLACE FUNCTION public.trigger_waiting_invoker(_job_key text, _result json) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target pg_catalog.int8 := slayq._private_target(_job_key);
  waiting_jobs pg_catalog.int8[];
  wait pg_catalog.record;
  due pg_catalog.int4 := 0;
BEGIN
  IF target IS NULL THEN
    RETURN;
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock(target);
  IF pg_catalog.octet_length(_result::pg_catalog.text) > 65536 THEN
    -- Too large to keep. What was kept before is no longer the last result.
    DELETE FROM slayq._private_results AS last WHERE last.hash = target AND last.job_key = _job_key;
  ELSE
    UPDATE slayq._private_results AS last
       SET result = coalesce(_result, 'null'), fired_at = pg_catalog.clock_timestamp()
     WHERE last.hash = target AND last.job_key = _job_key;
    IF NOT FOUND THEN
      PERFORM slayq._private_forget(2);
      INSERT INTO slayq._private_results (hash, job_key, result, fired_at)
      VALUES (target, _job_key, coalesce(_result, 'null'), pg_catalog.clock_timestamp());
    END IF;
  END IF;

  waiting_jobs := ARRAY(
    SELECT job.id
      FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(
             SELECT waiting.job_id
               FROM slayq._private_invoker AS waiting
              WHERE slayq._private_target(waiting.job_key) = target))
     ORDER BY job.id
       FOR NO KEY UPDATE);
  IF pg_catalog.cardinality(waiting_jobs) = 0 THEN
    RETURN;
  END IF;
  FOR wait IN
    DELETE FROM slayq._private_invoker AS waiting
     WHERE slayq._private_target(waiting.job_key) = target AND waiting.job_key = _job_key
       AND waiting.job_id = ANY (waiting_jobs)
    RETURNING waiting.job_id, waiting.step_name
  LOOP
    due := due + slayq._private_resume(wait.job_id, wait.step_name, _result);
  END LOOP;
  PERFORM slayq._private_announce(due);
END
$$;

SELECT slayq._private_secure('trigger_waiting_invoker');
