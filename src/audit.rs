//! What people did by hand: who, when, what, why. A row in the same write as the deed, so neither stands alone
//! (PCI DSS 10.2.1).

use crate::clock::Millis;
use crate::db::{Stmt, args};

/// One deed. `detail` is for people and never holds a card number.
pub struct Deed<'a> {
    pub who: &'a str,
    pub action: &'static str,
    pub subject: &'a str,
    pub detail: &'a str,
}

impl Deed<'_> {
    pub fn insert(&self, now: Millis) -> Stmt {
        Stmt::new(
            "INSERT INTO audit_log (at, who, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
            args![now, self.who, self.action, self.subject, self.detail],
        )
    }
}
