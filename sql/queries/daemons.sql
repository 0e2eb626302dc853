-- The table of daemons. `%(name)s` are parameters.

-- name: enter
-- Enter our row. The number is our own count, which goes on when the row was taken away: no watcher may take a new row
-- for the one that it has seen stand still. Returns what `beat` does.
WITH entered AS (
  INSERT INTO slayq._private_daemons AS daemon (worker, beat, place, process)
  VALUES (%(worker)s, %(beat)s, %(place)s, %(process)s)
      ON CONFLICT (worker) DO UPDATE SET beat = excluded.beat, place = excluded.place,
                                         process = excluded.process
  RETURNING daemon.worker, daemon.beat, daemon.place, daemon.process
)
SELECT seen.worker, seen.beat, seen.place, seen.process, pg_catalog.pg_postmaster_start_time()
  FROM (SELECT worker, beat, place, process FROM slayq._private_daemons WHERE worker <> %(worker)s
         UNION ALL
        SELECT worker, beat, place, process FROM entered) AS seen;

-- name: beat
-- Beat, if our row is there and not marked as dead. Returns each daemon, its beat, and since when the server runs;
-- ourselves only if it was: the snapshot may still show a row that is just being deleted. A beat that a crash of the
-- server loses is made up for by the next one, so nobody waits for the disk.
SET LOCAL synchronous_commit = off;
WITH beaten AS (
  UPDATE slayq._private_daemons AS daemon
     SET beat = %(beat)s
   WHERE daemon.worker = %(worker)s AND daemon.beat >= 0
  RETURNING daemon.worker, daemon.beat, daemon.place, daemon.process
)
SELECT seen.worker, seen.beat, seen.place, seen.process, pg_catalog.pg_postmaster_start_time()
  FROM (SELECT worker, beat, place, process FROM slayq._private_daemons WHERE worker <> %(worker)s
         UNION ALL
        SELECT worker, beat, place, process FROM beaten) AS seen;

-- name: recover
-- Return everything of a daemon whose beat stands still, unless it beats after all, or has just claimed, or somebody else
-- does it: whoever finds the row locked leaves it to the others, or to the next look. The row is gone then, or, when a
-- transaction has some of its jobs locked, is marked by a negative beat: everybody sees that it is dead and tries again,
-- and so does the daemon, should it live. The jobs are announced: we may not serve their queues. Returns whether it was
-- us, the jobs, and how many are left.
WITH dead AS MATERIALIZED (
  SELECT daemon.worker
    FROM slayq._private_daemons AS daemon
   WHERE daemon.worker = %(worker)s AND daemon.beat = %(beat)s
     FOR UPDATE SKIP LOCKED
), its AS MATERIALIZED (
  SELECT job.id, job.returned
    FROM dead CROSS JOIN LATERAL slayq._private_return_jobs(dead.worker, '{}', '{}', '{}') AS job
), removed AS (
  DELETE FROM slayq._private_daemons AS daemon
   USING dead
   WHERE daemon.worker = dead.worker AND NOT EXISTS (SELECT FROM its WHERE NOT its.returned)
), marked AS (
  UPDATE slayq._private_daemons AS daemon
     SET beat = least(daemon.beat, -1 - daemon.beat)
    FROM dead
   WHERE daemon.worker = dead.worker AND EXISTS (SELECT FROM its WHERE NOT its.returned)
), found AS MATERIALIZED (
  SELECT ARRAY(SELECT its.id FROM its WHERE its.returned ORDER BY its.id) AS returned,
         (SELECT count(*)::integer FROM its WHERE NOT its.returned) AS left_over
)
SELECT dead.worker, found.returned, found.left_over,
       slayq._private_announce(pg_catalog.cardinality(found.returned))
  FROM dead CROSS JOIN found;

-- name: leave
DELETE FROM slayq._private_daemons WHERE worker = %(worker)s;
