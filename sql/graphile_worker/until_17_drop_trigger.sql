-- Since revision 18 the functions announce new jobs themselves.
DROP TRIGGER IF EXISTS _900_after_insert ON graphile_worker._private_jobs;
DROP FUNCTION IF EXISTS graphile_worker.tg_jobs__after_insert();
