-- One row. Every change of a wallet's set-up adds one, so that each process knows when to read them again.
CREATE TABLE wallet_version (
  id {int} NOT NULL PRIMARY KEY,
  version {int} NOT NULL
) {strict};
INSERT INTO wallet_version (id, version) VALUES (1, 0);

-- Which wallets' tokens a merchant takes; wallet: 1 Google Pay, 2 Apple Pay. Private keys, certificates and roots stand sealed
-- in one record, so that none of them can be exchanged by who writes to this table.
CREATE TABLE wallets (
  number {serial},
  id {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  merchant_id {text} NOT NULL,
  wallet {int} NOT NULL,
  key_id {int} NOT NULL,
  wrapped_key {bytes} NOT NULL,
  sealed {bytes} NOT NULL,
  created_at {int} NOT NULL
) {strict};

-- A wallet's token is charged once: a keyed digest of what it says once, kept for longer than the token opens.
CREATE TABLE wallet_tokens (
  digest {bytes} NOT NULL PRIMARY KEY,
  expires_at {int} NOT NULL
) {strict};
CREATE INDEX wallet_tokens_expired ON wallet_tokens (expires_at);

-- The number of a device: only the merchant may charge it, by itself.
ALTER TABLE tokens ADD COLUMN device {int} NOT NULL DEFAULT 0;
