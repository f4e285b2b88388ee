-- Captures, refunds and voids are transactions with a parent, whose row keeps the balances that they race for.
ALTER TABLE transactions ADD COLUMN parent_id {bytes};
-- Of a hold: what was captured.
ALTER TABLE transactions ADD COLUMN captured_minor {int} NOT NULL DEFAULT 0;
-- Of a purchase or capture: refunds that are asked, unknown or approved; and the approved ones alone.
ALTER TABLE transactions ADD COLUMN refund_reserved_minor {int} NOT NULL DEFAULT 0;
ALTER TABLE transactions ADD COLUMN refunded_minor {int} NOT NULL DEFAULT 0;
-- Children without a known result: of a hold also the one that is being asked. While it is not 0 nothing else may follow.
ALTER TABLE transactions ADD COLUMN unresolved {int} NOT NULL DEFAULT 0;
CREATE INDEX transactions_by_parent ON transactions (parent_id, ref) WHERE parent_id IS NOT NULL;
-- Money at risk: few rows at any time.
CREATE INDEX transactions_unknown ON transactions (created_at) WHERE state = 2;

-- How long an authorization holds the money: seven days.
ALTER TABLE merchants ADD COLUMN hold_ms {int} NOT NULL DEFAULT 604800000;

-- What happens later. `run_at` is when a worker may take it: the due time, or the end of the lease of the one who has it.
CREATE TABLE jobs (
  number {serial},
  kind {int} NOT NULL,
  subject {bytes} NOT NULL,
  due_at {int} NOT NULL,
  run_at {int} NOT NULL,
  attempts {int} NOT NULL,
  UNIQUE (kind, subject)
) {strict};
CREATE INDEX jobs_by_run ON jobs (kind, run_at);

-- Append only. One row is one transfer with both its sides, so every transaction sums to zero by its form.
CREATE TABLE ledger_entries (
  number {serial},
  transaction_id {bytes} NOT NULL,
  merchant_id {text} NOT NULL,
  live {int} NOT NULL,
  currency {text} NOT NULL,
  debit {int} NOT NULL,
  credit {int} NOT NULL,
  amount_minor {int} NOT NULL,
  created_at {int} NOT NULL
) {strict};
CREATE INDEX ledger_by_transaction ON ledger_entries (transaction_id);

-- The chain over the entries: each seal's digest covers its entries and the seal before it.
CREATE TABLE ledger_seals (
  number {int} NOT NULL PRIMARY KEY,
  first_entry {int} NOT NULL,
  last_entry {int} NOT NULL,
  entries {int} NOT NULL,
  digest {bytes} NOT NULL,
  sealed_at {int} NOT NULL
) {strict};

-- What people did to money or rules by hand: who, when, why.
CREATE TABLE audit_log (
  number {serial},
  at {int} NOT NULL,
  who {text} NOT NULL,
  action {text} NOT NULL,
  subject {text} NOT NULL,
  detail {text} NOT NULL
) {strict};

-- How far a sweep over old rows has come, by the last `ref` that it has seen.
CREATE TABLE sweeps (
  name {text} NOT NULL PRIMARY KEY,
  seen {int} NOT NULL
) {strict};
INSERT INTO sweeps (name, seen) VALUES ('card_retention', 0);

-- What an earlier version left: unknown payments are jobs now, holds lapse, and approved money is in the ledger.
INSERT INTO jobs (kind, subject, due_at, run_at, attempts)
  SELECT 1, id, settle_after, settle_after, 0 FROM transactions WHERE state = 2 AND settle_after IS NOT NULL;
UPDATE transactions SET settle_after = NULL WHERE state = 2;
INSERT INTO jobs (kind, subject, due_at, run_at, attempts)
  SELECT 2, id, created_at + 604800000, created_at + 604800000, 0 FROM transactions
  WHERE kind = 1 AND state = 3 AND amount_minor > 0;
INSERT INTO ledger_entries (transaction_id, merchant_id, live, currency, debit, credit, amount_minor, created_at)
  SELECT id, merchant_id, live, currency, CASE kind WHEN 1 THEN 1 ELSE 3 END, CASE kind WHEN 1 THEN 2 ELSE 4 END,
  amount_minor, created_at FROM transactions WHERE state = 3 AND amount_minor > 0 ORDER BY ref;
