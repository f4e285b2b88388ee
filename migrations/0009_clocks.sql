-- How far the sandbox time of an entity is ahead of the database's clock (contract section 7, the test clock). moving_until: an
-- advance is running, and holds the clock until then, by the database's own clock. retained: how far this entity's cards have
-- been gone through by its own time.
CREATE TABLE test_clocks (
  entity_id {bytes} NOT NULL PRIMARY KEY,
  ahead_ms {int} NOT NULL,
  moving_until {int} NOT NULL,
  retained {int} NOT NULL DEFAULT 0
) {strict};

-- The entity whose test clock moves the job; none for live ones, and for what runs on real time.
ALTER TABLE jobs ADD COLUMN clock {bytes};
CREATE INDEX jobs_by_clock ON jobs (clock, due_at) WHERE clock IS NOT NULL;
UPDATE jobs SET clock = (SELECT entity_id FROM transactions WHERE transactions.id = jobs.subject AND live = 0)
  WHERE kind IN (2, 5);
-- In a lane of their own: however far a test clock leaps, live jobs do not wait behind what it moved.
UPDATE jobs SET lane = 'test' WHERE clock IS NOT NULL;
