-- The claim, as a function: its plan is made once for each connection, which takes twice as long as running it.
SET LOCAL search_path = pg_catalog, pg_temp;

-- How long a payload is, in bytes, when it lies in its row; otherwise NULL, for it would have to be fetched and
-- unpacked.
CREATE FUNCTION slayq._private_small_bytes(payload json) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN pg_catalog.pg_column_size(payload) < 2000
              THEN pg_catalog.octet_length(payload::pg_catalog.text)::pg_catalog.int8 END  -- Postgres 12 casts no result
$$;

-- Take due jobs for several groups of tasks at once: at most `limits[n]` for the group of `tasks[n]`, by priority and
-- run_at, and at most one for each serial lane; until the payloads have `max_bytes`, and then only what fits into an
-- equal share of that for each group, so that one queue's large payloads leave the others theirs. A payload of more
-- than `max_payload` bytes comes as NULL.
--
-- Jobs without a lane are found by walking each task's few distinct priorities, so that neither other tasks' backlogs
-- nor future jobs are read. Jobs in lanes are found by walking the lanes that have any, and their priorities. Ids go
-- into the updates as arrays, which keeps them on the primary key.
--
-- The plan must not follow the statistics, which may speak of an empty table when a million jobs have just come: no
-- sequential scans, and one plan for all arguments. Compiling it to machine code would take ten times as long as
-- running it a hundred times.
--
-- A daemon claims only while it has its row. Recovery takes the row, and then returns what the daemon has locked: a
-- claim that came later, from a daemon that was only cut off or by a statement that was long on its way, would be found
-- by nobody. So the claim holds on to the row until it is committed, after it has taken jobs: either recovery waits for
-- it and sees them, or the claim sees that the row is gone, and takes nothing. A beat does not mind a key-share lock. A
-- claim that finds nothing writes nothing, and takes none.
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
  ids pg_catalog.int8[];
  lanes_of pg_catalog.int4[];
  groups_of pg_catalog.int4[];
  sizes pg_catalog.int8[];
  share pg_catalog.int8;
  taken pg_catalog.int8;
  taken_of pg_catalog.int8[] := '{}';
  kept pg_catalog.int4[] := '{}';
  g pg_catalog.int4;
  size pg_catalog.int8;
BEGIN
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
           SELECT job.id, job.run_at, slayq._private_small_bytes(job.payload) AS bytes
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
           SELECT job.id, job.run_at, slayq._private_small_bytes(job.payload) AS bytes
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = lanes.task_id AND job.job_queue_id = lanes.lane AND job.priority = lanes.priority
              AND job.is_available = true AND job.run_at <= pg_catalog.now()
            ORDER BY job.run_at
            LIMIT 1) AS head
     ORDER BY lanes.lane, lanes.priority, head.run_at
  ), placed AS (
    SELECT id, lane, grp, lim, bytes,
           pg_catalog.row_number() OVER (PARTITION BY grp ORDER BY priority, run_at, id) AS place
      FROM (SELECT * FROM free UNION ALL SELECT * FROM heads) AS candidate
  )
  SELECT pg_catalog.array_agg(id ORDER BY place, id), pg_catalog.array_agg(lane ORDER BY place, id),
         pg_catalog.array_agg(grp ORDER BY place, id), pg_catalog.array_agg(bytes ORDER BY place, id),
         pg_catalog.sum(coalesce(bytes, max_bytes + 1)), max_bytes / pg_catalog.count(DISTINCT grp)
    INTO ids, lanes_of, groups_of, sizes, taken, share
    FROM placed
   WHERE place <= lim
  HAVING pg_catalog.count(*) > 0;

  -- To learn how long a large payload is, Postgres unpacks all of it. So nobody asks for more of them than are taken.
  IF taken > max_bytes THEN
    taken := 0;
    FOR n IN 1 .. pg_catalog.cardinality(ids) LOOP
      g := groups_of[n] + 1;
      CONTINUE WHEN taken_of[g] < 0;
      size := coalesce(sizes[n], (SELECT pg_catalog.octet_length(job.payload::pg_catalog.text)
                                    FROM graphile_worker._private_jobs AS job
                                   WHERE job.id = ids[n]));
      IF taken < max_bytes OR coalesce(taken_of[g], 0) + size <= share THEN
        taken_of[g] := coalesce(taken_of[g], 0) + size;
        taken := taken + size;
        kept := kept || n;
      ELSE
        taken_of[g] := -1;
      END IF;
    END LOOP;
    SELECT pg_catalog.array_agg(ids[n] ORDER BY n), pg_catalog.array_agg(lanes_of[n] ORDER BY n)
      INTO ids, lanes_of
      FROM pg_catalog.unnest(kept) AS n;
  END IF;

  RETURN QUERY
  WITH ranked AS MATERIALIZED (
    SELECT id, lane FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(lanes_of)) AS ranked (id, lane)
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
            CASE WHEN pg_catalog.octet_length(job.payload::pg_catalog.text) <= max_payload
                 THEN job.payload::pg_catalog.text END,
            job.attempts, job.max_attempts, job.key, job.priority, job.run_at, job.job_queue_id, job.locked_at,
            job.revision;
  IF FOUND THEN
    PERFORM FROM slayq._private_daemons AS daemon
      WHERE daemon.worker = _private_claim_jobs.worker AND daemon.beat >= 0
        FOR KEY SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'Nothing claimed: % is no living daemon', worker
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
  END IF;
END
$$;

SELECT slayq._private_shut_out();
