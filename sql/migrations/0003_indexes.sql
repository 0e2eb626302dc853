-- What serves the look-ups. Indexes on the job table are named slayq_…: they are all that this project adds to schema
-- graphile_worker.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE INDEX IF NOT EXISTS waiting_on_job_index ON slayq._private_waiting_on (job_id);
CREATE INDEX IF NOT EXISTS waiting_on_triple_index
  ON slayq._private_waiting_on (slayq._private_triple(event, match_key, match_value));
CREATE INDEX IF NOT EXISTS waiting_on_expiry_index ON slayq._private_waiting_on (expires_at);
CREATE INDEX IF NOT EXISTS invoker_job_index ON slayq._private_invoker (job_id);
CREATE INDEX IF NOT EXISTS invoker_target_index ON slayq._private_invoker (slayq._private_target(job_key));

-- Claims: jobs of a task, and jobs of a task in a serial lane. (Graphile Worker's own indexes begin with the priority:
-- the backlog of one task is read by the claims of every other.)
CREATE INDEX IF NOT EXISTS slayq_claim_index ON graphile_worker._private_jobs (task_id, priority, run_at)
  WHERE is_available = true AND job_queue_id IS NULL;
CREATE INDEX IF NOT EXISTS slayq_lane_index ON graphile_worker._private_jobs (task_id, job_queue_id, priority, run_at)
  WHERE is_available = true AND job_queue_id IS NOT NULL;

-- Cancellation: jobs of an event that no delivery holds. A hash, because an event's name may be longer than an index
-- entry; partial, because a claim then adds no entry. The condition under which a payload is read without help is
-- written out: calling PL/pgSQL for each job that is added would cost more than the index itself.
CREATE INDEX slayq_event_index ON graphile_worker._private_jobs
  ((CASE WHEN pg_catalog.strpos(payload::pg_catalog.text, E'\\u') = 0
              AND pg_catalog.octet_length(payload::pg_catalog.text) < 4000
         THEN pg_catalog.hashtextextended(payload ->> 'event', 0)
         ELSE pg_catalog.hashtextextended(slayq._private_text(slayq._private_member(payload, 'event')), 0) END))
  WHERE locked_at IS NULL;
