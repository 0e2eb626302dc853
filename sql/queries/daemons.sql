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
-- Begin to return what a daemon left whose beat stands still, unless somebody else does, or it beats after all. The row
-- goes when nothing is left.
SELECT worker FROM slayq._private_daemons WHERE worker = %(worker)s AND beat = %(beat)s FOR UPDATE SKIP LOCKED;

-- name: leave
DELETE FROM slayq._private_daemons WHERE worker = %(worker)s;
