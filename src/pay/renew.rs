//! A subscription's cycle is due (contract section 7): the job. The merchant's charge of the stored card, once for each cycle:
//! its intent takes the subscription by a guard, and its end, whoever writes it, says what comes next.

use super::charge;
use super::request::{CardSource, ChargeRequest, Purpose};
use super::subscribed::Known;
use super::transaction::{Details, State, Transaction};
use super::{instrument, outcome, store, subscribe, subscriptions};
use crate::acquirer::{Initiator, Reason};
use crate::app::App;
use crate::clock::Millis;
use crate::codes::Code;
use crate::db::Written;
use crate::error::Error;
use crate::id::{self, SubscriptionId};
use crate::jobs::Job;
use crate::json::Node;
use crate::money::Money;
use crate::subscription::{Status, Subscription, rows};

/// When a cycle whose charge is still on its way is looked at again, milliseconds. The charge's own end is faster.
const ON_ITS_WAY_MS: Millis = 30_000;

/// When a cycle that a fault of ours has stopped is tried again, milliseconds.
const FAULT_MS: Millis = 60_000;

pub async fn renew(app: &App, job: &Job) -> Result<(), Error> {
    let found = rows::find_any(&app.db, SubscriptionId::from_array(job.subject())).await?;
    let found = found.filter(|found| matches!(found.status, Status::Active | Status::PastDue));
    let Some((found, due)) = found.and_then(|found| found.due_at.map(|due| (found, due))) else {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    };
    if found.running.is_some() {
        app.db.write(vec![job.postpone(app.database_now() + ON_ITS_WAY_MS)]).await?;
        return Ok(());
    }
    let now = app.time(found.caller).await?;
    if due > now {
        app.db.write(vec![app.again(job, found.caller, due)]).await?;
        return Ok(());
    }
    if found.hopeless {
        return give_up(app, job, &found).await;
    }
    // Where a test clock leaps, each charge is made as of the moment that it was due.
    let at = if app.directory.has_clock(found.caller) { due } else { now };
    let charged = match request(app, found, at) {
        Ok(request) if request.money.minor == 0 => free(app, job, &request).await,
        Ok(request) => paid(app, request).await,
        Err(error) => Err(error),
    };
    if let Err(error) = charged {
        let (subscription, code) = (SubscriptionId::from_array(job.subject()), error.code.name());
        if error.code == Code::Err1005 {
            tracing::info!(%subscription, "a subscription has changed between the look at it and its charge: it is looked at again");
        } else {
            tracing::error!(cause = error.cause(), code, %subscription, "a cycle could not be charged: it is tried again");
        }
        app.db.write(vec![job.postpone(app.database_now() + FAULT_MS)]).await?;
    }
    Ok(())
}

/// The days in which a new card could have come are over.
async fn give_up(app: &App, job: &Job, found: &Subscription) -> Result<(), Error> {
    let mut writes = vec![job.done()];
    writes.extend(subscriptions::cancelled(app, found)?);
    if let Written::Applied(_) = app.db.write(writes).await? {
        app.nudge.notify_one();
        tracing::info!(subscription = %found.id, "a subscription without a card that can be charged has been cancelled");
    }
    Ok(())
}

fn request(app: &App, subscription: Subscription, at: Millis) -> Result<ChargeRequest, Error> {
    let merchant = app.directory.merchant(subscription.caller, &subscription.merchant_id);
    let merchant = merchant.ok_or_else(|| Error::internal("a subscription's merchant is gone"))?;
    let mut details = serde_json::from_str::<Details>(&subscription.details).map_err(Error::internal)?;
    details.subscription = Some(subscription.renew(at, merchant.retry_days.days()));
    Ok(ChargeRequest {
        caller: subscription.caller,
        merchant,
        purpose: Purpose::Purchase,
        money: subscription.price(subscription.cycle()),
        initiator: Initiator::Merchant,
        reason: Reason::Recurring,
        merchant_txn_ref: subscription.terms.merchant_txn_ref.clone(),
        details,
        subscription: Some(Box::new(Known { subscription, charges: Vec::new() })),
        at: Some(at),
        claim: None,
        request_id: id::request_id(app.clock.now(), &app.random),
        fault: None,
        steer: None,
        browser: None,
        body: Node::Null,
    })
}

async fn paid(app: &App, request: ChargeRequest) -> Result<(), Error> {
    let token = request.subscription.as_ref().map(|known| known.subscription.token);
    let token = token.ok_or_else(|| Error::internal("a renewal has no subscription"))?;
    match charge::charge(app, request, CardSource::Token(token)).await {
        Ok(_) => Ok(()),
        // Written as such, with the time of the next try.
        Err(error) if error.code == Code::Err1011 => Ok(()),
        Err(error) => Err(error),
    }
}

/// A cycle that costs nothing is recorded without asking the bank.
async fn free(app: &App, job: &Job, request: &ChargeRequest) -> Result<(), Error> {
    let Some(known) = &request.subscription else { return Err(Error::internal("a renewal has no subscription")) };
    let instrument = instrument::bring(app, request, CardSource::Token(known.subscription.token)).await?;
    let paid = Transaction {
        state: State::Approved,
        code: Some(Code::Info0000),
        response_code: Some(0),
        money: Money { minor: 0, ..request.money },
        ..charge::draft(app, request, &instrument).await?
    };
    let mut writes = vec![job.still_held()];
    writes.extend(subscribe::begun(request, paid.token, &paid)?);
    writes.push(store::insert(&paid, None)?);
    writes.extend(subscribe::ended(app, &paid));
    writes.push(rows::erase_unused(known.subscription.id));
    writes.extend(outcome::news(app, &paid, None));
    if let Written::Applied(_) = app.db.write(writes).await? {
        app.nudge.notify_one();
        tracing::info!(transaction = %paid.id, request = request.request_id, "a cycle that costs nothing");
    }
    Ok(())
}
