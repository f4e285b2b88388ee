CREATE TABLE vault_keys (
  id {int} NOT NULL PRIMARY KEY,
  purpose {text} NOT NULL,
  wrapped {bytes} NOT NULL,
  created_at {int} NOT NULL
) {strict};

-- One row. Every change of an entity, merchant or key adds one, so that each process knows when to read them again.
CREATE TABLE directory_version (
  id {int} NOT NULL PRIMARY KEY,
  version {int} NOT NULL
) {strict};
INSERT INTO directory_version (id, version) VALUES (1, 0);

-- One row, written by /readyz: a probe that does not write does not know.
CREATE TABLE readiness (
  id {int} NOT NULL PRIMARY KEY,
  checked_at {int} NOT NULL
) {strict};
INSERT INTO readiness (id, checked_at) VALUES (1, 0);

CREATE TABLE entities (
  id {bytes} NOT NULL PRIMARY KEY,
  created_at {int} NOT NULL
) {strict};

CREATE TABLE merchants (
  number {serial},
  id {text} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL REFERENCES entities (id),
  legal_name {text} NOT NULL,
  country {text} NOT NULL,
  currencies {text} NOT NULL,
  created_at {int} NOT NULL
) {strict};

CREATE TABLE api_keys (
  number {serial},
  id {text} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL REFERENCES entities (id),
  live {int} NOT NULL,
  api_key_digest {bytes} NOT NULL UNIQUE,
  secret_key_digest {bytes} NOT NULL UNIQUE,
  created_at {int} NOT NULL,
  revoked_at {int}
) {strict};

CREATE TABLE webhook_secrets (
  entity_id {bytes} NOT NULL REFERENCES entities (id),
  live {int} NOT NULL,
  key_id {int} NOT NULL,
  wrapped_key {bytes} NOT NULL,
  sealed {bytes} NOT NULL,
  created_at {int} NOT NULL,
  PRIMARY KEY (entity_id, live)
) {strict};

CREATE TABLE tokens (
  number {serial},
  id {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL REFERENCES entities (id),
  live {int} NOT NULL,
  scheme {int} NOT NULL,
  masked {text} NOT NULL,
  name {text} NOT NULL,
  exp_month {int} NOT NULL,
  exp_year {int} NOT NULL,
  fingerprint {text} NOT NULL,
  key_id {int} NOT NULL,
  wrapped_key {bytes} NOT NULL,
  sealed {bytes} NOT NULL,
  merchant_txn_ref {text},
  created_at {int} NOT NULL,
  last_used_at {int} NOT NULL
) {strict};
CREATE INDEX tokens_by_entity ON tokens (entity_id, live, number);
CREATE INDEX tokens_by_fingerprint ON tokens (entity_id, live, fingerprint, number);
CREATE INDEX tokens_by_reference ON tokens (entity_id, live, merchant_txn_ref, number);

-- The first stored charge's network transaction id, per token and merchant (contract section 6).
CREATE TABLE stored_credentials (
  token_id {bytes} NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
  merchant_id {text} NOT NULL,
  network_transaction_id {text} NOT NULL,
  PRIMARY KEY (token_id, merchant_id)
) {strict};

-- `ref` is the contract's growing number and, on SQLite, the row's place in the file: inserts append.
CREATE TABLE transactions (
  ref {serial},
  id {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  merchant_id {text} NOT NULL,
  kind {int} NOT NULL,
  state {int} NOT NULL,
  created_at {int} NOT NULL,
  settle_after {int},
  amount_minor {int} NOT NULL,
  currency {text} NOT NULL,
  merchant_txn_ref {text},
  scheme {int} NOT NULL,
  masked {text} NOT NULL,
  card_name {text} NOT NULL,
  exp_month {int} NOT NULL,
  exp_year {int} NOT NULL,
  token_id {bytes},
  source {int} NOT NULL,
  initiator {int} NOT NULL,
  details {text} NOT NULL,
  key_id {int},
  wrapped_key {bytes},
  sealed {bytes},
  code {text},
  response_code {int},
  auth_code {text},
  network_transaction_id {text}
) {strict};
CREATE INDEX transactions_by_reference ON transactions (merchant_id, live, merchant_txn_ref, ref)
  WHERE merchant_txn_ref IS NOT NULL;
-- What the sweep looks at: only transactions without a final state are in it.
CREATE INDEX transactions_to_settle ON transactions (settle_after) WHERE settle_after IS NOT NULL;

-- One row for each message to an acquirer, with what a reversal needs to name it.
CREATE TABLE attempts (
  transaction_id {bytes} NOT NULL,
  number {int} NOT NULL,
  acquirer {text} NOT NULL,
  operation {int} NOT NULL,
  reference {text} NOT NULL,
  sent_at {int} NOT NULL,
  result {int},
  response_code {int},
  answered_at {int},
  PRIMARY KEY (transaction_id, number)
) {strict};

CREATE TABLE idempotency (
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  key_digest {bytes} NOT NULL,
  request_digest {bytes} NOT NULL,
  transaction_id {bytes} NOT NULL,
  settled {int} NOT NULL,
  status {int},
  answer {text},
  expires_at {int} NOT NULL,
  PRIMARY KEY (entity_id, live, key_digest)
) {strict};
CREATE INDEX idempotency_by_transaction ON idempotency (transaction_id);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
