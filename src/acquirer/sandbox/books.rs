//! The sandbox bank's books: their tables, what may follow what in them, and the record that a bank would send for
//! reconciliation.

use super::Sandbox;
use crate::db::{Migration, Row, args};
use crate::error::Error;

pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "books",
        sql: "CREATE TABLE operations (
            reference {text} NOT NULL PRIMARY KEY,
            kind {int} NOT NULL,
            state {int} NOT NULL,
            masked {text} NOT NULL,
            amount_minor {int} NOT NULL,
            currency {text} NOT NULL,
            auth_code {text} NOT NULL,
            network_transaction_id {text} NOT NULL,
            created_at {int} NOT NULL
          ) {strict};",
    },
    Migration {
        version: 2,
        name: "what follows",
        sql: "ALTER TABLE operations ADD COLUMN original {text} NOT NULL DEFAULT '';
          ALTER TABLE operations ADD COLUMN captured_minor {int} NOT NULL DEFAULT 0;
          ALTER TABLE operations ADD COLUMN released_minor {int} NOT NULL DEFAULT 0;
          ALTER TABLE operations ADD COLUMN refunded_minor {int} NOT NULL DEFAULT 0;",
    },
    // The issuer's side of 3-D Secure: challenges, and what came of them.
    Migration {
        version: 3,
        name: "authentications",
        sql: "CREATE TABLE authentications (
            acs_id {text} NOT NULL PRIMARY KEY,
            server_id {text} NOT NULL UNIQUE,
            directory_id {text} NOT NULL,
            scheme {int} NOT NULL,
            masked {text} NOT NULL,
            merchant {text} NOT NULL,
            amount_minor {int} NOT NULL,
            currency {text} NOT NULL,
            notification_url {text} NOT NULL,
            language {text},
            created_at {int} NOT NULL,
            rreq {text}
          ) {strict};",
    },
    // What holders of wallets' accounts were asked, and said.
    Migration {
        version: 4,
        name: "consents",
        sql: "CREATE TABLE consents (
            reference {text} NOT NULL PRIMARY KEY,
            page {text} NOT NULL UNIQUE,
            wallet {int} NOT NULL,
            merchant {text} NOT NULL,
            amount_minor {int} NOT NULL,
            currency {text} NOT NULL,
            return_url {text} NOT NULL,
            language {text},
            stores {int} NOT NULL,
            agreement {text} NOT NULL,
            created_at {int} NOT NULL,
            approved {int}
          ) {strict};",
    },
    // What names an operation of the sandbox's own host (ISO 8583, field 37).
    Migration { version: 5, name: "names", sql: "ALTER TABLE operations ADD COLUMN rrn {text};" },
];

/// What was asked of the bank; a reversal of something that never came leaves a row of kind `NOTHING`, so that the
/// message, should it come late, finds itself reversed.
pub const NOTHING: i64 = 0;
pub const HOLD: i64 = 1;
pub const PURCHASE: i64 = 2;
pub const VERIFICATION: i64 = 3;
pub const CAPTURE: i64 = 4;
pub const REFUND: i64 = 5;
pub const VOID: i64 = 6;
pub const RELEASE: i64 = 7;

pub const APPROVED: i64 = 1;
pub const REVERSED: i64 = 2;
pub const DECLINED: i64 = 4;

/// Each touches the original's row once, or not at all when the bank would decline.
pub const CAPTURE_GUARD: &str = "UPDATE operations SET captured_minor = $2 WHERE reference = $1 AND kind = 1 \
     AND state = 1 AND captured_minor = 0 AND amount_minor >= $2 AND currency = $3";
pub const REFUND_GUARD: &str = "UPDATE operations SET refunded_minor = refunded_minor + $2 WHERE reference = $1 \
     AND kind IN (2, 4) AND state = 1 AND refunded_minor + $2 <= amount_minor AND currency = $3";
/// A hold that was voided has state 3.
pub const VOID_GUARD: &str = "UPDATE operations SET state = 3 WHERE reference = $1 AND kind = 1 AND state = 1 \
     AND captured_minor = 0 AND amount_minor = $2 AND currency = $3";
pub const RELEASE_GUARD: &str = "UPDATE operations SET released_minor = $2 WHERE reference = $1 AND kind = 1 \
     AND state = 1 AND captured_minor > 0 AND released_minor = 0 AND captured_minor + $2 <= amount_minor AND currency = $3";

/// Rows of one page of the record.
const PAGE: i64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    Authorization,
    Purchase,
    Verification,
    Capture,
    Refund,
    Void,
}

/// The words of a record's `kind`, also in a CSV file.
pub const RECORD_KINDS: [(&str, RecordKind, i64); 6] = [
    ("AUTHORIZATION", RecordKind::Authorization, HOLD),
    ("PURCHASE", RecordKind::Purchase, PURCHASE),
    ("VERIFICATION", RecordKind::Verification, VERIFICATION),
    ("CAPTURE", RecordKind::Capture, CAPTURE),
    ("REFUND", RecordKind::Refund, REFUND),
    ("VOID", RecordKind::Void, VOID),
];

impl RecordKind {
    pub fn name(self) -> &'static str {
        RECORD_KINDS.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    pub fn parse(word: &str) -> Option<RecordKind> {
        RECORD_KINDS.iter().find(|row| row.0 == word).map(|row| row.1)
    }
}

/// One operation that stands in an acquirer's books: approved, and not reversed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Ours: the transaction's id.
    pub reference: String,
    pub kind: RecordKind,
    pub amount_minor: i64,
    pub currency: String,
    /// Where it came to the bank by a host of its own (ISO 8583, field 37).
    pub rrn: Option<String>,
}

impl Sandbox {
    /// The operations that stand and began in `from..to` (epoch milliseconds), in pages: `after` is 0 for the first,
    /// then what came with the page before. `None` behind the last.
    pub async fn records(&self, after: i64, from: i64, to: i64) -> Result<(Vec<Record>, Option<i64>), Error> {
        let sql = "SELECT rowid, reference, kind, amount_minor, currency, rrn FROM operations \
                   WHERE rowid > $1 AND state IN (1, 3) AND kind BETWEEN 1 AND 6 AND created_at >= $2 AND created_at < $3 \
                   ORDER BY rowid LIMIT $4";
        let rows = self.books.rows(sql, args![after, from, to, PAGE]).await?;
        let last = rows.last().map(|row| row.int(0)).transpose()?;
        Ok((rows.iter().map(record).collect::<Result<_, _>>()?, last))
    }

    /// One operation, if it stands.
    pub async fn record(&self, reference: &str) -> Result<Option<Record>, Error> {
        let sql = "SELECT rowid, reference, kind, amount_minor, currency, rrn FROM operations \
                   WHERE reference = $1 AND state IN (1, 3) AND kind BETWEEN 1 AND 6";
        self.books.rows(sql, args![reference]).await?.first().map(record).transpose()
    }
}

fn record(row: &Row) -> Result<Record, Error> {
    let id = row.int(2)?;
    let kind = RECORD_KINDS.iter().find(|row| row.2 == id).map(|row| row.1);
    Ok(Record {
        reference: row.text(1)?.to_owned(),
        kind: kind.ok_or_else(|| Error::internal("the sandbox bank's books hold an unknown kind"))?,
        amount_minor: row.int(3)?,
        currency: row.text(4)?.to_owned(),
        rrn: row.opt_text(5)?.map(str::to_owned),
    })
}
