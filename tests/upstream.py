"""A database as upstream's server leaves it: an imitation, with upstream's names and its known faults."""

from twisted.internet.task import Clock

from slayq_tw.migrations import migrate
from tests.application import FUNCTIONS, Application
from tests.blocking import BlockingDatabase, finish

UPSTREAM = """
CREATE SCHEMA slayq;
CREATE TABLE slayq._migrations (
  id bigserial PRIMARY KEY, migration text UNIQUE, created_at timestamptz DEFAULT now()
);
INSERT INTO slayq._migrations (migration) VALUES ('20240110.up.sql');
CREATE TABLE slayq._private_waiting_on (
  id bigserial PRIMARY KEY,
  job_id bigint REFERENCES graphile_worker._private_jobs (id) ON DELETE CASCADE,
  event text, match_key text, match_value text, step_name text, expires_at timestamptz NOT NULL
);
CREATE TABLE slayq._private_invoker (
  id bigserial PRIMARY KEY,
  job_id bigint REFERENCES graphile_worker._private_jobs (id) ON DELETE CASCADE,
  job_key text NOT NULL, step_name text
);

CREATE FUNCTION public.add_worker_job(
  identifier text, payload json DEFAULT NULL, queue_name text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
  max_attempts int DEFAULT NULL, job_key text DEFAULT NULL, priority int DEFAULT NULL, flags text[] DEFAULT NULL,
  job_key_mode text DEFAULT 'replace'
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM graphile_worker.add_job(identifier, payload, queue_name, run_at, max_attempts, job_key, priority, flags,
                                  job_key_mode);
END $$;

CREATE FUNCTION public.wait_for_worker_event(
  _job_key text, _event text, _match_key text, _match_value text, _step_name text, _expires_at timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  found_id bigint;
BEGIN
  SELECT id INTO found_id FROM graphile_worker.jobs WHERE key = _job_key;
  IF found_id IS NULL THEN
    RAISE EXCEPTION 'Job not found: %', _job_key;
  END IF;
  INSERT INTO slayq._private_waiting_on (job_id, event, match_key, match_value, step_name, expires_at)
  VALUES (found_id, _event, _match_key, _match_value, _step_name, _expires_at);
END $$;

CREATE FUNCTION public.wait_for_invocation(_invoker_job_key text, _target_job_key text, _step_name text)
RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
  INSERT INTO slayq._private_invoker (job_id, job_key, step_name)
  SELECT id, _target_job_key, _step_name FROM graphile_worker.jobs WHERE key = _invoker_job_key
$$;

CREATE FUNCTION public.trigger_waiting_invoker(_job_key text, _result json)
RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
  UPDATE graphile_worker._private_jobs j
     SET run_at = now(), payload = jsonb_set(payload::jsonb, ('{cache,' || i.step_name || '}')::text[], _result::jsonb)
    FROM slayq._private_invoker i
   WHERE i.job_id = j.id AND i.job_key = _job_key
$$;

CREATE FUNCTION public.trigger_waiting_workers(_event text, _match_key text, _match_value text)
RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
  UPDATE graphile_worker._private_jobs j
     SET run_at = now(), payload = jsonb_set(payload::jsonb, ('{cache,' || w.step_name || '}')::text[], 'true')
    FROM slayq._private_waiting_on w
   WHERE w.job_id = j.id AND w.event = _event AND w.match_key = _match_key AND w.match_value = _match_value
$$;

CREATE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text)
RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
  DELETE FROM graphile_worker._private_jobs j
   WHERE j.payload ->> 'event' = event AND j.payload -> 'data' ->> matchkey = matchval
$$;
"""


def migrate_url(url: str) -> None:
    """Bring the database up to date, as the daemon does at its start."""
    database = BlockingDatabase(url)
    try:
        finish(migrate(database, Clock()))
    finally:
        database.close()


def forget_slayq(app: Application) -> None:
    """Take everything of this project's out of a migrated database, except the job schema."""
    for name in FUNCTIONS:
        app.rows(f"DROP FUNCTION IF EXISTS public.{name}")
    app.rows("DROP SCHEMA IF EXISTS slayq CASCADE")
    for (index,) in app.rows("SELECT indexname::text FROM pg_indexes WHERE indexname LIKE 'slayq\\_%'"):
        app.rows(f"DROP INDEX graphile_worker.{index}")


def make_upstream(app: Application) -> None:
    """Turn a migrated database into one that upstream's server made."""
    forget_slayq(app)
    app.rows(UPSTREAM)
