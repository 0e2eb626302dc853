-- The claim, as a function: its plan is made once for each connection, which takes twice as long as running it.
SET LOCAL search_path = pg_catalog, pg_temp;

-- How long a payload is, in bytes: of a small one, and of one that takes up little because it is compressed, what it
-- takes up.
CREATE FUNCTION slayq._private_payload_bytes(payload json) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN pg_catalog.pg_column_size(payload) < 2000 THEN pg_catalog.pg_column_size(payload)
              ELSE pg_catalog.octet_length(payload::pg_catalog.text) END
$$;

-- Take due jobs for several groups of tasks at once: at most `limits[n]` for the group of `tasks[n]`, by priority and
-- run_at, and at most one for each serial lane; no further ones when the payloads have `max_bytes`. A payload of more
-- than `max_payload` bytes comes as NULL.
--
-- Jobs without a lane are found by walking each task's few distinct priorities, so that neither other tasks' backlogs
-- nor future jobs are read. Jobs in lanes are found by walking the lanes that have any, and their priorities. Ids go
-- into the updates as arrays, which keeps them on the primary key.
--
-- The plan must not follow the statistics, which may speak of an empty table when a million jobs have just come: no
-- sequential scans, and one plan for all arguments. Compiling it to machine code would take ten times as long as running
-- it a hundred times.
CREATE FUNCTION slayq._private_claim_jobs(
  tasks integer[], groups integer[], limits integer[], worker text, max_bytes bigint, max_payload bigint)
RETURNS TABLE (id bigint, task_id integer, payload text, attempts smallint, max_attempts smallint, key text,
               priority smallint, run_at timestamptz, job_queue_id integer, locked_at timestamptz, revision integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  stamps pg_catalog.timestamptz[] := ARRAY[slayq._private_claim_stamp(false), slayq._private_claim_stamp(true)];
BEGIN
  RETURN QUERY
  WITH RECURSIVE asked AS MATERIALIZED (
    SELECT task_id, grp, lim
      FROM ROWS FROM (pg_catalog.unnest(tasks), pg_catalog.unnest(groups), pg_catalog.unnest(limits))
           AS asked (task_id, grp, lim)
  ), levels AS (
    SELECT asked.task_id, asked.grp, asked.lim, lowest.priority
      FROM asked
     CROSS JOIN LATERAL (
           SELECT job.priority
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = asked.task_id AND job.is_available = true AND job.job_queue_id IS NULL
            ORDER BY job.priority
            LIMIT 1) AS lowest
     UNION ALL
    SELECT levels.task_id, levels.grp, levels.lim, higher.priority
      FROM levels
     CROSS JOIN LATERAL (
           SELECT job.priority
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = levels.task_id AND job.is_available = true AND job.job_queue_id IS NULL
              AND job.priority > levels.priority
            ORDER BY job.priority
            LIMIT 1) AS higher
  ), free AS MATERIALIZED (
    SELECT due.id, levels.grp, levels.lim, levels.priority, due.run_at, due.bytes, NULL::pg_catalog.int4 AS lane
      FROM levels
     CROSS JOIN LATERAL (
           SELECT job.id, job.run_at, slayq._private_payload_bytes(job.payload) AS bytes
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = levels.task_id AND job.is_available = true AND job.job_queue_id IS NULL
              AND job.priority = levels.priority AND job.run_at <= pg_catalog.now()
            ORDER BY job.run_at
            LIMIT levels.lim
              FOR UPDATE SKIP LOCKED) AS due
  ), lanes AS (
    SELECT asked.task_id, asked.grp, asked.lim, lowest.job_queue_id AS lane, lowest.priority
      FROM asked
     CROSS JOIN LATERAL (
           SELECT job.job_queue_id, job.priority
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = asked.task_id AND job.is_available = true AND job.job_queue_id IS NOT NULL
            ORDER BY job.job_queue_id, job.priority
            LIMIT 1) AS lowest
     UNION ALL
    SELECT lanes.task_id, lanes.grp, lanes.lim, higher.job_queue_id, higher.priority
      FROM lanes
     CROSS JOIN LATERAL (
           SELECT job.job_queue_id, job.priority
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = lanes.task_id AND job.is_available = true AND job.job_queue_id IS NOT NULL
              AND (job.job_queue_id, job.priority) > (lanes.lane, lanes.priority)
            ORDER BY job.job_queue_id, job.priority
            LIMIT 1) AS higher
  ), heads AS MATERIALIZED (
    SELECT DISTINCT ON (lanes.lane) head.id, lanes.grp, lanes.lim, lanes.priority, head.run_at, head.bytes,
           lanes.lane
      FROM lanes
      JOIN graphile_worker._private_job_queues AS queue ON queue.id = lanes.lane AND queue.is_available = true
     CROSS JOIN LATERAL (
           SELECT job.id, job.run_at, slayq._private_payload_bytes(job.payload) AS bytes
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = lanes.task_id AND job.job_queue_id = lanes.lane AND job.priority = lanes.priority
              AND job.is_available = true AND job.run_at <= pg_catalog.now()
            ORDER BY job.run_at
            LIMIT 1) AS head
     ORDER BY lanes.lane, lanes.priority, head.run_at
  ), ranked AS MATERIALIZED (
    SELECT id, lane
      FROM (SELECT id, lane, pg_catalog.sum(read) OVER (ORDER BY place, id) - read AS read_before
              FROM (SELECT id, lane, lim, CASE WHEN bytes <= max_payload THEN bytes ELSE 0 END AS read,
                           pg_catalog.row_number() OVER (PARTITION BY grp ORDER BY priority, run_at, id) AS place
                      FROM (SELECT * FROM free UNION ALL SELECT * FROM heads) AS candidate) AS placed
             WHERE place <= lim) AS within_limits
     WHERE read_before < max_bytes
  ), locked_lanes AS MATERIALIZED (
    SELECT queue.id
      FROM graphile_worker._private_job_queues AS queue
     WHERE queue.id = ANY (ARRAY(SELECT lane FROM ranked WHERE lane IS NOT NULL)) AND queue.is_available = true
       FOR UPDATE SKIP LOCKED
  ), locked_heads AS MATERIALIZED (
    SELECT job.id, job.job_queue_id, stamps[CASE WHEN job.key IS NULL THEN 1 ELSE 2 END] AS stamp
      FROM graphile_worker._private_jobs AS job
     WHERE job.id = ANY (ARRAY(SELECT ranked.id FROM ranked JOIN locked_lanes ON locked_lanes.id = ranked.lane))
       AND job.is_available = true
       FOR UPDATE SKIP LOCKED
  ), taken_lanes AS (
    UPDATE graphile_worker._private_job_queues AS queue
       SET locked_by = worker, locked_at = locked_heads.stamp
      FROM locked_heads
     WHERE queue.id = ANY (ARRAY(SELECT job_queue_id FROM locked_heads)) AND queue.id = locked_heads.job_queue_id
  )
  UPDATE graphile_worker._private_jobs AS job
     SET attempts = job.attempts + 1, locked_by = worker,
         locked_at = stamps[CASE WHEN job.key IS NULL THEN 1 ELSE 2 END]
   WHERE job.id = ANY (ARRAY(SELECT id FROM ranked WHERE lane IS NULL UNION ALL SELECT id FROM locked_heads))
  RETURNING job.id, job.task_id,
            CASE WHEN slayq._private_payload_bytes(job.payload) <= max_payload THEN job.payload::pg_catalog.text END,
            job.attempts, job.max_attempts, job.key, job.priority, job.run_at, job.job_queue_id, job.locked_at,
            job.revision;
END
$$;

SELECT slayq._private_shut_out();
