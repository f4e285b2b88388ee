-- When a merchant's charges are authenticated (3-D Secure), and what happens when that cannot be done.
ALTER TABLE merchants ADD COLUMN three_ds {text} NOT NULL DEFAULT 'when-asked';
ALTER TABLE merchants ADD COLUMN three_ds_unavailable {text} NOT NULL DEFAULT 'decline';

-- Made in a charge that the cardholder authenticated: good for charges without one.
ALTER TABLE tokens ADD COLUMN authenticated {int} NOT NULL DEFAULT 0;
