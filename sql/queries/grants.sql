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
