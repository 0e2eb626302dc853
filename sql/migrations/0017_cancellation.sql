-- Cancelling looks up what it cancels, however many jobs of the event are waiting.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a payload can be cancelled by: a hash for each member of its data, with the event. Where they are too many, one hash of
-- the event alone says that they have to be looked at instead, and 0 where Postgres cannot read the payload.
--
-- An index evaluates it, as whoever adds a job: see the notes in 0002. So it uses nothing of schema slayq.
CREATE FUNCTION slayq._private_matches(payload json) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  event pg_catalog.text;
  data pg_catalog.json;
  found pg_catalog.int8[];
BEGIN
  BEGIN
    event := payload OPERATOR(pg_catalog.->>) 'event';
    data := payload OPERATOR(pg_catalog.->) 'data';
    IF pg_catalog.json_typeof(data) OPERATOR(pg_catalog.=) 'object' THEN
      found := ARRAY(
        SELECT pg_catalog.hashtextextended(
                 pg_catalog.concat(event, E'\x1f', member.key, E'\x1f', member.value), 3)
          FROM pg_catalog.json_each_text(data) AS member
         LIMIT 33);
    END IF;
  EXCEPTION WHEN untranslatable_character OR invalid_text_representation OR statement_too_complex THEN
    RETURN ARRAY[0::pg_catalog.int8];
  END;
  IF pg_catalog.cardinality(found) OPERATOR(pg_catalog.>) 32 THEN
    RETURN ARRAY[pg_catalog.hashtextextended(event, 4)];
  END IF;
  RETURN found;
END
$$;

-- As in 0011, with one more function that is evaluated by an index.
CREATE OR REPLACE FUNCTION slayq._private_shut_out() RETURNS void
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
  GRANT EXECUTE ON FUNCTION slayq._private_member(json, text), slayq._private_text(json), slayq._private_matches(json)
    TO PUBLIC;
END
$$;

-- Jobs that no delivery holds: a claim then adds no entry. Entries are made at once, for those that are put off until later
-- would be read by each cancellation.
DROP INDEX IF EXISTS graphile_worker.slayq_event_index;
CREATE INDEX IF NOT EXISTS slayq_match_index ON graphile_worker._private_jobs
  USING gin (slayq._private_matches(payload)) WITH (fastupdate = off)
  WHERE locked_at IS NULL;

-- As in 0009, by the index above: bitmaps are its only use, and no other index fits. Jobs are locked in the order of their
-- ids, so that two cancellations do not wait for each other. One that a worker takes meanwhile is found locked, and left.
CREATE OR REPLACE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_indexscan = off
SET jit = off
AS $$
DECLARE
  wanted pg_catalog.int8[] := ARRAY[
    pg_catalog.hashtextextended(pg_catalog.concat(event, E'\x1f', matchkey, E'\x1f', matchval), 3),
    pg_catalog.hashtextextended(event, 4),
    0];
  pending pg_catalog.int8[];
BEGIN
  IF event IS NULL OR matchkey IS NULL OR matchval IS NULL THEN
    RETURN;
  END IF;
  pending := ARRAY(
    SELECT job.id
      FROM graphile_worker._private_jobs AS job
     WHERE slayq._private_matches(job.payload) && wanted AND job.locked_at IS NULL
       AND slayq._private_text(slayq._private_member(job.payload, 'event')) = event
       AND slayq._private_text(slayq._private_member(slayq._private_member(job.payload, 'data'), matchkey))
           = matchval);
  IF pending = '{}' THEN
    RETURN;
  END IF;
  DELETE FROM graphile_worker._private_jobs AS cancelled
   WHERE cancelled.id = ANY (ARRAY(
           SELECT job.id
             FROM graphile_worker._private_jobs AS job
            WHERE job.id = ANY (pending) AND job.locked_at IS NULL
              AND slayq._private_text(slayq._private_member(job.payload, 'event')) = event
              AND slayq._private_text(slayq._private_member(slayq._private_member(job.payload, 'data'), matchkey))
                  = matchval
            ORDER BY job.id
              FOR UPDATE));
END
$$;

SELECT slayq._private_shut_out();
REVOKE ALL ON FUNCTION public.cancel_pending_tasks(text, text, text) FROM PUBLIC;
