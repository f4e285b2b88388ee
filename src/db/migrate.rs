//! Migrations: embedded, forward only, with a checksum each, so that a file changed after its release is noticed.

use super::{Dialect, Row};
use crate::error::Error;

#[derive(Clone, Copy)]
pub struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

/// This version's schema, in the order in which it came to be.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first", sql: include_str!("../../migrations/0001_first.sql") },
    Migration { version: 2, name: "books", sql: include_str!("../../migrations/0002_books.sql") },
    Migration { version: 3, name: "webhooks", sql: include_str!("../../migrations/0003_webhooks.sql") },
    Migration { version: 4, name: "risk", sql: include_str!("../../migrations/0004_risk.sql") },
    Migration { version: 5, name: "bins", sql: include_str!("../../migrations/0005_bins.sql") },
    Migration { version: 6, name: "cardholder", sql: include_str!("../../migrations/0006_cardholder.sql") },
    Migration { version: 7, name: "links", sql: include_str!("../../migrations/0007_links.sql") },
    Migration { version: 8, name: "wallets", sql: include_str!("../../migrations/0008_wallets.sql") },
    Migration { version: 9, name: "clocks", sql: include_str!("../../migrations/0009_clocks.sql") },
    Migration { version: 10, name: "subscriptions", sql: include_str!("../../migrations/0010_subscriptions.sql") },
    Migration { version: 11, name: "routes", sql: include_str!("../../migrations/0011_routes.sql") },
];

#[derive(Debug, PartialEq, Eq)]
pub enum SchemaState {
    Empty,
    Older { have: i64, want: i64 },
    Current,
    Newer { have: i64, want: i64 },
}

pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS fuda_schema (version {int} NOT NULL PRIMARY KEY, \
     name {text} NOT NULL, checksum {text} NOT NULL, applied_at {int} NOT NULL) {strict}";
pub const APPLIED: &str = "SELECT version, checksum FROM fuda_schema ORDER BY version";
pub const RECORD: &str = "INSERT INTO fuda_schema (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";

impl Migration {
    pub fn checksum(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.sql.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn text(&self, dialect: Dialect) -> String {
        dialect.translate(self.sql)
    }
}

/// Compares the rows of [`APPLIED`] with what this program knows.
pub fn state(migrations: &[Migration], rows: &[Row]) -> Result<SchemaState, Error> {
    let want = migrations.last().map_or(0, |migration| migration.version);
    let mut have = 0;
    for row in rows {
        have = row.int(0)?;
        let known = migrations.iter().find(|migration| migration.version == have);
        if let Some(known) = known
            && known.checksum() != row.text(1)?
        {
            let name = known.name;
            return Err(Error::internal(format!(
                "migration {have} ({name}) was applied from another text than this one"
            )));
        }
    }
    Ok(match have.cmp(&want) {
        std::cmp::Ordering::Less if rows.is_empty() => SchemaState::Empty,
        std::cmp::Ordering::Less => SchemaState::Older { have, want },
        std::cmp::Ordering::Equal => SchemaState::Current,
        std::cmp::Ordering::Greater => SchemaState::Newer { have, want },
    })
}

/// What is still to be applied.
pub fn missing<'a>(migrations: &'a [Migration], rows: &[Row]) -> Result<Vec<&'a Migration>, Error> {
    state(migrations, rows)?;
    let have = rows.last().map_or(Ok(0), |row| row.int(0))?;
    Ok(migrations.iter().filter(|migration| migration.version > have).collect())
}
