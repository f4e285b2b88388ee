//! The chain over the entries. Every few seconds one process seals what has been written since the last seal: a keyed
//! digest over the entries and the seal before, so an entry that is changed, added or removed behind a seal shows, and
//! so does a seal. No payment waits for it: on PostgreSQL, where numbers may commit out of order, a seal goes only as
//! far as every write that could still bring a lower number has ended.

use super::{Entry, page};
use crate::clock::Millis;
use crate::db::{Db, Horizon, Row, Stmt, Written, args};
use crate::error::Error;
use crate::vault::Vault;

/// The most entries of one seal; the rest waits for the next.
const SEALED_AT_ONCE: i64 = 5_000;

/// What one process remembers between two rounds: the highest entry that it saw, and the writes that were then running.
#[derive(Default)]
pub struct Sealer(Option<(i64, Horizon)>);

/// A seal as it stands in its row.
pub struct Seal {
    pub number: i64,
    pub first_entry: i64,
    pub last_entry: i64,
    pub entries: i64,
    pub digest: Vec<u8>,
}

impl Sealer {
    /// One round: seals what the round before saw, if its writes have ended.
    pub async fn round(&mut self, db: &Db, vault: &Vault, now: Millis) -> Result<(), Error> {
        if let Some((highest, then)) = &self.0 {
            if !db.horizon().await?.is_past(then) {
                // The mark stays: a newer one would have to wait anew, and a chain of long writes would never be past.
                return Ok(());
            }
            while seal_up_to(db, vault, *highest, now).await? {}
        }
        let rows = db.rows("SELECT COALESCE(MAX(number), 0) FROM ledger_entries", vec![]).await?;
        let highest = rows.first().map_or(Ok(0), |row| row.int(0))?;
        // Read after the number: every write that may still bring a lower one has begun by now.
        self.0 = Some((highest, db.horizon().await?));
        Ok(())
    }
}

/// `true` when a whole batch was sealed and there may be more. Of two processes that seal at once one wins.
async fn seal_up_to(db: &Db, vault: &Vault, highest: i64, now: Millis) -> Result<bool, Error> {
    let last = last(db).await?;
    let (number, after, before) = match &last {
        Some(seal) => (seal.number + 1, seal.last_entry, seal.digest.as_slice()),
        None => (1, 0, [].as_slice()),
    };
    let entries = page(db, after, highest, SEALED_AT_ONCE).await?;
    let (Some(first), Some(end)) = (entries.first(), entries.last()) else { return Ok(false) };
    let digest = digest(vault, number, before, &entries);
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let insert = Stmt::new(
        "INSERT INTO ledger_seals (number, first_entry, last_entry, entries, digest, sealed_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING",
        args![number, first.number, end.number, count, digest, now],
    );
    let written = db.write(vec![insert.exactly(1)]).await?;
    Ok(matches!(written, Written::Applied(_)) && count == SEALED_AT_ONCE)
}

pub async fn last(db: &Db) -> Result<Option<Seal>, Error> {
    let sql = "SELECT number, first_entry, last_entry, entries, digest FROM ledger_seals ORDER BY number DESC LIMIT 1";
    db.rows(sql, vec![]).await?.first().map(seal).transpose()
}

/// The seal with this number.
pub async fn find(db: &Db, number: i64) -> Result<Option<Seal>, Error> {
    let sql = "SELECT number, first_entry, last_entry, entries, digest FROM ledger_seals WHERE number = $1";
    db.rows(sql, args![number]).await?.first().map(seal).transpose()
}

fn seal(row: &Row) -> Result<Seal, Error> {
    Ok(Seal {
        number: row.int(0)?,
        first_entry: row.int(1)?,
        last_entry: row.int(2)?,
        entries: row.int(3)?,
        digest: row.bytes(4)?.to_vec(),
    })
}

/// Every part has a fixed length or its length before it: no two lists of entries have one text.
fn digest(vault: &Vault, number: i64, before: &[u8], entries: &[Entry]) -> [u8; 32] {
    let mut text = Vec::with_capacity(entries.len() * 96);
    for entry in entries {
        for value in [entry.number, entry.live, entry.debit, entry.credit, entry.amount_minor, entry.created_at] {
            text.extend_from_slice(&value.to_be_bytes());
        }
        for part in [entry.transaction.as_slice(), entry.merchant_id.as_bytes(), entry.currency.as_bytes()] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
    }
    vault.request_digest(&[b"ledger seal", &number.to_be_bytes(), before, &text])
}

/// Recomputes every seal from the entries. `seen` gets the count of entries behind it.
///
/// # Errors
/// `Err` for a database that cannot be read; `Ok(Some(_))` names the first row that is not as it was sealed.
pub async fn verify(db: &Db, vault: &Vault, seen: &mut impl FnMut(i64)) -> Result<Option<String>, Error> {
    let Some(end) = last(db).await? else { return Ok(None) };
    let mut before: Option<Seal> = None;
    for number in 1..=end.number {
        let Some(seal) = find(db, number).await? else {
            return Ok(Some(format!("seal {number} is missing")));
        };
        let after = before.as_ref().map_or(0, |seal| seal.last_entry);
        let entries = page(db, after, seal.last_entry, SEALED_AT_ONCE + 1).await?;
        if let Some(fault) = differs(vault, &seal, before.as_ref(), &entries) {
            return Ok(Some(fault));
        }
        seen(seal.entries);
        before = Some(seal);
    }
    Ok(None)
}

fn differs(vault: &Vault, seal: &Seal, before: Option<&Seal>, entries: &[Entry]) -> Option<String> {
    let (first, last) = (seal.first_entry, seal.last_entry);
    let found = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    if found != seal.entries {
        return Some(format!("entries {first} to {last}: {} were sealed, {found} are there", seal.entries));
    }
    if entries.first().is_some_and(|entry| entry.number != first) {
        return Some(format!("entries {first} to {last}: another one is the first"));
    }
    let digest = digest(vault, seal.number, before.map_or(&[], |seal| seal.digest.as_slice()), entries);
    (digest.as_slice() != seal.digest)
        .then(|| format!("entries {first} to {last} or seal {} were changed after they were sealed", seal.number))
}
