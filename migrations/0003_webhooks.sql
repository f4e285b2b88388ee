-- Deliveries wait beside each other by their receiver's host, so that a slow one holds up nobody else's. Other jobs have
-- no lane.
ALTER TABLE jobs ADD COLUMN lane {text} NOT NULL DEFAULT '';
CREATE INDEX jobs_by_lane ON jobs (kind, lane, run_at);

-- One row for each final result, written with it. Its body is made of what it tells of when it is told.
CREATE TABLE events (
  number {serial},
  id {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  transaction_id {bytes} NOT NULL,
  -- The first charge: its events are told in order.
  first_id {bytes} NOT NULL,
  created_at {int} NOT NULL,
  -- What has become of the delivery, how many tries there were, and how many of them in this run of the schedule.
  delivery {int} NOT NULL,
  tries {int} NOT NULL,
  step {int} NOT NULL
) {strict};
CREATE INDEX events_by_entity ON events (entity_id, live, number);
CREATE INDEX events_by_first ON events (first_id, number);

-- Every try: the receiver's status and the beginning of its answer, or why there was none.
CREATE TABLE webhook_tries (
  event_id {bytes} NOT NULL,
  number {int} NOT NULL,
  at {int} NOT NULL,
  ms {int} NOT NULL,
  status {int},
  answer {text},
  problem {text},
  PRIMARY KEY (event_id, number)
) {strict};

-- While a secret is being changed the one before signs too.
ALTER TABLE webhook_secrets ADD COLUMN before_key_id {int};
ALTER TABLE webhook_secrets ADD COLUMN before_wrapped_key {bytes};
ALTER TABLE webhook_secrets ADD COLUMN before_sealed {bytes};
ALTER TABLE webhook_secrets ADD COLUMN before_until {int};
