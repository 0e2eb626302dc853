-- What the migration runner asks. All of it runs inside its transactions.

-- name: begin_turn
-- Our server process; and a lock that earlier versions of this program wait for, if nobody has it.
SELECT pg_backend_pid(), pg_try_advisory_xact_lock(%(lock)s);

-- name: take_turn
-- One transaction at a time changes the schemas. Nobody but the table's owner may lock it.
LOCK TABLE slayq._migrations IN SHARE ROW EXCLUSIVE MODE;

-- name: holders
-- Who has what a server process waits for: process (0 for a prepared transaction), application, role.
SELECT DISTINCT holder.pid, activity.application_name, activity.usename::text
  FROM unnest(pg_blocking_pids(%(process)s)) AS holder (pid)
  LEFT JOIN pg_stat_activity AS activity ON activity.pid = holder.pid
 ORDER BY holder.pid;

-- name: server
SELECT pg_catalog.current_setting('server_version_num')::integer, CURRENT_USER, pg_catalog.current_database();

-- name: has_table
SELECT pg_catalog.to_regclass(%(table)s) IS NOT NULL;

-- name: has_schema
SELECT pg_catalog.to_regnamespace(%(schema)s) IS NOT NULL;

-- name: has_breaking
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute AS attribute
                WHERE attribute.attrelid = 'graphile_worker.migrations'::pg_catalog.regclass
                  AND attribute.attname = 'breaking' AND NOT attribute.attisdropped);

-- name: create_migrations
CREATE TABLE graphile_worker.migrations (
  id integer CONSTRAINT migrations_pkey PRIMARY KEY,
  ts timestamptz DEFAULT now() NOT NULL,
  breaking boolean DEFAULT false NOT NULL
);

-- name: add_breaking
ALTER TABLE graphile_worker.migrations ADD COLUMN breaking boolean DEFAULT false NOT NULL;

-- name: mark_breaking
UPDATE graphile_worker.migrations SET breaking = true WHERE id = ANY (%(breaking)s::integer[]);

-- name: revision
SELECT max(id), max(id) FILTER (WHERE breaking) FROM graphile_worker.migrations;

-- name: record_revision
INSERT INTO graphile_worker.migrations (id, breaking) VALUES (%(id)s, %(breaking)s);

-- name: announce_revision
SELECT pg_catalog.pg_notify('worker:migrate', %(payload)s);

-- name: locked_jobs
-- Of a schema whose workers must have been stopped. Who still runs cannot lock anything from here on.
LOCK TABLE graphile_worker.jobs, graphile_worker.job_queues IN SHARE ROW EXCLUSIVE MODE;
SELECT (SELECT count(*) FROM graphile_worker.jobs WHERE locked_at > now() - interval '4 hours')
     + (SELECT count(*) FROM graphile_worker.job_queues WHERE locked_at > now() - interval '4 hours');

-- name: rows_hidden
SELECT pg_catalog.row_security_active('graphile_worker._private_jobs');

-- name: applied
SELECT migration FROM slayq._migrations;

-- name: record_migration
INSERT INTO slayq._migrations (migration, created_at) VALUES (%(name)s, now());
