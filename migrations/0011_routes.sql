-- By which acquirer a merchant's payments go, and as whom the merchant is known there. A row never changes but for its end:
-- an attempt names its route, so what is reversed weeks later still finds its terminal and acceptor.
CREATE TABLE routes (
  id {serial},
  merchant_id {text} NOT NULL REFERENCES merchants (id),
  live {int} NOT NULL,
  -- NULL: every currency that has no route of its own.
  currency {text},
  -- 1 is asked first; 2 where the first did not take it.
  rank {int} NOT NULL,
  acquirer {text} NOT NULL,
  -- ISO 8583 fields 41, 42, 18 and 43.
  terminal {text} NOT NULL,
  acceptor {text} NOT NULL,
  category {text},
  place {text},
  created_at {int} NOT NULL,
  ended_at {int}
) {strict};
CREATE UNIQUE INDEX routes_standing ON routes (merchant_id, live, COALESCE(currency, ''), rank) WHERE ended_at IS NULL;

-- How far each acquirer's trace numbers (field 11) have been given out: processes take them in blocks, none twice.
CREATE TABLE traces (
  acquirer {text} NOT NULL PRIMARY KEY,
  next {int} NOT NULL
) {strict};

-- The route, and what names the message at the host: fields 11 and 37. NULL where the acquirer has none, as the sandbox.
ALTER TABLE attempts ADD COLUMN route_id {int};
ALTER TABLE attempts ADD COLUMN stan {int};
ALTER TABLE attempts ADD COLUMN rrn {text};
-- What a late answer looks for, and a record of the acquirer's.
CREATE INDEX attempts_by_rrn ON attempts (acquirer, rrn) WHERE rrn IS NOT NULL;
