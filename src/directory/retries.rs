//! When a merchant's declined renewals are tried again (contract section 7).

use super::{BUMP, Directory};
use crate::audit::Deed;
use crate::clock::Clock;
use crate::db::{Stmt, Written, args};
use crate::error::Error;

/// How many times at most.
const MOST: usize = 10;

/// The last day that may be named.
const LAST: i64 = 60;

/// Whole days after the first failure, growing; empty for no retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryDays(Vec<i64>);

impl Default for RetryDays {
    fn default() -> RetryDays {
        RetryDays(vec![1, 3, 5])
    }
}

impl RetryDays {
    /// `1,3,5` or `none`: one to ten days, each later than the one before, the last at most the 60th.
    pub fn parse(text: &str) -> Option<RetryDays> {
        if text == "none" {
            return Some(RetryDays(Vec::new()));
        }
        let days: Vec<i64> = text.split(',').map(|day| day.parse().ok()).collect::<Option<_>>()?;
        let fits =
            days.len() <= MOST && days.iter().all(|day| (1..=LAST).contains(day)) && days.is_sorted_by(|a, b| a < b);
        // Written in one way only: no `+1`, no `01`.
        Some(RetryDays(days)).filter(|days| fits && days.text() == text)
    }

    /// As the column holds it, and as the command line takes it.
    pub fn text(&self) -> String {
        let days: Vec<String> = self.0.iter().map(i64::to_string).collect();
        if days.is_empty() { "none".to_owned() } else { days.join(",") }
    }

    pub fn days(&self) -> &[i64] {
        &self.0
    }
}

impl Directory {
    /// When this merchant's declined renewals are tried again; audited. `false` when there is no such merchant.
    pub async fn set_retry_days(&self, id: &str, days: &RetryDays, who: &str, clock: &Clock) -> Result<bool, Error> {
        let text = days.text();
        let deed = Deed { who, action: "merchant.retries", subject: id, detail: &text };
        let update =
            Stmt::new("UPDATE merchants SET retry_days = $2 WHERE id = $1", args![id, text.as_str()]).exactly(1);
        match self.db.write(vec![update, Stmt::new(BUMP, vec![]), deed.insert(clock.now())]).await? {
            Written::Applied(_) => Ok(true),
            Written::GuardFailed(_) => Ok(false),
            Written::Ambiguous => Err(Error::internal("the database was lost during the change: look and try again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_read_as_they_were_written() {
        for text in ["1,3,5", "none", "1", "60", "1,2,3,4,5,6,7,8,9,10"] {
            assert_eq!(RetryDays::parse(text).map(|days| days.text()).as_deref(), Some(text));
        }
        assert_eq!(RetryDays::parse("1,3,5"), Some(RetryDays::default()));
        assert_eq!(RetryDays::parse("none").unwrap().days(), [0_i64; 0]);
        let huge = "9".repeat(1_000);
        for text in [
            "",
            ",",
            "1,",
            "0",
            "61",
            "-1",
            "1,1",
            "3,1",
            "1, 3",
            "+1",
            "01",
            "1.5",
            "None",
            "none,1",
            "１",
            "1;3",
            &huge,
            "1,2,3,4,5,6,7,8,9,10,11",
        ] {
            assert_eq!(RetryDays::parse(text), None, "{text}");
        }
    }
}
