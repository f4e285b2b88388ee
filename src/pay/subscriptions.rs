//! Changes of a subscription that no charge brings (contract section 7): pause, resume, cancel. Each is one
//! write, guarded on what was read, and told to the merchant where the state changes.

use super::Answer;
use super::idempotency::{self, Claim};
use super::subscribed::{self, Known};
use super::transaction::Details;
use crate::app::App;
use crate::audit::Deed;
use crate::clock::Millis;
use crate::codes::Code;
use crate::db::{Stmt, Written};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EventId, SubscriptionId, TransactionId};
use crate::subscription::{Status, Subscription, rows};
use crate::webhook::{self, News};

/// How often it is looked at again after another was faster.
const RACES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Pause,
    Resume,
    /// At once, final.
    Cancel,
}

/// # Errors
/// ERR1012 for what is not the caller's; ERR1005 in a state that does not allow it.
pub async fn change(
    app: &App,
    caller: Caller,
    id: SubscriptionId,
    change: Change,
    claim: Option<&Claim>,
) -> Result<Answer, Error> {
    if let Some(answer) = idempotency::replay(app, claim).await? {
        return Ok(answer);
    }
    for _ in 0..RACES {
        let Known { subscription, charges } = subscribed::find(app, caller, id).await?;
        let now = app.time(caller).await?;
        let after = match stepped(&subscription, change, now) {
            Ok(after) => after,
            // The step may be the one that this key's first request has just made.
            Err(error) => return idempotency::replay(app, claim).await?.ok_or(error),
        };
        let changed = Known { subscription: after, charges };
        let answer = subscribed::updated(&changed, None)?;
        let after = changed.subscription;
        let mut writes = Vec::with_capacity(8);
        if let Some(claim) = claim {
            // The key's row names a transaction; this has none, and is begun and ended in one write.
            let made = TransactionId::new(app.clock.now(), &app.random);
            writes.push(claim.insert(made, app.clock.now()));
            writes.push(claim.answered(made, &answer, true));
        }
        writes.extend(step(app, &subscription, &after)?);
        match app.db.write(writes).await? {
            Written::Applied(_) => {
                app.nudge.notify_one();
                tracing::info!(subscription = %id, change = ?change, status = after.status.name(), "a subscription has changed");
                return Ok(answer);
            }
            Written::GuardFailed(0) if claim.is_some() => {
                return idempotency::replay(app, claim).await?.ok_or_else(|| Error::new(Code::Err1008));
            }
            Written::GuardFailed(_) => {}
            Written::Ambiguous => {
                return Err(Error::internal("the database was lost while a subscription was changed"));
            }
        }
    }
    Err(Error::new(Code::Err1005).with_detail("The subscription keeps changing: look at it, and try again."))
}

/// A pure function: what becomes of it.
fn stepped(one: &Subscription, change: Change, now: Millis) -> Result<Subscription, Error> {
    let after = one.clone();
    Ok(match (change, one.status) {
        (Change::Pause, Status::Active | Status::PastDue) => Subscription { status: Status::Paused, ..after },
        // The days between tries stand as they were.
        (Change::Resume, Status::Paused) if one.failed_at.is_some() => {
            Subscription { status: Status::PastDue, due_at: one.due_at.max(Some(now)), ..after }
        }
        (Change::Resume, Status::Paused) => {
            let (period, due_at) = one.resumed(now);
            Subscription { status: Status::Active, period, due_at, ..after }
        }
        (Change::Cancel, Status::Active | Status::Paused | Status::PastDue) => ended(one, Status::Cancelled),
        (_, status) => {
            let text = format!("The subscription is {}: its state does not allow this.", status.name());
            return Err(Error::new(Code::Err1005).with_detail(text));
        }
    })
}

pub fn ended(one: &Subscription, status: Status) -> Subscription {
    Subscription { status, due_at: None, ..one.clone() }
}

/// Part of the write that cancels it.
pub fn cancelled(app: &App, one: &Subscription) -> Result<Vec<Stmt>, Error> {
    step(app, one, &ended(one, Status::Cancelled))
}

/// Cancels it for an operator, with why in the audit log.
///
/// # Errors
/// For people: one that is not there, or has ended.
pub async fn cancel_by_hand(app: &App, id: SubscriptionId, who: &str, reason: &str) -> Result<Subscription, Error> {
    for _ in 0..RACES {
        let found =
            rows::find_any(&app.db, id).await?.ok_or_else(|| Error::internal("there is no such subscription"))?;
        if !matches!(found.status, Status::Active | Status::Paused | Status::PastDue) {
            let text = format!("the subscription is {}: there is nothing to cancel", found.status.name());
            return Err(Error::internal(text));
        }
        let after = ended(&found, Status::Cancelled);
        let mut writes = step(app, &found, &after)?;
        let (subject, detail) = (id.to_string(), format!("{} before: {reason}", found.status.name()));
        let deed = Deed { who, action: "subscription.cancel", subject: &subject, detail: &detail };
        writes.push(deed.insert(app.clock.now()));
        match app.db.write(writes).await? {
            Written::Applied(_) => return Ok(after),
            Written::GuardFailed(_) => {}
            Written::Ambiguous => return Err(Error::internal("the database was lost: look whether it is cancelled")),
        }
    }
    Err(Error::internal("the subscription keeps changing: try again"))
}

/// The guarded row, its job, the event of a new state, and the end of a card that is no longer used.
pub fn step(app: &App, before: &Subscription, after: &Subscription) -> Result<Vec<Stmt>, Error> {
    let mut writes = vec![rows::step(before, after), rows::plan(after.id, app.directory.has_clock(after.caller))];
    if before.owned && (after.token != before.token || after.due_at.is_none()) {
        writes.push(rows::erase_unused(after.id));
    }
    if before.status != after.status {
        writes.extend(news(app, after)?);
    }
    Ok(writes)
}

fn news(app: &App, after: &Subscription) -> Result<Vec<Stmt>, Error> {
    let details = serde_json::from_str::<Details>(&after.details).map_err(Error::internal)?;
    let now = app.clock.now();
    Ok(webhook::record(&News {
        id: EventId::new(now, &app.random),
        caller: after.caller,
        transaction: after.first,
        first: after.first,
        url: details.return_url.webhook_url.as_deref(),
        subscription: Some(after.id),
        by_charge: false,
        now,
        due_at: app.database_now(),
    }))
}
