-- Subscriptions (contract section 7). What was agreed stands in `terms` and never changes; how far it has come stands in the
-- columns. Times are the entity's: in a sandbox whose clock was moved they are ahead of the database's.
CREATE TABLE subscriptions (
  number {serial},
  id {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  merchant_id {text} NOT NULL,
  -- 0: its first charge has no result yet, and nobody sees it. Below 4 it lives.
  status {int} NOT NULL,
  created_at {int} NOT NULL,
  amount_minor {int} NOT NULL,
  currency {text} NOT NULL,
  terms {text} NOT NULL,
  -- What each of its charges repeats: addresses, return URLs.
  details {text} NOT NULL,
  -- The stored card that is charged; whether it was stored for this subscription alone. The first charge.
  token_id {bytes} NOT NULL,
  owned {int} NOT NULL,
  first_id {bytes} NOT NULL,
  -- Dates are counted from the anchor in periods; this is the period of the next one.
  anchor_at {int} NOT NULL,
  period {int} NOT NULL,
  completed {int} NOT NULL,
  -- When the scheduler has something to do with it; NULL: never again.
  due_at {int},
  -- Declines since the last success, and when the first of them was.
  failures {int} NOT NULL DEFAULT 0,
  failed_at {int},
  -- The last decline was one that the same card will never be without.
  hopeless {int} NOT NULL DEFAULT 0,
  -- How often in a row the due cycle had no result that counts as a try.
  delays {int} NOT NULL DEFAULT 0,
  last_paid {int},
  -- The charge that is on its way; while it stands no other may begin.
  running {bytes}
) {strict};
CREATE INDEX subscriptions_by_entity ON subscriptions (entity_id, live, number);
-- What a token's delete looks for.
CREATE INDEX subscriptions_by_token ON subscriptions (token_id) WHERE status < 4;

-- Every charge of a cycle, also those that came to nothing.
CREATE TABLE subscription_charges (
  subscription_id {bytes} NOT NULL,
  cycle {int} NOT NULL,
  transaction_id {bytes} NOT NULL,
  PRIMARY KEY (subscription_id, cycle, transaction_id)
) {clustered};

-- A card that was stored for one subscription alone: it is never shown, listed or charged by itself, and goes with it.
ALTER TABLE tokens ADD COLUMN owner {bytes};
CREATE INDEX tokens_by_owner ON tokens (owner) WHERE owner IS NOT NULL;

-- Of a subscription's event: how it stood then. The id stands where no charge brought the change.
ALTER TABLE events ADD COLUMN subscription_id {bytes};
ALTER TABLE events ADD COLUMN subscription_status {int};
ALTER TABLE events ADD COLUMN subscription_completed {int};
ALTER TABLE events ADD COLUMN subscription_due {int};

-- After how many days a declined renewal of this merchant is tried again, counted from the first failure.
ALTER TABLE merchants ADD COLUMN retry_days {text} NOT NULL DEFAULT '1,3,5';
