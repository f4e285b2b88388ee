//! Which transfers an approved transaction makes in the ledger (pure), and the proof that the ledger holds exactly those.

use super::store;
use super::transaction::{Kind, Transaction};
use crate::clock::Millis;
use crate::db::{Db, Stmt, args};
use crate::error::Error;
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

/// An entry whose transaction does not exist.
async fn strays(db: &Db) -> Result<Option<String>, Error> {
    let sql = "SELECT e.number FROM ledger_entries e WHERE NOT EXISTS \
               (SELECT 1 FROM transactions t WHERE t.id = e.transaction_id) ORDER BY e.number LIMIT 1";
    let rows = db.rows(sql, args![]).await?;
    let stray = rows.first().map(|row| row.int(0)).transpose()?;
    Ok(stray.map(|number| format!("ledger entry {number}: its transaction does not exist")))
}
