-- Who may call the functions in public. `%(name)s` are parameters.

-- name: unknown_roles
-- Of the configured roles, those that do not exist.
SELECT wanted.name
  FROM pg_catalog.unnest(%(roles)s::text[]) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS role WHERE role.rolname = wanted.name)
 ORDER BY wanted.name;

-- name: grant_execute
-- Bring the grants in line. Returns what changed: granted or revoked, the function, the role.
SELECT change, function_name, role_name FROM slayq._private_grant_execute(%(roles)s::text[]);

-- name: announce_adopted
-- The roles that got grants of their own when the database was adopted and of which nobody was told yet.
UPDATE slayq._private_adopted_grants SET announced = true WHERE NOT announced RETURNING role_name;

-- name: close_schemas
-- Take from roles what they were granted in schemas slayq and graphile_worker. Returns the object and the role.
SELECT object_name, role_name FROM slayq._private_close_schemas(%(roles)s::text[]);

-- name: open_relations
-- What these roles can still reach there, because everybody can, or a role that they belong to, or because it is not
-- ours to revoke. Returns the object and the role.
SELECT pg_catalog.format('%%I.%%I', schema.nspname, relation.relname), role.rolname::text
  FROM pg_catalog.pg_roles AS role
  JOIN pg_catalog.pg_namespace AS schema
    ON schema.nspname IN ('slayq', 'graphile_worker') AND pg_catalog.has_schema_privilege(role.oid, schema.oid, 'USAGE')
  JOIN pg_catalog.pg_class AS relation ON relation.relnamespace = schema.oid AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
 WHERE role.rolname = ANY (%(roles)s::text[])
   AND (pg_catalog.has_any_column_privilege(role.oid, relation.oid, 'SELECT, INSERT, UPDATE')
        OR pg_catalog.has_table_privilege(role.oid, relation.oid, 'DELETE, TRUNCATE'))
 ORDER BY 1, 2;
