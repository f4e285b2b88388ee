//! Which transfers an approved transaction makes in the ledger (pure), and the proof that the ledger holds exactly those.

use super::store;
use super::transaction::{Kind, Transaction};
use crate::clock::Millis;
use crate::db::{Db, Stmt, args};
use crate::error::Error;
use crate::id::TransactionId;
use crate::ledger::{self, Account, Book, Entry, Transfer};
use crate::money::Money;

/// Transactions that are checked at once.
const PAGE: i64 = 500;

/// What an approval moves. A capture empties its whole hold: the remainder is no longer the merchant's to take.
pub fn transfers(approved: &Transaction, parent: Option<&Transaction>) -> Vec<Transfer> {
    let money = approved.money;
    let transfer = |debit, credit, money: Money| Transfer { debit, credit, money };
    let let_go = |hold: &Transaction| transfer(Account::Issuers, Account::Held, hold.money);
    let taken = transfer(Account::Receivable, Account::Captured, money);
    match (approved.kind, parent) {
        _ if money.minor == 0 => Vec::new(),
        (Kind::PreAuth, _) => vec![transfer(Account::Held, Account::Issuers, money)],
        (Kind::Capture, None) => vec![taken],
        (Kind::Capture, Some(hold)) => vec![let_go(hold), taken],
        (Kind::Refund, _) => vec![transfer(Account::Refunded, Account::Receivable, money)],
        (Kind::Void, hold) => hold.map(let_go).into_iter().collect(),
    }
}

/// Part of the outcome's write.
pub fn entries(approved: &Transaction, parent: Option<&Transaction>, now: Millis) -> Vec<Stmt> {
    let book = book(approved);
    transfers(approved, parent).into_iter().map(|transfer| ledger::insert(&book, transfer, now)).collect()
}

fn book(transaction: &Transaction) -> Book<'_> {
    Book { transaction: transaction.id, merchant_id: &transaction.merchant_id, live: transaction.caller.live }
}

/// What a check has read so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    pub transactions: i64,
    pub entries: i64,
}

/// Recomputes the ledger from the transactions: each approved one has exactly its transfers, and its balances hold; no
/// entry belongs to anything else. `Some` names the first row that is wrong. It can run beside a serving gateway: each
/// transaction's rows change in one write.
pub async fn verify(db: &Db, checked: &mut Checked, seen: &mut impl FnMut(Checked)) -> Result<Option<String>, Error> {
    let mut after = 0;
    loop {
        let page = store::page(db, after, i64::MIN, i64::MAX, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.reference;
        for transaction in &page {
            if let Some(fault) = verify_one(db, transaction, checked).await? {
                return Ok(Some(fault));
            }
            checked.transactions += 1;
        }
        if let Some(fault) = misfit(db, page[0].reference, after).await? {
            return Ok(Some(fault));
        }
        seen(*checked);
    }
    strays(db).await
}

async fn verify_one(db: &Db, found: &Transaction, checked: &mut Checked) -> Result<Option<String>, Error> {
    if let Some(fault) = balance_fault(found) {
        return Ok(Some(fault));
    }
    let parent = match found.parent {
        Some(id) => store::reread(db, id).await?,
        None => None,
    };
    if found.parent.is_some() && parent.is_none() {
        return Ok(Some(format!("transaction {}: what it follows is not there", found.id)));
    }
    // Read after the transaction: an outcome that comes between the two adds entries, so it is looked at again.
    let entries = ledger::of_transaction(db, found.id).await?;
    checked.entries += i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let fault = entry_fault(found, parent.as_ref(), &entries);
    if fault.is_none() {
        return Ok(None);
    }
    let now = store::reread(db, found.id).await?;
    let moved = now.as_ref().is_some_and(|now| now.state != found.state);
    Ok(match (moved, now) {
        (true, Some(now)) => entry_fault(&now, parent.as_ref(), &ledger::of_transaction(db, now.id).await?),
        _ => fault,
    })
}

/// Captured at most what was held, refunded at most what was captured.
fn balance_fault(found: &Transaction) -> Option<String> {
    let sound = found.captured_minor <= found.money.minor
        && found.refunded_minor <= found.refund_reserved_minor
        && found.refund_reserved_minor <= found.money.minor
        && found.captured_minor >= 0
        && found.refunded_minor >= 0
        && found.unresolved >= 0;
    (!sound).then(|| format!("transaction {}: its balances do not hold", found.id))
}

fn entry_fault(found: &Transaction, parent: Option<&Transaction>, entries: &[Entry]) -> Option<String> {
    let wanted = if found.state.succeeded() { transfers(found, parent) } else { Vec::new() };
    for (entry, transfer) in entries.iter().zip(&wanted) {
        if !entry.is(&book(found), transfer) {
            return Some(format!(
                "ledger entry {}: it is not what transaction {} moved ({} {})",
                entry.number,
                found.id,
                transfer.money.major(),
                transfer.money.currency.code()
            ));
        }
    }
    match entries.get(wanted.len()) {
        Some(extra) => Some(format!("ledger entry {}: transaction {} did not move this", extra.number, found.id)),
        None if entries.len() < wanted.len() => Some(format!(
            "transaction {}: {} of its {} ledger entries are there",
            found.id,
            entries.len(),
            wanted.len()
        )),
        None => None,
    }
}

/// A parent whose balances or state are not what its children say; read in one statement, so that no write is half seen.
async fn misfit(db: &Db, first: i64, last: i64) -> Result<Option<String>, Error> {
    let sql = "SELECT id FROM (SELECT p.ref, p.id, p.state, p.captured_minor, p.refunded_minor, p.refund_reserved_minor, \
               p.unresolved, \
               COALESCE(SUM(CASE WHEN c.kind = 2 AND c.state = 3 THEN c.amount_minor END), 0) AS captured, \
               COALESCE(SUM(CASE WHEN c.kind = 3 AND c.state = 3 THEN c.amount_minor END), 0) AS refunded, \
               COALESCE(SUM(CASE WHEN c.kind = 3 AND c.state IN (1, 2, 3) THEN c.amount_minor END), 0) AS reserved, \
               COUNT(CASE WHEN c.kind = 4 AND c.state = 3 THEN 1 END) AS voids, \
               COUNT(CASE WHEN c.state = 2 OR c.state = 1 AND c.kind <> 3 THEN 1 END) AS open_children \
               FROM transactions p LEFT JOIN transactions c ON c.parent_id = p.id \
               WHERE p.ref BETWEEN $1 AND $2 GROUP BY p.ref) AS sums \
               WHERE captured <> captured_minor OR refunded <> refunded_minor OR reserved <> refund_reserved_minor \
               OR open_children <> unresolved OR CASE WHEN state = 6 THEN 1 ELSE 0 END <> CASE WHEN captured > 0 THEN 1 ELSE 0 END \
               OR CASE WHEN state IN (7, 8) THEN 1 ELSE 0 END <> voids ORDER BY ref LIMIT 1";
    let rows = db.rows(sql, args![first, last]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let id = TransactionId::from_bytes(row.bytes(0)?).map(|id| id.to_string()).unwrap_or_default();
    Ok(Some(format!("transaction {id}: its balances or its state are not what followed it")))
}

/// An entry whose transaction does not exist.
async fn strays(db: &Db) -> Result<Option<String>, Error> {
    let sql = "SELECT e.number FROM ledger_entries e WHERE NOT EXISTS \
               (SELECT 1 FROM transactions t WHERE t.id = e.transaction_id) ORDER BY e.number LIMIT 1";
    let rows = db.rows(sql, args![]).await?;
    let stray = rows.first().map(|row| row.int(0)).transpose()?;
    Ok(stray.map(|number| format!("ledger entry {number}: its transaction does not exist")))
}
