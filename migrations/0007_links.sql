-- Links to the hosted payment page. The code in a link's address is made from its id by the vault and stands here as a keyed
-- digest only: who reads this table cannot open the page. state: 1 open, 2 a try is on its way, 3 paid, 4 out of tries,
-- 5 cancelled.
CREATE TABLE links (
  number {serial},
  id {bytes} NOT NULL UNIQUE,
  code_digest {bytes} NOT NULL UNIQUE,
  entity_id {bytes} NOT NULL,
  live {int} NOT NULL,
  merchant_id {text} NOT NULL,
  state {int} NOT NULL,
  amount_minor {int},
  currency {text} NOT NULL,
  details {text} NOT NULL,
  tries {int} NOT NULL,
  transaction_id {bytes},
  created_at {int} NOT NULL,
  expires_at {int} NOT NULL
) {strict};

CREATE INDEX links_past ON links (expires_at) WHERE state <> 2;

-- The tries of a link, in the writes that begin them.
CREATE TABLE link_tries (
  link_id {bytes} NOT NULL,
  transaction_id {bytes} NOT NULL,
  PRIMARY KEY (link_id, transaction_id)
) {strict};

-- How a merchant's pages look, and who may frame them (origins with a space between).
ALTER TABLE merchants ADD COLUMN page_accent {text};
ALTER TABLE merchants ADD COLUMN page_logo {text};
ALTER TABLE merchants ADD COLUMN page_frames {text} NOT NULL DEFAULT '';

-- The logos themselves, by the name that merchants.page_logo has: the hash of the bytes and an ending.
CREATE TABLE merchant_logos (
  merchant_id {text} NOT NULL PRIMARY KEY,
  name {text} NOT NULL,
  data {bytes} NOT NULL
) {strict};
