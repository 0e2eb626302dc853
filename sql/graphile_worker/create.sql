-- The job schema from nothing, at its final state. Names are part of the interface: later migrations of Graphile
-- Worker's may refer to them. The rows of `migrations` come first, in the program: they are what serialises us with a
-- Node worker that installs at the same moment.

CREATE TYPE graphile_worker.job_spec AS (
  identifier text,
  payload json,
  queue_name text,
  run_at timestamptz,
  max_attempts smallint,
  job_key text,
  priority smallint,
  flags text[]
);

CREATE TABLE graphile_worker._private_tasks (
  id integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME graphile_worker.tasks_id_seq) CONSTRAINT tasks_pkey PRIMARY KEY,
  identifier text NOT NULL
    CONSTRAINT tasks_identifier_key UNIQUE
    CONSTRAINT tasks_identifier_check CHECK (length(identifier) <= 128)
);

-- One row for each serial queue that was ever used: its mutex.
CREATE TABLE graphile_worker._private_job_queues (
  id integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME graphile_worker.job_queues_id_seq)
    CONSTRAINT job_queues_pkey1 PRIMARY KEY,
  queue_name text NOT NULL
    CONSTRAINT job_queues_queue_name_key UNIQUE
    CONSTRAINT job_queues_queue_name_check CHECK (length(queue_name) <= 128),
  locked_at timestamptz,
  locked_by text,
  is_available boolean GENERATED ALWAYS AS (locked_at IS NULL) STORED NOT NULL
);

CREATE TABLE graphile_worker._private_jobs (
  id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME graphile_worker.jobs_id_seq1) CONSTRAINT jobs_pkey1 PRIMARY KEY,
  job_queue_id integer,
  task_id integer NOT NULL,
  payload json DEFAULT '{}'::json NOT NULL,
  priority smallint DEFAULT 0 NOT NULL,
  run_at timestamptz DEFAULT now() NOT NULL,
  attempts smallint DEFAULT 0 NOT NULL,
  max_attempts smallint DEFAULT 25 NOT NULL CONSTRAINT jobs_max_attempts_check CHECK (max_attempts >= 1),
  last_error text,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  key text
    CONSTRAINT jobs_key_key1 UNIQUE
    CONSTRAINT jobs_key_check CHECK (length(key) > 0 AND length(key) <= 512),
  locked_at timestamptz,
  locked_by text,
  revision integer DEFAULT 0 NOT NULL,
  flags jsonb,
  is_available boolean GENERATED ALWAYS AS (locked_at IS NULL AND attempts < max_attempts) STORED NOT NULL
);

CREATE INDEX jobs_main_index ON graphile_worker._private_jobs (priority, run_at)
  INCLUDE (id, task_id, job_queue_id) WHERE is_available = true;
CREATE INDEX jobs_no_queue_index ON graphile_worker._private_jobs (priority, run_at)
  INCLUDE (id, task_id) WHERE is_available = true AND job_queue_id IS NULL;

CREATE TABLE graphile_worker._private_known_crontabs (
  identifier text CONSTRAINT known_crontabs_pkey PRIMARY KEY,
  known_since timestamptz NOT NULL,
  last_execution timestamptz
);

-- No policies: only the owner sees and writes rows.
ALTER TABLE graphile_worker._private_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE graphile_worker._private_job_queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE graphile_worker._private_tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE graphile_worker._private_known_crontabs ENABLE ROW LEVEL SECURITY;
