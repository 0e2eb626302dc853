-- Where this project, like upstream, notes which of its migrations were applied. Upstream's only one counts as
-- applied, or upstream would put its own functions back after a swap.
CREATE TABLE IF NOT EXISTS slayq._migrations (
  id bigserial PRIMARY KEY,
  migration text UNIQUE,
  created_at timestamptz DEFAULT now()
);
INSERT INTO slayq._migrations (migration) VALUES ('20240110.up.sql') ON CONFLICT DO NOTHING;
