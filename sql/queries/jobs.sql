-- The daemon's own statements on the job tables. `%(name)s` are parameters. The rules behind each are in the job
-- schema's specification: who may take, finish, fail and give back a job, and what becomes of its serial lane.
--
-- Each runs in a transaction of its own. Those that run for every batch forbid sequential scans: they name their rows
-- by index, whatever the statistics say about a table that is empty at one moment and holds a million jobs at the next.
-- Those that write results wait for nobody's lock: an application may forget a transaction that holds a job's row, and
-- the results of all other jobs must not wait for it.

-- name: register_tasks
-- Make the identifiers known, without burning identity values on the ones that are, and read all ids back.
WITH wanted AS (
  SELECT identifier FROM unnest(%(identifiers)s::text[]) AS wanted (identifier)
), added AS (
  INSERT INTO graphile_worker._private_tasks (identifier)
  SELECT wanted.identifier
    FROM wanted
   WHERE NOT EXISTS (SELECT FROM graphile_worker._private_tasks AS task WHERE task.identifier = wanted.identifier)
      ON CONFLICT DO NOTHING
  RETURNING identifier, id
)
SELECT identifier, id FROM added
 UNION ALL
SELECT task.identifier, task.id FROM graphile_worker._private_tasks AS task JOIN wanted USING (identifier);

-- name: claim_jobs
-- A payload that is too large comes as the fault that it is. Without `texts` there are only numbers. The row without an id
-- is `_private_claim_jobs`'s.
SELECT claimed.id, task_id, CASE WHEN %(texts)s THEN payload END, attempts, max_attempts,
       CASE WHEN %(texts)s THEN key END, priority, due, job_queue_id, claimed, revision,
       CASE WHEN payload IS NULL AND claimed.id IS NOT NULL
            THEN (SELECT pg_catalog.format('payload has %%s bytes, more than the %%s that max_payload_mb allows',
                                           pg_catalog.octet_length(job.payload::pg_catalog.text),
                                           %(max_payload)s)
                    FROM graphile_worker._private_jobs AS job WHERE job.id = claimed.id) END,
       next_lane
  FROM slayq._private_claim_jobs(%(tasks)s::integer[], %(groups)s::integer[], %(limits)s::integer[], %(worker)s,
                                 %(max_bytes)s, %(max_payload)s, %(after_lane)s, %(steps)s) AS claimed;

-- name: texts_of_claim
SELECT payload::text, key FROM graphile_worker._private_jobs WHERE id = %(id)s;

-- name: complete_jobs
-- Remove delivered jobs. One whose claim is gone was delivered all the same, so it goes too, unless its revision
-- moved: then its key was re-added in place, and the row is another request. A lane is freed if it is still ours.
SET LOCAL enable_seqscan = off;
SET LOCAL lock_timeout = '100ms';
WITH done AS (
  SELECT id, slayq._private_moment(claimed) AS locked_at, revision, lane
    FROM unnest(%(ids)s::bigint[], %(claimed)s::bigint[], %(revisions)s::integer[], %(lanes)s::integer[])
         AS done (id, claimed, revision, lane)
), freed AS (
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_by = NULL, locked_at = NULL
    FROM done
   WHERE queue.id = ANY (%(lanes)s::integer[]) AND queue.id = done.lane
     AND queue.locked_by = %(worker)s AND queue.locked_at = done.locked_at
)
DELETE FROM graphile_worker._private_jobs AS job
 USING done
 WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = done.id
   AND ((job.locked_by = %(worker)s AND job.locked_at = done.locked_at) OR job.revision = done.revision)
RETURNING job.id;

-- name: fail_jobs
-- End failed attempts that still carry their claim: back-off by Graphile Worker's rule, pushed out to `delays` seconds
-- from now when the receiver asked for more; `final` ones are exhausted at once. Each wait is longer than the rule's by
-- up to a tenth, by chance, and never shorter: what failed together does not come again together. (What the receiver
-- asked for ends at 24 hours all the same.) Its lane is freed also when the job is gone, for it is the claim's: but not while
-- somebody else has the job. Returns what was still ours, and whether it has failed for good.
SET LOCAL enable_seqscan = off;
SET LOCAL lock_timeout = '100ms';
WITH failed AS (
  SELECT id, slayq._private_moment(claimed) AS locked_at, error, delay, final, lane
    FROM unnest(%(ids)s::bigint[], %(claimed)s::bigint[], %(errors)s::text[], %(delays)s::double precision[],
                %(finals)s::boolean[], %(lanes)s::integer[])
         AS failed (id, claimed, error, delay, final, lane)
), kept AS (
  UPDATE graphile_worker._private_jobs AS job
     SET last_error = failed.error,
         attempts = CASE WHEN failed.final THEN greatest(job.attempts, job.max_attempts) ELSE job.attempts END,
         run_at = greatest(greatest(now(), job.run_at)
                             + exp(least(job.attempts, 10)) * (1 + random() / 10) * interval '1 second',
                           now() + least(failed.delay * (1 + random() / 10), 86400) * interval '1 second'),
         locked_by = NULL,
         locked_at = NULL
    FROM failed
   WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = failed.id
     AND job.locked_by = %(worker)s AND job.locked_at = failed.locked_at
  RETURNING job.id, job.attempts >= job.max_attempts AS exhausted
), freed AS (
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_by = NULL, locked_at = NULL
    FROM failed
   WHERE queue.id = ANY (%(lanes)s::integer[]) AND queue.id = failed.lane
     AND queue.locked_by = %(worker)s AND queue.locked_at = failed.locked_at
     AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS job
                      WHERE job.id = failed.id AND job.locked_at IS NOT NULL
                        AND (job.locked_by <> %(worker)s OR job.locked_at <> failed.locked_at))
)
SELECT id, exhausted FROM kept;

-- name: release_jobs
-- Give claimed jobs back unworked: the attempt does not count. A job whose key was re-added meanwhile is superseded:
-- it is unlocked but stays exhausted, or it would run beside its successor. `waits` are seconds from now before which a
-- job shall not be claimed again; NULL leaves run_at as it is. Returns what was still ours, and when it is due (NULL in
-- years that a driver cannot read).
SET LOCAL enable_seqscan = off;
SET LOCAL lock_timeout = '100ms';
WITH claim AS (
  SELECT id, slayq._private_moment(claimed) AS locked_at, wait, lane
    FROM unnest(%(ids)s::bigint[], %(claimed)s::bigint[], %(waits)s::double precision[], %(lanes)s::integer[])
         AS claim (id, claimed, wait, lane)
), released AS (
  UPDATE graphile_worker._private_jobs AS job
     SET attempts = CASE WHEN slayq._private_is_superseded(job) THEN job.attempts
                         ELSE greatest(0, job.attempts - 1) END,
         run_at = greatest(job.run_at, now() + claim.wait * interval '1 second'),
         locked_by = NULL,
         locked_at = NULL
    FROM claim
   WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = claim.id
     AND job.locked_by = %(worker)s AND job.locked_at = claim.locked_at
  RETURNING job.id, job.run_at
), freed AS (
  UPDATE graphile_worker._private_job_queues AS queue
     SET locked_by = NULL, locked_at = NULL
    FROM claim
   WHERE queue.id = ANY (%(lanes)s::integer[]) AND queue.id = claim.lane
     AND queue.locked_by = %(worker)s AND queue.locked_at = claim.locked_at
     AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs AS job
                      WHERE job.id = claim.id AND job.locked_at IS NOT NULL
                        AND (job.locked_by <> %(worker)s OR job.locked_at <> claim.locked_at))
)
SELECT id, CASE WHEN run_at > '1900-01-01T00:00:00Z' AND run_at < '9999-01-01T00:00:00Z' THEN run_at END FROM released;

-- name: recall_jobs
-- Jobs that were put off until `times` are due now, in the order of `places` (0 is the last, -1 the one before it);
-- unless they are locked, or have another run_at by now, which somebody gave them who knows better. Nobody's transaction
-- is waited for: they are due some time anyway.
SET LOCAL enable_seqscan = off;
WITH found AS MATERIALIZED (
  SELECT job.id, waiting.place
    FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[], %(places)s::integer[]) AS waiting (id, run_at, place),
         graphile_worker._private_jobs AS job
   WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = waiting.id AND job.run_at = waiting.run_at
     AND job.locked_at IS NULL
     FOR UPDATE OF job SKIP LOCKED
)
UPDATE graphile_worker._private_jobs AS job
   SET run_at = now() + found.place * interval '1 microsecond'
  FROM found
 WHERE job.id = ANY (ARRAY(SELECT id FROM found)) AND job.id = found.id
RETURNING job.id;

-- name: release_strays
-- Hand back jobs and lanes that carry this worker's id under claims that it does not know: they were committed, and
-- their answers lost. Returns the jobs, and of each whether it was returned: what some transaction has locked is left.
SELECT job.id, job.returned
  FROM slayq._private_return_jobs(
         %(worker)s, %(ids)s::bigint[],
         ARRAY(SELECT slayq._private_moment(claimed) FROM unnest(%(claimed)s::bigint[]) WITH ORDINALITY AS held (claimed, place)
                ORDER BY place),
         %(lanes)s::integer[]) AS job;

-- name: unserved_identifiers
-- Identifiers outside `tasks` for which a job is due. (The conditions are slayq_due_index's and slayq_lane_due_index's; the
-- order leaves no other.)
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_sort = off;
SELECT task.identifier
  FROM graphile_worker._private_tasks AS task
  LEFT JOIN LATERAL (
       SELECT job.id
         FROM graphile_worker._private_jobs AS job
        WHERE job.task_id = task.id AND job.run_at <= now() AND job.locked_at IS NULL
          AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL AND job.max_attempts >= 1
        ORDER BY job.run_at
        LIMIT 1) AS free ON true
  LEFT JOIN LATERAL (
       SELECT job.id
         FROM graphile_worker._private_jobs AS job
        WHERE job.task_id = task.id AND job.run_at <= now() AND job.locked_at IS NULL
          AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL AND job.max_attempts >= 1
        ORDER BY job.run_at
        LIMIT 1) AS serial ON true
 WHERE NOT (task.id = ANY (%(tasks)s::integer[])) AND (free.id IS NOT NULL OR serial.id IS NOT NULL)
 ORDER BY task.identifier;

-- name: register_crontab
INSERT INTO graphile_worker._private_known_crontabs (identifier, known_since)
VALUES (%(identifier)s, now())
    ON CONFLICT DO NOTHING;

-- name: schedule_minute
-- Graphile Worker's crontab rule for one item: whoever moves last_execution forward adds the job, nobody else does.
-- `stuck` is a last_execution in the future at which the row was seen to stand still: a clock was wrong once, and
-- waiting for the time to come would silence the tick. The job is due at once, also when our clock is ahead of the
-- database's: the next tick, which takes its key, would always be stored before it was due. Returns whether it was our
-- move, whether the job is stored, and what stood there before.
WITH before AS (
  SELECT last_execution FROM graphile_worker._private_known_crontabs WHERE identifier = %(identifier)s
), moved AS (
  INSERT INTO graphile_worker._private_known_crontabs AS crontab (identifier, known_since, last_execution)
  VALUES (%(identifier)s, %(minute)s, %(minute)s)
      ON CONFLICT (identifier) DO UPDATE SET last_execution = excluded.last_execution
   WHERE crontab.last_execution IS NULL
      OR crontab.last_execution < excluded.last_execution
      OR crontab.last_execution = %(stuck)s::timestamptz
  RETURNING identifier
), added AS (
  SELECT (graphile_worker.add_job(
           moved.identifier, payload => %(payload)s::json, run_at => least(%(minute)s::timestamptz, now()),
           max_attempts => 1, job_key => %(key)s)).id
    FROM moved
)
SELECT (SELECT count(*) FROM moved), (SELECT count(id) FROM added), (SELECT last_execution FROM before);

-- name: remember_for
-- Fired events count for waits that come up to this many seconds later: as long as a delivery may take.
SELECT slayq._private_remember_for(%(seconds)s);
