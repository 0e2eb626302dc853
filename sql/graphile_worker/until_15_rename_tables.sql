-- Revision 16. Constraints, indexes and sequences keep their names.
ALTER TABLE graphile_worker.jobs RENAME TO _private_jobs;
ALTER TABLE graphile_worker.job_queues RENAME TO _private_job_queues;
ALTER TABLE graphile_worker.tasks RENAME TO _private_tasks;
ALTER TABLE graphile_worker.known_crontabs RENAME TO _private_known_crontabs;
