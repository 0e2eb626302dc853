-- The claim anew. It costs what it takes, whatever lies beside that: future jobs, priorities, lanes, other tasks' backlogs.
-- What it takes is as it was judged, also when others change it at that moment. Its plans cannot follow the statistics. It
-- tells when the next job is due. Times leave it as numbers.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The claim's indexes. Each look-up fits one of them only, whatever the statistics say: they speak of an empty table when a
-- million jobs have just come, or of one task when there are two. So an available job is described here in other words than in
-- Graphile Worker's own indexes, and an index that begins as another does has a condition more, which holds for every job.
DROP INDEX IF EXISTS graphile_worker.slayq_claim_index, graphile_worker.slayq_lane_index;

-- In the order in which they are to run.
CREATE INDEX IF NOT EXISTS slayq_ready_index ON graphile_worker._private_jobs (task_id, priority, run_at)
  WHERE locked_at IS NULL AND attempts < max_attempts AND job_queue_id IS NULL;

-- What is due, and what is next, however many priorities there are.
CREATE INDEX IF NOT EXISTS slayq_due_index ON graphile_worker._private_jobs (task_id, run_at)
  WHERE locked_at IS NULL AND attempts < max_attempts AND job_queue_id IS NULL AND max_attempts >= 1;

-- In serial lanes, likewise: apart, because the jobs of one long lane would stand before everything else. And by lane.
CREATE INDEX IF NOT EXISTS slayq_lane_ready_index ON graphile_worker._private_jobs (task_id, priority, run_at)
  WHERE locked_at IS NULL AND attempts < max_attempts AND job_queue_id IS NOT NULL AND revision >= 0;
CREATE INDEX IF NOT EXISTS slayq_lane_due_index ON graphile_worker._private_jobs (task_id, run_at)
  WHERE locked_at IS NULL AND attempts < max_attempts AND job_queue_id IS NOT NULL AND max_attempts >= 1;
CREATE INDEX slayq_lane_index ON graphile_worker._private_jobs (task_id, job_queue_id, priority, run_at)
  WHERE locked_at IS NULL AND attempts < max_attempts AND job_queue_id IS NOT NULL AND attempts >= -32768;

-- A moment as microseconds since 1970, exactly, for a driver cannot read every year. NULL for what is not finite, and beyond
-- the years from 1900 to 9999. (No path is set here and below, so that they become a part of the statement that calls them.)
CREATE FUNCTION slayq._private_microseconds(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE STRICT AS $$
  SELECT CASE WHEN moment OPERATOR(pg_catalog.>=) '1900-01-01T00:00:00Z'::pg_catalog.timestamptz
               AND moment OPERATOR(pg_catalog.<) '9999-12-31T00:00:00Z'::pg_catalog.timestamptz
              THEN pg_catalog.date_part('epoch', pg_catalog.date_trunc('second', moment))::pg_catalog.int8
                   OPERATOR(pg_catalog.*) 1000000::pg_catalog.int8
                   OPERATOR(pg_catalog.+)
                   (pg_catalog.date_part('microseconds', moment)::pg_catalog.int8
                    OPERATOR(pg_catalog.%) 1000000::pg_catalog.int8) END
$$;

-- The other way round.
CREATE FUNCTION slayq._private_moment(microseconds bigint) RETURNS timestamptz
LANGUAGE sql STABLE STRICT AS $$
  SELECT '1970-01-01T00:00:00Z'::pg_catalog.timestamptz
         OPERATOR(pg_catalog.+)
         pg_catalog.make_interval(
           secs => (microseconds OPERATOR(pg_catalog./) 1000000::pg_catalog.int8)::pg_catalog.float8)
         OPERATOR(pg_catalog.+)
         (pg_catalog.make_interval(secs => 0.000001::pg_catalog.float8)
          OPERATOR(pg_catalog.*)
          (microseconds OPERATOR(pg_catalog.%) 1000000::pg_catalog.int8)::pg_catalog.float8)
$$;

-- What the claim is made of is called by it alone, and runs under its settings: no scans of the table, no bitmaps, and no sort
-- where an index has the order. Each look-up repeats the conditions of the index that it means.

-- Lock due jobs of a task that are in no lane: those that run first, as many as are wanted. Are no more due than that, they
-- are taken as they come. Otherwise the priorities are walked, from the lowest, until there are enough: only then is a
-- priority looked at that has future jobs only.
CREATE FUNCTION slayq._private_due_jobs(task integer, wanted integer, moment timestamptz)
RETURNS TABLE (id bigint, priority smallint, run_at timestamptz, keyed boolean, bytes bigint)
LANGUAGE plpgsql VOLATILE ROWS 20 AS $$
#variable_conflict use_column
DECLARE
  due pg_catalog.int4;
  level pg_catalog.int4 := -32769;
  taken pg_catalog.int4;
BEGIN
  SELECT pg_catalog.count(*) INTO due
    FROM (SELECT FROM graphile_worker._private_jobs AS job
           WHERE job.task_id = task AND job.run_at <= moment AND job.locked_at IS NULL
             AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL AND job.max_attempts >= 1
           ORDER BY job.run_at
           LIMIT wanted + 1) AS first;
  IF due = 0 THEN
    RETURN;
  ELSIF due <= wanted THEN
    RETURN QUERY
    SELECT job.id, job.priority, job.run_at, job.key IS NOT NULL, slayq._private_small_bytes(job.payload)
      FROM graphile_worker._private_jobs AS job
     WHERE job.task_id = task AND job.run_at <= moment AND job.locked_at IS NULL
       AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL AND job.max_attempts >= 1
     ORDER BY job.run_at
     LIMIT wanted
       FOR UPDATE SKIP LOCKED;
    RETURN;
  END IF;
  WHILE wanted > 0 LOOP
    SELECT job.priority INTO level
      FROM graphile_worker._private_jobs AS job
     WHERE job.task_id = task AND job.priority > level AND job.locked_at IS NULL
       AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL
     ORDER BY job.priority, job.run_at
     LIMIT 1;
    EXIT WHEN NOT FOUND;
    RETURN QUERY
    SELECT job.id, job.priority, job.run_at, job.key IS NOT NULL, slayq._private_small_bytes(job.payload)
      FROM graphile_worker._private_jobs AS job
     WHERE job.task_id = task AND job.priority = level AND job.run_at <= moment AND job.locked_at IS NULL
       AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL
     ORDER BY job.run_at
     LIMIT wanted
       FOR UPDATE SKIP LOCKED;
    GET DIAGNOSTICS taken = ROW_COUNT;
    wanted := wanted - taken;
  END LOOP;
END
$$;

-- Find the due jobs of a task that are first in their lanes, where nobody has the lane. The first due jobs in their order,
-- some more than are wanted, tell them. Where few long lanes stand before all others, so that these are not enough, lanes are
-- walked, by their ids, from `after_lane` on, and `steps` of them at once. So the order is exact as far as those
-- first jobs go, over all lanes if there are not too many, and beyond that each lane has its turn. A row without an id says
-- how far such a walk has come that did not come to the end. Nothing is locked, and a lane may come twice.
CREATE FUNCTION slayq._private_lane_heads(
  task integer, wanted integer, moment timestamptz, after_lane integer, steps integer)
RETURNS TABLE (id bigint, lane integer, priority smallint, run_at timestamptz, reached integer)
LANGUAGE plpgsql VOLATILE ROWS 20 AS $$
#variable_conflict use_column
DECLARE
  enough pg_catalog.int4 := 2 * wanted + 100;
  more pg_catalog.record;
  ids pg_catalog.int8[];
  lanes pg_catalog.int4[];
  priorities pg_catalog.int2[];
  moments pg_catalog.timestamptz[];
  level pg_catalog.int4 := -32769;
  heads pg_catalog.int4;
BEGIN
  SELECT pg_catalog.array_agg(due.id), pg_catalog.array_agg(due.job_queue_id), pg_catalog.array_agg(due.priority),
         pg_catalog.array_agg(due.run_at)
    INTO ids, lanes, priorities, moments
    FROM (SELECT job.id, job.job_queue_id, job.priority, job.run_at
            FROM graphile_worker._private_jobs AS job
           WHERE job.task_id = task AND job.run_at <= moment AND job.locked_at IS NULL
             AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL AND job.max_attempts >= 1
           ORDER BY job.run_at
           LIMIT enough + 1) AS due;
  IF ids IS NULL THEN
    RETURN;
  END IF;
  IF pg_catalog.cardinality(ids) > enough THEN
    ids := '{}';
    lanes := '{}';
    priorities := '{}';
    moments := '{}';
    WHILE pg_catalog.cardinality(ids) < enough LOOP
      SELECT job.priority INTO level
        FROM graphile_worker._private_jobs AS job
       WHERE job.task_id = task AND job.priority > level AND job.locked_at IS NULL
         AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL AND job.revision >= 0
       ORDER BY job.priority, job.run_at
       LIMIT 1;
      EXIT WHEN NOT FOUND;
      SELECT pg_catalog.array_agg(due.id) AS ids, pg_catalog.array_agg(due.job_queue_id) AS lanes,
             pg_catalog.array_agg(due.priority) AS priorities, pg_catalog.array_agg(due.run_at) AS moments
        INTO more
        FROM (SELECT job.id, job.job_queue_id, job.priority, job.run_at
                FROM graphile_worker._private_jobs AS job
               WHERE job.task_id = task AND job.priority = level AND job.run_at <= moment AND job.locked_at IS NULL
                 AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL AND job.revision >= 0
               ORDER BY job.run_at
               LIMIT enough - pg_catalog.cardinality(ids)) AS due;
      ids := ids || more.ids;
      lanes := lanes || more.lanes;
      priorities := priorities || more.priorities;
      moments := moments || more.moments;
    END LOOP;
  END IF;
  RETURN QUERY
  SELECT head.id, head.lane, head.priority, head.run_at, NULL::pg_catalog.int4
    FROM (SELECT DISTINCT ON (seen.lane) seen.id, seen.lane, seen.priority, seen.run_at
            FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(lanes), pg_catalog.unnest(priorities),
                            pg_catalog.unnest(moments)) AS seen (id, lane, priority, run_at)
           ORDER BY seen.lane, seen.priority, seen.run_at, seen.id) AS head
   CROSS JOIN LATERAL (
         SELECT queue.id
           FROM graphile_worker._private_job_queues AS queue
          WHERE queue.id = head.lane AND queue.is_available = true
          ORDER BY queue.id
          LIMIT 1) AS open;
  GET DIAGNOSTICS heads = ROW_COUNT;
  IF heads >= wanted OR pg_catalog.cardinality(ids) < enough OR steps = 0 THEN
    RETURN;
  END IF;

  -- The first job of a lane at a priority is the one that is due first.
  RETURN QUERY
  WITH RECURSIVE step AS (
    (SELECT job.job_queue_id AS lane, job.priority, job.id, job.run_at, 1 AS place
       FROM graphile_worker._private_jobs AS job
      WHERE job.task_id = task AND job.job_queue_id > after_lane AND job.locked_at IS NULL
        AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL AND job.attempts >= -32768
      ORDER BY job.job_queue_id, job.priority, job.run_at
      LIMIT 1)
     UNION ALL
    SELECT next.lane, next.priority, next.id, next.run_at, step.place + 1
      FROM step
     CROSS JOIN LATERAL (
           SELECT job.job_queue_id AS lane, job.priority, job.id, job.run_at
             FROM graphile_worker._private_jobs AS job
            WHERE job.task_id = task
              AND (job.job_queue_id, job.priority)
                    > (step.lane, CASE WHEN step.run_at <= moment THEN 32767 ELSE step.priority END)
              AND job.locked_at IS NULL AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL
              AND job.attempts >= -32768
            ORDER BY job.job_queue_id, job.priority, job.run_at
            LIMIT 1) AS next
     WHERE step.place < steps
  )
  SELECT step.id, step.lane, step.priority, step.run_at, NULL::pg_catalog.int4
    FROM step
   CROSS JOIN LATERAL (
         SELECT queue.id
           FROM graphile_worker._private_job_queues AS queue
          WHERE queue.id = step.lane AND queue.is_available = true
          ORDER BY queue.id
          LIMIT 1) AS open
   WHERE step.run_at <= moment
   UNION ALL
  -- The last lane may have further priorities; if it was the only one, they are passed over.
  SELECT NULL, NULL, NULL, NULL, greatest(last.lane - 1, first.lane)
    FROM step AS last JOIN step AS first ON first.place = 1
   WHERE last.place = steps;
END
$$;

-- When the next job of these tasks is due, within a day after a moment; NULL if none is.
CREATE FUNCTION slayq._private_next_due(tasks integer[], moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  due pg_catalog.timestamptz;
BEGIN
  SELECT least(pg_catalog.min(free.run_at), pg_catalog.min(serial.run_at)) INTO due
    FROM pg_catalog.unnest(tasks) AS asked (task)
    LEFT JOIN LATERAL (
         SELECT job.run_at
           FROM graphile_worker._private_jobs AS job
          WHERE job.task_id = asked.task AND job.run_at > moment AND job.run_at < moment + '1 day'::pg_catalog.interval
            AND job.locked_at IS NULL AND job.attempts < job.max_attempts AND job.job_queue_id IS NULL
            AND job.max_attempts >= 1
          ORDER BY job.run_at
          LIMIT 1) AS free ON true
    LEFT JOIN LATERAL (
         SELECT job.run_at
           FROM graphile_worker._private_jobs AS job
          WHERE job.task_id = asked.task AND job.run_at > moment AND job.run_at < moment + '1 day'::pg_catalog.interval
            AND job.locked_at IS NULL AND job.attempts < job.max_attempts AND job.job_queue_id IS NOT NULL
            AND job.max_attempts >= 1
          ORDER BY job.run_at
          LIMIT 1) AS serial ON true;
  RETURN due;
END
$$;

DROP FUNCTION slayq._private_claim_jobs(integer[], integer[], integer[], text, bigint, bigint);

-- Take due jobs for several groups of tasks at once: at most `limits[n]` for the group of `tasks[n]`, by priority and
-- run_at, and at most one for each serial lane; until the payloads have `max_bytes`, and then only what fits into an
-- equal share of that for each group, so that one queue's large payloads leave the others theirs. A payload of more
-- than `max_payload` bytes comes as NULL. `claimed` is locked_at in microseconds, `due` is run_at in seconds since 1970, or
-- infinite. One row has no id: it says in how many seconds the next job is due (NULL: not within a day), and, where lanes
-- are left to be walked, which `after_lane` the next claim shall bring (see `_private_lane_heads`), else 0.
--
-- Whatever is taken is judged by the statement that locks it: what has been put off, moved or taken since it was seen is
-- left. A lane is locked before its head is looked at again, so that nobody takes another job of it meanwhile.
--
-- One plan serves all arguments. Compiling it to machine code would take ten times as long as running it a hundred times.
--
-- A daemon claims only while it has its row. Recovery takes the row, and then returns what the daemon has locked: a
-- claim that came later, from a daemon that was only cut off or by a statement that was long on its way, would be found
-- by nobody. So the claim holds on to the row until it is committed, after it has taken jobs: either recovery waits for
-- it and sees them, or the claim sees that the row is gone, and takes nothing. A beat does not mind a key-share lock. A
-- claim that finds nothing writes nothing, and takes none.
CREATE FUNCTION slayq._private_claim_jobs(
  tasks integer[], groups integer[], limits integer[], worker text, max_bytes bigint, max_payload bigint,
  after_lane integer, steps integer)
RETURNS TABLE (id bigint, task_id integer, payload text, attempts smallint, max_attempts smallint, key text,
               priority smallint, due double precision, job_queue_id integer, claimed bigint, revision integer,
               next_lane integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  moment pg_catalog.timestamptz := pg_catalog.now();
  stamps pg_catalog.timestamptz[] :=
    ARRAY[slayq._private_claim_stamp(false), slayq._private_claim_stamp(true)];
  numbers pg_catalog.int8[] :=
    ARRAY[slayq._private_microseconds(stamps[1]), slayq._private_microseconds(stamps[2])];
  looks pg_catalog.bool[];  -- for each task, whether jobs are due that are in no lane
  lane_looks pg_catalog.bool[];  -- and in lanes
  any_due pg_catalog.bool;
  any_serial pg_catalog.bool;
  next_due pg_catalog.timestamptz;
  heads pg_catalog.int8[] := '{}';
  head_lanes pg_catalog.int4[] := '{}';
  head_tasks pg_catalog.int4[] := '{}';
  ids pg_catalog.int8[];
  lanes_of pg_catalog.int4[];
  keyed_of pg_catalog.bool[];
  groups_of pg_catalog.int4[];
  sizes pg_catalog.int8[];
  lanes pg_catalog.int4[];
  share pg_catalog.int8;
  taken pg_catalog.int8;
  taken_of pg_catalog.int8[] := '{}';
  kept pg_catalog.int4[] := '{}';
  g pg_catalog.int4;
  size pg_catalog.int8;
BEGIN
  next_lane := 0;
  SELECT pg_catalog.array_agg(coalesce(free.run_at <= moment, false)),
         pg_catalog.array_agg(coalesce(serial.run_at <= moment, false)),
         coalesce(pg_catalog.bool_or(free.run_at <= moment OR serial.run_at <= moment), false),
         coalesce(pg_catalog.bool_or(serial.run_at <= moment), false),
         least(pg_catalog.min(free.run_at), pg_catalog.min(serial.run_at))
    INTO looks, lane_looks, any_due, any_serial, next_due
    FROM pg_catalog.unnest(tasks) AS asked (task)
    LEFT JOIN LATERAL (
         SELECT job.run_at
           FROM graphile_worker._private_jobs AS job
          WHERE job.task_id = asked.task AND job.locked_at IS NULL AND job.attempts < job.max_attempts
            AND job.job_queue_id IS NULL AND job.max_attempts >= 1
          ORDER BY job.run_at
          LIMIT 1) AS free ON true
    LEFT JOIN LATERAL (
         SELECT job.run_at
           FROM graphile_worker._private_jobs AS job
          WHERE job.task_id = asked.task AND job.locked_at IS NULL AND job.attempts < job.max_attempts
            AND job.job_queue_id IS NOT NULL AND job.max_attempts >= 1
          ORDER BY job.run_at
          LIMIT 1) AS serial ON true;

  IF any_serial THEN
    WITH found AS MATERIALIZED (
      SELECT asked.task, asked.grp, asked.lim, head.id, head.lane, head.priority, head.run_at, head.reached
        FROM ROWS FROM (pg_catalog.unnest(tasks), pg_catalog.unnest(groups), pg_catalog.unnest(limits),
                        pg_catalog.unnest(lane_looks)) AS asked (task, grp, lim, look)
       CROSS JOIN LATERAL slayq._private_lane_heads(asked.task, asked.lim, moment, after_lane, steps) AS head
       WHERE asked.look
    ), placed AS (
      SELECT head.id, head.lane, head.task, head.lim,
             pg_catalog.row_number() OVER (PARTITION BY head.grp ORDER BY head.priority, head.run_at, head.id) AS place
        FROM (SELECT DISTINCT ON (found.lane) found.*
                FROM found
               WHERE found.id IS NOT NULL
               ORDER BY found.lane, found.priority, found.run_at, found.id) AS head
    )
    SELECT pg_catalog.array_agg(placed.id), pg_catalog.array_agg(placed.lane), pg_catalog.array_agg(placed.task),
           coalesce((SELECT pg_catalog.min(found.reached) FROM found), 0)
      INTO heads, head_lanes, head_tasks, next_lane
      FROM placed
     WHERE placed.place <= placed.lim;
    SELECT pg_catalog.array_agg(head.id), pg_catalog.array_agg(head.lane), pg_catalog.array_agg(head.task)
      INTO heads, head_lanes, head_tasks
      FROM ROWS FROM (pg_catalog.unnest(heads), pg_catalog.unnest(head_lanes), pg_catalog.unnest(head_tasks))
           AS head (id, lane, task)
     CROSS JOIN LATERAL (
           SELECT queue.id
             FROM graphile_worker._private_job_queues AS queue
            WHERE queue.id = head.lane AND queue.is_available = true
              FOR UPDATE SKIP LOCKED) AS locked;
  END IF;

  IF any_due THEN
    WITH asked AS MATERIALIZED (
      SELECT task, grp, lim, look
        FROM ROWS FROM (pg_catalog.unnest(tasks), pg_catalog.unnest(groups), pg_catalog.unnest(limits),
                        pg_catalog.unnest(looks)) AS asked (task, grp, lim, look)
    ), free AS MATERIALIZED (
      SELECT due.id, asked.grp, asked.lim, due.priority, due.run_at, due.keyed, due.bytes,
             NULL::pg_catalog.int4 AS lane
        FROM asked CROSS JOIN LATERAL slayq._private_due_jobs(asked.task, asked.lim, moment) AS due
       WHERE asked.look
    ), first AS MATERIALIZED (
      SELECT locked.*, head.task, head.lane
        FROM ROWS FROM (pg_catalog.unnest(heads), pg_catalog.unnest(head_lanes), pg_catalog.unnest(head_tasks))
             AS head (id, lane, task)
       CROSS JOIN LATERAL (
             SELECT job.id, job.priority, job.run_at, job.key IS NOT NULL AS keyed,
                    slayq._private_small_bytes(job.payload) AS bytes
               FROM graphile_worker._private_jobs AS job
              WHERE job.id = head.id AND job.job_queue_id = head.lane AND job.task_id = head.task
                AND job.run_at <= moment AND job.is_available = true
                FOR UPDATE SKIP LOCKED) AS locked
    ), placed AS (
      SELECT id, lane, keyed, grp, lim, bytes,
             pg_catalog.row_number() OVER (PARTITION BY grp ORDER BY priority, run_at, id) AS place
        FROM (SELECT id, grp, lim, priority, run_at, keyed, bytes, lane FROM free
               UNION ALL
              SELECT first.id, asked.grp, asked.lim, first.priority, first.run_at, first.keyed, first.bytes,
                     first.lane
                FROM first JOIN asked ON asked.task = first.task) AS candidate
    )
    SELECT pg_catalog.array_agg(id), pg_catalog.array_agg(lane), pg_catalog.array_agg(keyed), pg_catalog.array_agg(grp),
           pg_catalog.array_agg(bytes), pg_catalog.sum(coalesce(bytes, max_bytes + 1))
      INTO ids, lanes_of, keyed_of, groups_of, sizes, taken
      FROM (SELECT * FROM placed WHERE place <= lim ORDER BY place, id) AS placed
    HAVING pg_catalog.count(*) > 0;
    next_due := slayq._private_next_due(tasks, moment);
  END IF;

  -- To learn how long a large payload is, Postgres unpacks all of it. So nobody asks for more of them than are taken.
  IF taken > max_bytes THEN
    taken := 0;
    share := max_bytes / (SELECT pg_catalog.count(DISTINCT claimant) FROM pg_catalog.unnest(groups_of) AS claimant);
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
    SELECT pg_catalog.array_agg(ids[n] ORDER BY n), pg_catalog.array_agg(lanes_of[n] ORDER BY n),
           pg_catalog.array_agg(keyed_of[n] ORDER BY n)
      INTO ids, lanes_of, keyed_of
      FROM pg_catalog.unnest(kept) AS n;
  END IF;

  IF ids IS NOT NULL THEN
    FOR n IN 1 .. 2 LOOP
      lanes := ARRAY(SELECT held.lane
                       FROM ROWS FROM (pg_catalog.unnest(lanes_of), pg_catalog.unnest(keyed_of)) AS held (lane, keyed)
                      WHERE held.lane IS NOT NULL AND held.keyed = (n = 2));
      CONTINUE WHEN lanes = '{}';
      UPDATE graphile_worker._private_job_queues AS queue
         SET locked_by = worker, locked_at = stamps[n]
       WHERE queue.id = ANY (lanes);
    END LOOP;
    RETURN QUERY
    UPDATE graphile_worker._private_jobs AS job
       SET attempts = job.attempts + 1, locked_by = worker,
           locked_at = stamps[CASE WHEN job.key IS NULL THEN 1 ELSE 2 END]
     WHERE job.id = ANY (ids)
    RETURNING job.id, job.task_id,
              CASE WHEN pg_catalog.octet_length(job.payload::pg_catalog.text) <= max_payload
                   THEN job.payload::pg_catalog.text END,
              job.attempts, job.max_attempts, job.key, job.priority, pg_catalog.date_part('epoch', job.run_at),
              job.job_queue_id, numbers[CASE WHEN job.key IS NULL THEN 1 ELSE 2 END], job.revision, NULL::pg_catalog.int4;
    PERFORM FROM slayq._private_daemons AS daemon
      WHERE daemon.worker = _private_claim_jobs.worker AND daemon.beat >= 0
        FOR KEY SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'Nothing claimed: % is no living daemon', worker
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
  END IF;

  IF next_due < moment + '1 day'::pg_catalog.interval THEN
    due := pg_catalog.date_part('epoch', next_due - pg_catalog.clock_timestamp());
  END IF;
  RETURN NEXT;
END
$$;

-- Sorts that only an index's beginning is left of: Postgres 12 has none, and would not know the setting.
DO $$
BEGIN
  IF pg_catalog.current_setting('enable_incremental_sort', true) IS NOT NULL THEN
    ALTER FUNCTION slayq._private_claim_jobs(integer[], integer[], integer[], text, bigint, bigint, integer, integer)
      SET enable_incremental_sort = off;
  END IF;
END
$$;

SELECT slayq._private_shut_out();
