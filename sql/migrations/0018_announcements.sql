-- Announcing jobs without queueing for it. NOTIFY takes one lock for the whole database, from before a transaction's
-- commit until after it: when each of two dozen sessions announces what it stores, they commit one after the other.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Until when the allowance of announcements is used up, in microseconds of the server's clock. A sequence, because
-- writing it waits for no other transaction and reading it sees what those under way have written.
CREATE SEQUENCE slayq._private_announced;

-- Whoever announces holds one of these rows until its commit, so that few wait for the lock at a time. Rows, because
-- anybody who can log in could take an advisory lock.
CREATE TABLE slayq._private_announcers (number integer PRIMARY KEY);
INSERT INTO slayq._private_announcers (number) VALUES (1), (2);
ALTER TABLE slayq._private_announcers ENABLE ROW LEVEL SECURITY;

-- Wake idle workers, as Graphile Worker announces new jobs; the random number keeps equal notices apart. Each call is
-- announced as long as there are no more than 500 a second, of which the allowance saves up a second's worth, and no more
-- than two transactions that are about to announce. A third costs 25 times as much, so that those that stay open hold up
-- nobody for longer than 50 ms. Once half of the allowance is used, notices say `again`: who hears that looks again a little
-- later, and then at times, for what was stored and not announced.
--
-- A transaction that uses the allowance and then rolls back has used it for nothing, and one that is not announced may
-- commit much later: the daemon's repeated looks find what comes of both, and at the latest the one that it takes each
-- second. A clock that was put back opens the gate.
CREATE OR REPLACE FUNCTION slayq._private_announce(jobs integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  moment pg_catalog.int8 := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000;
  used pg_catalog.int8 := pg_catalog.pg_sequence_last_value('slayq._private_announced'::pg_catalog.regclass) - moment;
BEGIN
  IF jobs <= 0 OR jobs IS NULL THEN
    RETURN;
  END IF;
  IF used IS NULL OR used < 0 OR used > 1000000 THEN
    used := 0;
  END IF;
  IF used > 998000 THEN
    RETURN;
  END IF;
  PERFORM FROM slayq._private_announcers AS announcer
    ORDER BY announcer.number LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
  IF FOUND THEN
    used := used + 2000;
  ELSIF used <= 950000 THEN
    used := used + 50000;
  ELSE
    RETURN;
  END IF;
  PERFORM pg_catalog.setval('slayq._private_announced'::pg_catalog.regclass, moment + used);
  PERFORM pg_catalog.pg_notify('jobs:insert',
    pg_catalog.format('{"r":%s,"count":%s%s}', pg_catalog.random(), jobs,
                      CASE WHEN used > 500000 THEN ',"again":true' ELSE '' END));
END
$$;

SELECT slayq._private_shut_out();
