-- Who may call the six functions, brought in line at every start of the daemon.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Take EXECUTE from PUBLIC, anon and authenticated, and give it to `grantees` and to Supabase's service_role, as far as
-- these roles exist. Everybody else's grants stay: an operator gave them. Returns what changed.
CREATE FUNCTION slayq._private_grant_execute(grantees text[])
RETURNS TABLE (change text, function_name text, role_name text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  step pg_catalog.record;
BEGIN
  FOR step IN
    WITH ours AS (
      SELECT routine.oid, routine.proname::pg_catalog.text AS name,
             pg_catalog.format('FUNCTION public.%I(%s)', routine.proname,
                               pg_catalog.pg_get_function_identity_arguments(routine.oid)) AS target,
             coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner)) AS acl
        FROM pg_catalog.pg_proc AS routine
       WHERE routine.pronamespace = 'public'::pg_catalog.regnamespace
         AND routine.proname IN ('add_worker_job', 'wait_for_worker_event', 'wait_for_invocation',
                                 'trigger_waiting_invoker', 'trigger_waiting_workers', 'cancel_pending_tasks')
    ), held AS (
      SELECT ours.oid, entry.grantee
        FROM ours CROSS JOIN LATERAL pg_catalog.aclexplode(ours.acl) AS entry
       WHERE entry.privilege_type = 'EXECUTE'
    ), roles AS (
      SELECT role.oid, role.rolname::pg_catalog.text AS name, pg_catalog.quote_ident(role.rolname) AS quoted
        FROM pg_catalog.pg_roles AS role
       UNION ALL
      SELECT 0, 'PUBLIC', 'PUBLIC'
    )
    SELECT 'revoked' AS change, ours.name AS function_name, roles.name AS role_name,
           pg_catalog.format('REVOKE ALL ON %s FROM %s', ours.target, roles.quoted) AS statement
      FROM ours JOIN held USING (oid) JOIN roles ON roles.oid = held.grantee
     WHERE roles.oid = 0 OR roles.name IN ('anon', 'authenticated')
     UNION ALL
    SELECT 'granted', ours.name, roles.name, pg_catalog.format('GRANT EXECUTE ON %s TO %s', ours.target, roles.quoted)
      FROM ours CROSS JOIN roles
     WHERE roles.oid <> 0 AND (roles.name = 'service_role' OR roles.name = ANY (grantees))
       AND NOT EXISTS (SELECT FROM held WHERE held.oid = ours.oid AND held.grantee = roles.oid)
  LOOP
    EXECUTE step.statement;
    change := step.change;
    function_name := step.function_name;
    role_name := step.role_name;
    RETURN NEXT;
  END LOOP;
END
$$;

-- Nothing of schema slayq is for others, except what the index on the job table evaluates as whoever adds a job. New
-- functions are everybody's by default, on Supabase its roles' by name.
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
    EXECUTE 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA slayq FROM ' || grantee;
  END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION slayq._private_member(json, text), slayq._private_text(json) TO PUBLIC;
