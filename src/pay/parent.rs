//! The balances that captures, refunds and voids race for: columns of the parent's row. A pure check says why something
//! may not follow; the statements repeat it as guards, so that of any number of racers exactly the right ones win.

use super::transaction::{Kind, State, Transaction};
use crate::codes::Code;
use crate::db::{Stmt, args};
use crate::money::Money;

/// Whether a `kind` of so much may follow now.
///
/// # Errors
/// ERR1005 (state), ERR1006 (more than is held), ERR3019 (more than is left).
pub fn check(parent: &Transaction, kind: Kind, money: Money) -> Result<(), Code> {
    let fits = match kind {
        Kind::Capture | Kind::Void => parent.kind == Kind::PreAuth && parent.money.minor > 0,
        Kind::Refund => parent.kind == Kind::Capture,
        Kind::PreAuth => false,
    };
    if !fits || parent.state != State::Approved || parent.unresolved != 0 {
        return Err(Code::Err1005);
    }
    match kind {
        Kind::Capture if money.minor > parent.money.minor => Err(Code::Err1006),
        Kind::Refund if parent.refund_reserved_minor.saturating_add(money.minor) > parent.money.minor => {
            Err(Code::Err3019)
        }
        _ => Ok(()),
    }
}

/// Part of the intent's write: takes what [`check`] found free, or fails. A hold is taken whole, by one at a time; a
/// refund takes its amount.
pub fn reserve(child: &Transaction) -> Stmt {
    let sql = match child.kind {
        Kind::Refund => {
            "UPDATE transactions SET refund_reserved_minor = refund_reserved_minor + $2 WHERE id = $1 AND kind = 2 \
             AND state = 3 AND unresolved = 0 AND refund_reserved_minor + $2 <= amount_minor"
        }
        _ => {
            "UPDATE transactions SET unresolved = 1 WHERE id = $1 AND kind = 1 AND state = 3 AND unresolved = 0 \
             AND amount_minor >= $2"
        }
    };
    Stmt::new(sql, args![child.parent, child.money.minor]).exactly(1)
}

/// Part of the write that makes a child UNKNOWN: a refund that nobody knows the end of now stands in the way of others. A
/// hold's child stood there from the start.
pub fn unknown(child: &Transaction) -> Option<Stmt> {
    let sql = "UPDATE transactions SET unresolved = unresolved + 1 WHERE id = $1";
    (child.kind == Kind::Refund).then(|| Stmt::new(sql, args![child.parent]).exactly(1))
}

/// Part of the write that gives a child its final state.
pub fn settle(before: &Transaction, after: &Transaction) -> Stmt {
    let approved = after.state == State::Approved;
    // A refund counts as unresolved only once it is unknown.
    let counted = i64::from(before.kind != Kind::Refund || before.state == State::Unknown);
    match (after.kind, approved) {
        (Kind::Refund, true) => Stmt::new(
            "UPDATE transactions SET refunded_minor = refunded_minor + $2, unresolved = unresolved - $3 \
             WHERE id = $1 AND refunded_minor + $2 <= refund_reserved_minor AND unresolved >= $3",
            args![after.parent, after.money.minor, counted],
        ),
        (Kind::Refund, false) => Stmt::new(
            "UPDATE transactions SET refund_reserved_minor = refund_reserved_minor - $2, \
             unresolved = unresolved - $3 WHERE id = $1 AND refund_reserved_minor >= $2 AND unresolved >= $3",
            args![after.parent, after.money.minor, counted],
        ),
        (Kind::Capture, true) => Stmt::new(
            "UPDATE transactions SET state = $4, captured_minor = $2, unresolved = unresolved - $3 \
             WHERE id = $1 AND state = 3 AND unresolved >= $3 AND amount_minor >= $2",
            args![after.parent, after.money.minor, counted, State::Captured as i64],
        ),
        (_, true) => {
            let state = if after.details.lapse { State::Lapsed } else { State::Voided };
            // Nothing can follow any more: the payment's own sealed card is erased.
            Stmt::new(
                "UPDATE transactions SET state = $3, unresolved = unresolved - $2, wrapped_key = NULL, sealed = NULL \
                 WHERE id = $1 AND state = 3 AND unresolved >= $2",
                args![after.parent, counted, state as i64],
            )
        }
        (_, false) => Stmt::new(
            "UPDATE transactions SET unresolved = unresolved - $2 WHERE id = $1 AND unresolved >= $2",
            args![after.parent, counted],
        ),
    }
    .exactly(1)
}

/// Part of the write that takes back a child's final state, because the bank said otherwise later: what its decline had
/// freed is taken again, whatever has become of it.
pub fn take_again(child: &Transaction) -> Stmt {
    let reserved = if child.kind == Kind::Refund { child.money.minor } else { 0 };
    let sql = "UPDATE transactions SET unresolved = unresolved + 1, \
               refund_reserved_minor = refund_reserved_minor + $2 WHERE id = $1";
    Stmt::new(sql, args![child.parent, reserved]).exactly(1)
}
