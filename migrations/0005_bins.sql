-- The imported BIN table: the generation that is in force, the last that was given out, and how many parts it has.
CREATE TABLE bin_table (
  id {int} NOT NULL PRIMARY KEY,
  generation {int} NOT NULL,
  drawn {int} NOT NULL,
  parts {int} NOT NULL
) {strict};
INSERT INTO bin_table (id, generation, drawn, parts) VALUES (1, 0, 0, 0);

-- Parts of a packed table, in order. Those of an import that has not ended stand beside those in force.
CREATE TABLE bin_ranges (
  generation {int} NOT NULL,
  part {int} NOT NULL,
  data {bytes} NOT NULL,
  PRIMARY KEY (generation, part)
) {strict};

-- How many requests a key pair may make; null for any number.
ALTER TABLE api_keys ADD COLUMN per_second {int};
ALTER TABLE api_keys ADD COLUMN burst {int};
