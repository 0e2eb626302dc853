-- Nobody reaches the schemas by the Supabase roles, which whoever has an application's public key acts as. Default
-- privileges may have given them everything in schema graphile_worker, as they do with whatever is made.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Revoke what these roles were granted on schemas slayq and graphile_worker and on what is in them, as far as we own it.
-- Returns what that was.
CREATE FUNCTION slayq._private_close_schemas(roles text[])
RETURNS TABLE (object_name text, role_name text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  step pg_catalog.record;
BEGIN
  FOR step IN
    WITH schemas AS (
      SELECT schema.oid, schema.nspname, schema.nspowner, schema.nspacl
        FROM pg_catalog.pg_namespace AS schema
       WHERE schema.nspname IN ('slayq', 'graphile_worker')
    ), relations AS (
      SELECT relation.oid, relation.relowner, relation.relacl,
             CASE relation.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
             pg_catalog.format('%I.%I', schemas.nspname, relation.relname) AS name
        FROM schemas JOIN pg_catalog.pg_class AS relation ON relation.relnamespace = schemas.oid
       WHERE relation.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    ), objects AS (
      SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(schemas.nspname) AS name, schemas.nspowner AS owner,
             schemas.nspacl AS acl
        FROM schemas
       UNION ALL
      SELECT relations.kind, relations.name, relations.relowner, relations.relacl
        FROM relations
       UNION ALL
      SELECT relations.kind, relations.name, relations.relowner, attribute.attacl
        FROM relations JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = relations.oid
       UNION ALL
      SELECT 'ROUTINE', routine.oid::pg_catalog.regprocedure::pg_catalog.text, routine.proowner, routine.proacl
        FROM schemas JOIN pg_catalog.pg_proc AS routine ON routine.pronamespace = schemas.oid
    )
    SELECT DISTINCT objects.kind, objects.name, role.rolname::pg_catalog.text AS role
      FROM objects
     CROSS JOIN LATERAL pg_catalog.aclexplode(objects.acl) AS entry
      JOIN pg_catalog.pg_roles AS role ON role.oid = entry.grantee
     WHERE role.rolname = ANY (roles) AND role.oid <> objects.owner
       AND pg_catalog.pg_has_role(objects.owner, 'USAGE')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %I CASCADE', step.kind, step.name, step.role);
    object_name := step.name;
    role_name := step.role;
    RETURN NEXT;
  END LOOP;
END
$$;

REVOKE ALL ON FUNCTION slayq._private_close_schemas(text[]) FROM PUBLIC;

-- service_role's key is a server's, and later grants to it are the operator's affair; now nothing tells those from the
-- default privileges'.
SELECT slayq._private_close_schemas(ARRAY['anon', 'authenticated', 'service_role']);
