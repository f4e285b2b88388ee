-- After how many days a declined renewal of this merchant is tried again, counted from the first failure.
ALTER TABLE merchants ADD COLUMN retry_days {text} NOT NULL DEFAULT '1,3,5';
