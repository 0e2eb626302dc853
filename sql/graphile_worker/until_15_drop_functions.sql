-- Every function of the schema, found in the catalogue: at revision 13, two have other argument types, and left in
-- place they would make calls ambiguous.
DO $$
DECLARE
  routine record;
BEGIN
  FOR routine IN
    SELECT proname, pg_catalog.pg_get_function_identity_arguments(oid) AS arguments
      FROM pg_catalog.pg_proc
     WHERE pronamespace = 'graphile_worker'::pg_catalog.regnamespace AND proname <> 'tg_jobs__after_insert'
  LOOP
    EXECUTE pg_catalog.format('DROP FUNCTION graphile_worker.%I(%s)', routine.proname, routine.arguments);
  END LOOP;
END
$$;
