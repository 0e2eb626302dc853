-- The tables of schema slayq. Upstream's database has the first two already, with the same columns: they and the waits
-- in them are kept. What this project adds has tables of its own, so that upstream can go on with the database.
--
-- Every file of this folder pins the path first: migrations may run as a superuser, and nobody's function or type in
-- another schema shall be taken for one of Postgres's.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Who may go on calling upstream's functions, of which everybody was allowed everything: the roles that can log in
-- now. (Not our own, which will own them.) Noted before anything of upstream's is changed; the grants follow in the
-- transaction that replaces the functions, the warning when the daemon has read the note. A database without upstream's
-- tables is not adopted: functions that happen to have these names there give nobody anything.
CREATE TABLE slayq._private_adopted_grants (
  function_name text NOT NULL,
  role_name text NOT NULL,
  grantable boolean NOT NULL DEFAULT false,
  announced boolean NOT NULL DEFAULT false,
  PRIMARY KEY (function_name, role_name)
);

INSERT INTO slayq._private_adopted_grants (function_name, role_name)
SELECT DISTINCT routine.proname, role.rolname
  FROM pg_catalog.pg_proc AS routine
 CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner))) AS acl
 CROSS JOIN pg_catalog.pg_roles AS role
 WHERE pg_catalog.to_regclass('slayq._private_waiting_on') IS NOT NULL
   AND routine.pronamespace = 'public'::pg_catalog.regnamespace
   AND routine.proname IN ('add_worker_job', 'wait_for_worker_event', 'wait_for_invocation', 'trigger_waiting_invoker',
                           'trigger_waiting_workers', 'cancel_pending_tasks')
   AND acl.grantee = 0 AND acl.privilege_type = 'EXECUTE'
   AND role.rolcanlogin AND role.rolname NOT IN ('anon', 'authenticated', CURRENT_USER)
   AND pg_catalog.left(role.rolname::text, 3) <> 'pg_';

-- A job waits for an event. (The table and column names are upstream's.)
CREATE TABLE IF NOT EXISTS slayq._private_waiting_on (
  id bigserial PRIMARY KEY,
  job_id bigint NOT NULL REFERENCES graphile_worker._private_jobs (id) ON DELETE CASCADE,
  event text,
  match_key text,
  match_value text,
  step_name text,
  expires_at timestamptz NOT NULL
);

-- A job waits for the result of the job with the key `job_key`. (Likewise upstream's.)
CREATE TABLE IF NOT EXISTS slayq._private_invoker (
  id bigserial PRIMARY KEY,
  job_id bigint NOT NULL REFERENCES graphile_worker._private_jobs (id) ON DELETE CASCADE,
  job_key text NOT NULL,
  step_name text
);

-- Which events fired lately: one row for each triple. `hash` is slayq._private_triple's, by which a trigger and a wait
-- are serialised too: texts of any length can be looked up by it, and they tell its collisions apart.
CREATE TABLE slayq._private_fired (
  hash bigint NOT NULL,
  event text NOT NULL,
  match_key text NOT NULL,
  match_value text NOT NULL,
  fired_at timestamptz NOT NULL
);

CREATE INDEX fired_hash_index ON slayq._private_fired (hash);
CREATE INDEX fired_age_index ON slayq._private_fired (fired_at);

-- The last result that was handed over under each target key, whether somebody waited for it or not.
CREATE TABLE slayq._private_results (
  hash bigint NOT NULL,
  job_key text NOT NULL,
  result json NOT NULL,
  fired_at timestamptz NOT NULL
);

CREATE INDEX results_hash_index ON slayq._private_results (hash);
CREATE INDEX results_age_index ON slayq._private_results (fired_at);

-- Jobs that were added under a key while a delivery held it: what fired since that delivery began counts for them. No
-- foreign key, which would cost every completed job a look-up: a note may go once it is as old as the memory, because
-- from then on the job's own updated_at admits the same events.
CREATE TABLE slayq._private_references (
  job_id bigint PRIMARY KEY,
  delivery_id bigint NOT NULL,
  locked_at timestamptz NOT NULL,
  noted_at timestamptz NOT NULL
);

CREATE INDEX references_age_index ON slayq._private_references (noted_at);

-- `memory`: how long fired events, results and references are remembered. The daemon raises it when its deliveries may
-- take longer.
CREATE TABLE slayq._private_settings (
  name text PRIMARY KEY,
  value interval NOT NULL
);

INSERT INTO slayq._private_settings (name, value) VALUES ('memory', interval '15 minutes');

-- Nobody but the owner reads or writes any of it. Supabase's default privileges may just have granted everything on new
-- tables to its three roles, so these are named.
ALTER TABLE slayq._private_adopted_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_waiting_on ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_invoker ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_fired ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_results ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_references ENABLE ROW LEVEL SECURITY;
ALTER TABLE slayq._private_settings ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
  grantee pg_catalog.text;
BEGIN
  FOR grantee IN
    SELECT 'PUBLIC'
     UNION ALL
    SELECT pg_catalog.quote_ident(role.rolname)
      FROM pg_catalog.pg_roles AS role
     WHERE role.rolname IN ('anon', 'authenticated', 'service_role')
  LOOP
    EXECUTE 'REVOKE ALL ON SCHEMA slayq FROM ' || grantee;
    EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA slayq FROM ' || grantee;
    EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA slayq FROM ' || grantee;
  END LOOP;
END
$$;
