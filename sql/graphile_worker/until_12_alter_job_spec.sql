-- Revision 13.
ALTER TYPE graphile_worker.job_spec ALTER ATTRIBUTE max_attempts TYPE smallint;
ALTER TYPE graphile_worker.job_spec ALTER ATTRIBUTE priority TYPE smallint;
