-- Replacing functions in public that upstream, or somebody else, has made, with the grants on them.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Make room for one of the six: afterwards there is none of the name in public, or just one that CREATE OR REPLACE can
-- take over, with whatever depends on it. Grants on a dropped one are noted for _private_secure, if the function was
-- ours or that of whoever installed upstream: other people's functions of these names earn nobody anything.
CREATE FUNCTION slayq._private_make_room(function_name text, signature text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  present pg_catalog.record;
BEGIN
  FOR present IN
    SELECT routine.oid, routine.proname, pg_catalog.pg_get_function_identity_arguments(routine.oid) AS arguments,
           -- Whoever owns a SECURITY DEFINER function lends it his rights and may rewrite it, so the owner counts.
           routine.prokind = 'f' AND routine.prorettype = 'pg_catalog.void'::pg_catalog.regtype
             AND NOT routine.proretset
             AND routine.proowner = (SELECT role.oid FROM pg_catalog.pg_roles AS role WHERE role.rolname = CURRENT_USER)
             AND pg_catalog.pg_get_function_arguments(routine.oid) = signature AS fits
      FROM pg_catalog.pg_proc AS routine
     WHERE routine.pronamespace = 'public'::pg_catalog.regnamespace AND routine.proname = function_name
  LOOP
    CONTINUE WHEN present.fits;
    INSERT INTO slayq._private_adopted_grants AS noted (function_name, role_name, grantable, announced)
    SELECT present.proname, role.rolname, acl.is_grantable, true
      FROM pg_catalog.pg_proc AS routine
     CROSS JOIN LATERAL pg_catalog.aclexplode(routine.proacl) AS acl
      JOIN pg_catalog.pg_roles AS role ON role.oid = acl.grantee
     WHERE routine.oid = present.oid AND acl.privilege_type = 'EXECUTE' AND acl.grantee <> routine.proowner
       AND (routine.proowner = (SELECT role.oid FROM pg_catalog.pg_roles AS role WHERE role.rolname = CURRENT_USER)
            OR routine.proowner = (SELECT installed.relowner FROM pg_catalog.pg_class AS installed
                                    WHERE installed.oid = 'slayq._private_waiting_on'::pg_catalog.regclass))
        ON CONFLICT ON CONSTRAINT _private_adopted_grants_pkey
        DO UPDATE SET grantable = noted.grantable OR excluded.grantable;
    EXECUTE pg_catalog.format('DROP ROUTINE public.%I(%s)', present.proname, present.arguments);
  END LOOP;
END
$$;

-- Take a function that has just been made away from everybody, default privileges included, and give it to the roles
-- that are noted.
CREATE FUNCTION slayq._private_secure(function_name text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  target pg_catalog.text;
  role pg_catalog.record;
BEGIN
  SELECT pg_catalog.format('FUNCTION public.%I(%s)', routine.proname,
                           pg_catalog.pg_get_function_identity_arguments(routine.oid))
    INTO STRICT target
    FROM pg_catalog.pg_proc AS routine
   WHERE routine.pronamespace = 'public'::pg_catalog.regnamespace AND routine.proname = function_name;
  EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', target);
  FOR role IN
    SELECT present.rolname AS name
      FROM pg_catalog.pg_roles AS present
     WHERE present.rolname IN ('anon', 'authenticated')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', target, role.name);
  END LOOP;
  FOR role IN
    SELECT present.rolname AS name, noted.grantable
      FROM slayq._private_adopted_grants AS noted
      JOIN pg_catalog.pg_roles AS present ON present.rolname = noted.role_name
     WHERE noted.function_name = _private_secure.function_name
       AND present.rolname NOT IN ('anon', 'authenticated', CURRENT_USER)
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO %I%s', target, role.name,
                              CASE WHEN role.grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END LOOP;
END
$$;
