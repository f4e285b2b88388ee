//! Sliding windows, exact under any concurrency: one row holds the times of the newest `limit` events, so that the oldest of
//! them alone says whether one more is too many. The guard stands in the upsert itself; a look-up reads one row.

use super::rule::{Rule, Testing, Velocity};
use crate::address;
use crate::clock::Millis;
use crate::db::{Db, Stmt, args};
use crate::directory::Caller;
use crate::error::Error;
use std::net::IpAddr;

/// A time is thirteen digits (until the year 2286), so that texts sort as times do.
const DIGITS: usize = 13;

/// A row's key: whose window, and of whom.
pub type Key = Vec<u8>;

/// What a window counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Rule = 1,
    DeclinesOfIp = 2,
    DeclinesOfBin = 3,
}

pub fn rule_key(rule: &Rule, subject: &[u8]) -> Key {
    let mut key = vec![Owner::Rule as u8];
    key.extend(rule.number.to_be_bytes());
    key.extend(subject);
    key
}

pub fn decline_key(owner: Owner, caller: Caller, subject: &[u8]) -> Key {
    let mut key = vec![owner as u8, u8::from(caller.live)];
    key.extend(caller.entity.as_bytes());
    key.extend(subject);
    key
}

/// An address as it is counted: of IPv6 the network of 64 bits, which is one customer's.
pub fn ip_subject(ip: IpAddr) -> Vec<u8> {
    match address::unwrapped(ip) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

fn text(at: Millis) -> String {
    format!("{:013}", at.clamp(0, 9_999_999_999_999))
}

/// The window with one event more. Clocks of processes differ a little, and the oldest must stand last: the event is as late as
/// the newest one at least.
macro_rules! one_more {
    () => {
        "times = substr(CASE WHEN substr(risk_windows.times, 1, 13) > $2 THEN substr(risk_windows.times, 1, 13) \
         ELSE $2 END || risk_windows.times, 1, CAST(CAST($4 AS BIGINT) AS INTEGER)), expires_at = $3"
    };
}

/// Counts one event; touches no row when `limit` of them are younger than the window.
pub fn guarded(key: Key, velocity: &Velocity, now: Millis) -> Stmt {
    let sql = concat!(
        "INSERT INTO risk_windows (id, times, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET ",
        one_more!(),
        " WHERE length(risk_windows.times) < CAST($4 AS BIGINT) \
         OR substr(risk_windows.times, CAST(CAST($4 AS BIGINT) AS INTEGER) - 12, 13) <= $5"
    );
    let kept = velocity.limit * DIGITS as i64;
    Stmt::new(sql, args![key, text(now), velocity.expires_at(now), kept, text(velocity.since(now))]).exactly(1)
}

/// Counts one event, however many there were.
pub fn counted(key: Key, limit: i64, now: Millis, expires_at: Millis) -> Stmt {
    let sql = concat!(
        "INSERT INTO risk_windows (id, times, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET ",
        one_more!()
    );
    Stmt::new(sql, args![key, text(now), expires_at, limit * DIGITS as i64])
}

/// Takes one event back: the newest, since the one meant came within the same minute or so.
pub fn uncounted(key: &Key) -> Stmt {
    Stmt::new("UPDATE risk_windows SET times = substr(times, 14) WHERE id = $1", args![key.as_slice()])
}

/// The time of the event that must grow old before one more fits, or `None` when one fits now.
fn full(times: &str, limit: i64, since: Millis) -> Option<Millis> {
    let at = usize::try_from(limit - 1).ok()? * DIGITS;
    let oldest = times.get(at..at + DIGITS)?.parse::<Millis>().ok()?;
    (oldest > since).then_some(oldest)
}

/// Whether a window has no room as it is read; the guard says whether it has when it is written.
pub async fn is_full(db: &Db, key: &Key, velocity: &Velocity, now: Millis) -> Result<bool, Error> {
    let rows = db.rows("SELECT times FROM risk_windows WHERE id = $1", args![key.as_slice()]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    Ok(full(row.text(0)?, velocity.limit, velocity.since(now)).is_some())
}

/// Which source has had too many declines, `ip` or `bin`, and the seconds until its next charge may come. A full BIN slows
/// down only who may be the cause: who has had a decline too, or has no address. Else one household could lock a BIN for
/// all customers.
pub async fn slowed(
    db: &Db,
    testing: &Testing,
    ip: Option<&Key>,
    bin: &Key,
    now: Millis,
) -> Result<Option<(&'static str, u64)>, Error> {
    let sql = "SELECT id, times FROM risk_windows WHERE id IN ($1, $2)";
    let rows = db.rows(sql, args![ip.unwrap_or(bin).as_slice(), bin.as_slice()]).await?;
    let length = testing.minutes * 60_000;
    let (mut of_ip, mut of_bin, mut suspect) = (None, None, ip.is_none());
    for row in &rows {
        let times = row.text(1)?;
        if row.bytes(0)? == bin.as_slice() {
            of_bin = full(times, testing.bin_declines, now - length);
        } else {
            of_ip = full(times, testing.ip_declines, now - length);
            suspect = full(times, 1, now - length).is_some();
        }
    }
    let sources = [("ip", of_ip), ("bin", of_bin.filter(|_| suspect))];
    let longest = sources.into_iter().filter_map(|(source, oldest)| Some((source, oldest?))).max_by_key(|one| one.1);
    Ok(longest.map(|(source, oldest)| {
        let ms = u64::try_from(oldest + length - now).unwrap_or(0);
        (source, ms.div_ceil(1_000))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_counts_says_whether_there_is_room() {
        let times = format!("{}{}{}", text(3_000), text(2_000), text(1_000));
        assert_eq!(full(&times, 3, 999), Some(1_000));
        assert_eq!(full(&times, 3, 1_000), None, "what is as old as the window is out of it");
        assert_eq!(full(&times, 2, 1_000), Some(2_000));
        assert_eq!(full(&times, 4, 0), None);
        assert_eq!(full("", 1, 0), None);
        assert_eq!(text(-5), "0000000000000");
    }

    #[test]
    fn subjects() {
        let of = |text: &str| ip_subject(text.parse().unwrap());
        for text in ["1.2.3.4", "::ffff:1.2.3.4", "64:ff9b::1.2.3.4", "2002:102:304:5::6"] {
            assert_eq!(of(text), [1, 2, 3, 4], "{text}");
        }
        assert_eq!(of("2606:4700:1:2:3:4:5:6"), of("2606:4700:1:2::1"));
        assert_ne!(of("2606:4700:1:2::1"), of("2606:4700:1:3::1"));
    }
}
