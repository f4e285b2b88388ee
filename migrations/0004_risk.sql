-- One row. Every change of a rule adds one, so that each process knows when to read them again.
CREATE TABLE risk_version (
  id {int} NOT NULL PRIMARY KEY,
  version {int} NOT NULL
) {strict};
INSERT INTO risk_version (id, version) VALUES (1, 0);

-- A rule is never changed, only added and removed: what fired once can always be read.
CREATE TABLE risk_rules (
  number {serial},
  id {text} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL REFERENCES entities (id),
  live {int} NOT NULL,
  -- NULL: a rule of the whole entity.
  merchant_id {text},
  kind {text} NOT NULL,
  effect {int} NOT NULL,
  score {int} NOT NULL,
  spec {text} NOT NULL,
  entries {int} NOT NULL,
  created_at {int} NOT NULL,
  -- NULL while a long list is still being written.
  begun_at {int},
  removed_at {int}
) {strict};
CREATE INDEX risk_rules_by_entity ON risk_rules (entity_id, live, number) WHERE removed_at IS NULL;
-- All that are in force, without the removed ones before them.
CREATE INDEX risk_rules_in_force ON risk_rules (number) WHERE removed_at IS NULL;

-- A rule's list, sorted and packed, in parts of at most 64 KiB.
CREATE TABLE risk_lists (
  rule_number {int} NOT NULL REFERENCES risk_rules (number),
  part {int} NOT NULL,
  data {bytes} NOT NULL,
  PRIMARY KEY (rule_number, part)
) {strict};

-- When something was seen last, newest first, thirteen digits each: as many as its limit asks about.
CREATE TABLE risk_windows (
  id {bytes} NOT NULL PRIMARY KEY,
  times {text} NOT NULL,
  expires_at {int} NOT NULL
) {clustered};
CREATE INDEX risk_windows_by_end ON risk_windows (expires_at);

-- What refunds have taken of a day's or a month's volume.
CREATE TABLE risk_volumes (
  rule_number {int} NOT NULL,
  period {text} NOT NULL,
  used_minor {int} NOT NULL,
  expires_at {int} NOT NULL,
  PRIMARY KEY (rule_number, period)
) {clustered};
CREATE INDEX risk_volumes_by_end ON risk_volumes (expires_at);
