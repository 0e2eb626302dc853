-- Cancelling the jobs of an event.
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT slayq._private_make_room('cancel_pending_tasks', 'event text, matchkey text, matchval text');

-- The first condition is slayq_event_index's. Jobs are locked in the order of their ids, so that two cancellations do
-- not wait for each other. One that a worker takes meanwhile is found locked, and left.
CREATE OR REPLACE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM graphile_worker._private_jobs AS cancelled
   WHERE cancelled.id = ANY (ARRAY(
           SELECT job.id
             FROM graphile_worker._private_jobs AS job
            WHERE CASE WHEN pg_catalog.strpos(job.payload::pg_catalog.text, E'\\u') = 0
                            AND pg_catalog.octet_length(job.payload::pg_catalog.text) < 4000
                       THEN pg_catalog.hashtextextended(job.payload ->> 'event', 0)
                       ELSE pg_catalog.hashtextextended(
                              slayq._private_text(slayq._private_member(job.payload, 'event')), 0) END
                  = pg_catalog.hashtextextended(event, 0)
              AND job.locked_at IS NULL
              AND slayq._private_text(slayq._private_member(job.payload, 'event')) = event
              AND slayq._private_text(slayq._private_member(slayq._private_member(job.payload, 'data'), matchkey))
                  = matchval
            ORDER BY job.id
              FOR UPDATE));
END
$$;

SELECT slayq._private_secure('cancel_pending_tasks');
