-- The table of daemons. `%(name)s` are parameters.

-- name: beat
-- Count our own beat up, entering the row if it is not there. Returns, for each daemon, what identifies it, its beat
-- before this statement, and since when the server runs; a beat of our own that is missing was entered now.
WITH ours AS (
  INSERT INTO slayq._private_daemons AS daemon (worker, place, process)
  VALUES (%(worker)s, %(place)s, %(process)s)
      ON CONFLICT (worker) DO UPDATE SET beat = daemon.beat + 1
)
SELECT worker, beat, place, process, pg_catalog.pg_postmaster_start_time() FROM slayq._private_daemons;

-- name: recover
-- Return everything of a daemon whose beat stands still, unless somebody else does it, or it beats after all. Nobody who
-- waits for its row finds it again. Returns whether it was us, and the jobs.
WITH dead AS MATERIALIZED (
  DELETE FROM slayq._private_daemons WHERE worker = %(worker)s AND beat = %(beat)s RETURNING worker
)
SELECT dead.worker, ARRAY(SELECT slayq._private_return_jobs(dead.worker, '{}', '{}')) FROM dead;

-- name: leave
DELETE FROM slayq._private_daemons WHERE worker = %(worker)s;
