-- Waiting for an event, and firing one.
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT slayq._private_make_room('wait_for_worker_event',
  '_job_key text, _event text, _match_key text, _match_value text, _step_name text, '
  '_expires_at timestamp with time zone');

CREATE OR REPLACE FUNCTION public.wait_for_worker_event(
  _job_key text, _event text, _match_key text, _match_value text, _step_name text, _expires_at timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  triple pg_catalog.int8 := slayq._private_triple(_event, _match_key, _match_value);
  waiter pg_catalog.record;
BEGIN
  -- A trigger on the same triple comes wholly before this or wholly after. Before: it is remembered. After: it finds
  -- the wait. (A triple with a null matches nothing; its wait just expires. The lock function is strict.)
  PERFORM pg_catalog.pg_advisory_xact_lock(triple);
  waiter := slayq._private_waiter(_job_key);
  IF EXISTS (SELECT FROM slayq._private_fired AS fired
              WHERE fired.hash = triple
                AND fired.event = _event AND fired.match_key = _match_key AND fired.match_value = _match_value
                AND fired.fired_at >= greatest(waiter.counts_from, slayq._private_memory_start())
                AND fired.fired_at < _expires_at) THEN
    PERFORM slayq._private_announce(slayq._private_resume(waiter.id, _step_name, 'true'));
    RETURN;
  END IF;
  PERFORM slayq._private_forget(2);
  INSERT INTO slayq._private_waiting_on (job_id, event, match_key, match_value, step_name, expires_at)
  VALUES (waiter.id, _event, _match_key, _match_value, _step_name, _expires_at);
END
$$;

SELECT slayq._private_secure('wait_for_worker_event');

SELECT slayq._private_make_room('trigger_waiting_workers', '_event text, _match_key text, _match_value text');

CREATE OR REPLACE FUNCTION public.trigger_waiting_workers(_event text, _match_key text, _match_value text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  triple pg_catalog.int8 := slayq._private_triple(_event, _match_key, _match_value);
  waiting_jobs pg_catalog.int8[];
  wait pg_catalog.record;
  due pg_catalog.int4 := 0;
BEGIN
  IF triple IS NULL THEN
    RETURN;
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock(triple);
  UPDATE slayq._private_fired AS fired
     SET fired_at = pg_catalog.clock_timestamp()
   WHERE fired.hash = triple
     AND fired.event = _event AND fired.match_key = _match_key AND fired.match_value = _match_value;
  IF NOT FOUND THEN
    PERFORM slayq._private_forget(2);
    INSERT INTO slayq._private_fired (hash, event, match_key, match_value, fired_at)
    VALUES (triple, _event, _match_key, _match_value, pg_catalog.clock_timestamp());
  END IF;

  -- Jobs before their waits: whoever deletes a job goes that way too.
  waiting_jobs := ARRAY(
    SELECT job.id
      FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(
             SELECT waiting.job_id
               FROM slayq._private_waiting_on AS waiting
              WHERE slayq._private_triple(waiting.event, waiting.match_key, waiting.match_value) = triple))
     ORDER BY job.id
       FOR NO KEY UPDATE);
  IF pg_catalog.cardinality(waiting_jobs) = 0 THEN
    RETURN;
  END IF;
  FOR wait IN
    DELETE FROM slayq._private_waiting_on AS waiting
     WHERE slayq._private_triple(waiting.event, waiting.match_key, waiting.match_value) = triple
       AND waiting.event = _event AND waiting.match_key = _match_key AND waiting.match_value = _match_value
       AND waiting.job_id = ANY (waiting_jobs)
    RETURNING waiting.job_id, waiting.step_name, waiting.expires_at
  LOOP
    IF wait.expires_at > pg_catalog.clock_timestamp() THEN
      due := due + slayq._private_resume(wait.job_id, wait.step_name, 'true');
    END IF;
  END LOOP;
  PERFORM slayq._private_announce(due);
END
$$;

SELECT slayq._private_secure('trigger_waiting_workers');
