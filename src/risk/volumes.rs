//! What refunds may take of a day or a month: a guarded upsert in the refund's intent, given back when the bank says no.

use super::rule::{Rule, Volume};
use crate::clock::Millis;
use crate::db::{Db, Stmt, args};
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// What a refund has taken of a rule's volume: it stands in the refund's own row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub rule_number: i64,
    pub period: String,
}

/// Touches no row when the volume has no room. A refund above the whole volume is not for this statement.
pub fn guarded(rule: &Rule, volume: &Volume, minor: i64, now: Millis) -> Stmt {
    let sql = "INSERT INTO risk_volumes (rule_number, period, used_minor, expires_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (rule_number, period) DO UPDATE SET used_minor = risk_volumes.used_minor + $3 \
               WHERE risk_volumes.used_minor <= CAST($5 AS BIGINT) - $3";
    let period = volume.period(now);
    Stmt::new(sql, args![rule.number, period, minor, volume.expires_at(now), volume.amount_minor]).exactly(1)
}

/// For a rule that only watches.
pub fn counted(rule: &Rule, volume: &Volume, minor: i64, now: Millis) -> Stmt {
    let sql = "INSERT INTO risk_volumes (rule_number, period, used_minor, expires_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (rule_number, period) DO UPDATE SET used_minor = risk_volumes.used_minor + $3";
    Stmt::new(sql, args![rule.number, volume.period(now), minor, volume.expires_at(now)])
}

pub async fn used_minor(db: &Db, rule: &Rule, period: &str) -> Result<i64, Error> {
    let sql = "SELECT used_minor FROM risk_volumes WHERE rule_number = $1 AND period = $2";
    db.rows(sql, args![rule.number, period]).await?.first().map_or(Ok(0), |row| row.int(0))
}

/// Adds `minor` to what is used, or takes it back when it is negative. A row that is gone by now stays gone.
pub fn moved(taken: &Taken, minor: i64) -> Stmt {
    let sql = "UPDATE risk_volumes SET used_minor = used_minor + $3 WHERE rule_number = $1 AND period = $2";
    Stmt::new(sql, args![taken.rule_number, taken.period.as_str(), minor])
}
