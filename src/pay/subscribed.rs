//! Subscriptions as callers find them, and as their events tell them (contract section 7).

use super::Answer;
use super::envelope::{GatewayResponse, ReturnUrlDetails};
use super::plan::{Charged, SubscriptionDetails, details};
use super::transaction::{Details, State, Transaction};
use crate::app::App;
use crate::clock::Millis;
use crate::codes::Code;
use crate::db::{Db, Row, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{SubscriptionId, TransactionId};
use crate::money::{Currency, Money};
use crate::subscription::{Status, Subscription, rows};
use crate::webhook::Event;
use serde::Serialize;
use utoipa::ToSchema;

/// How many charges a subscription shows, the newest: by itself, and in a list.
const CHARGES: i64 = 1_000;
const CHARGES_IN_LIST: i64 = 20;

/// The longest list page; a larger `limit` is refused.
pub const LIST_LIMIT: i64 = 100;

#[derive(Serialize, ToSchema)]
pub struct SubscriptionList {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// The newest first. The `cursor` of the next page is the last one's id.
    pub subscription_details: Vec<SubscriptionDetails>,
}

/// One subscription, as it is, or as a change leaves it.
#[derive(Serialize, ToSchema)]
pub struct SubscriptionAnswer {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// Changes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_response: Option<GatewayResponse>,
    /// Webhooks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url_details: Option<ReturnUrlDetails>,
    /// Of another card: its verification, with the token where it was to be stored for the merchant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_details: Option<super::envelope::TransactionDetails>,
    pub subscription_details: SubscriptionDetails,
}

/// A subscription as it was read, with the payments that it shows.
pub struct Known {
    pub subscription: Subscription,
    pub charges: Vec<Charged>,
}

/// As the verification of another card leaves it.
pub fn with_card(one: &Subscription, verified: &Transaction, at: Millis) -> Subscription {
    let tried_at_once = one.failed_at.is_some() && one.running.is_none();
    Subscription {
        token: verified.token.unwrap_or(one.token),
        hopeless: false,
        due_at: if tried_at_once { Some(at) } else { one.due_at },
        ..one.clone()
    }
}

fn change(after: &Subscription, charges: &[Charged]) -> SubscriptionAnswer {
    SubscriptionAnswer {
        success: true,
        status_code: 200,
        is_live: after.caller.live,
        gateway_response: Some(GatewayResponse::of(Code::Info3000)),
        return_url_details: None,
        transaction_details: None,
        subscription_details: details(after, charges),
    }
}

/// The answer to a change; to one of the card with its verification.
pub fn updated(after: &Known, verified: Option<&Transaction>) -> Result<Answer, Error> {
    let body = SubscriptionAnswer {
        transaction_details: verified.map(super::envelope::details),
        ..change(&after.subscription, &after.charges)
    };
    serde_json::to_string(&body).map(|body| Answer::new(200, body)).map_err(Error::internal)
}

/// What a webhook says of a change that no charge brought.
pub async fn told(app: &App, id: SubscriptionId, event: &Event) -> Result<(String, Option<String>), Error> {
    let found = as_of(app, id, event).await?;
    let found = found.ok_or_else(|| Error::internal("an event's subscription is gone"))?;
    let details = serde_json::from_str::<Details>(&found.subscription.details).map_err(Error::internal)?;
    let body = SubscriptionAnswer {
        return_url_details: Some(ReturnUrlDetails::of(&details.return_url)),
        ..change(&found.subscription, &found.charges)
    };
    Ok((serde_json::to_string(&body).map_err(Error::internal)?, details.return_url.webhook_url))
}

/// The block of a charge's webhook. None where its subscription never began.
pub async fn of_charge(app: &App, charge: &Transaction, event: &Event) -> Result<Option<SubscriptionDetails>, Error> {
    let Some(share) = &charge.details.subscription else { return Ok(None) };
    let found = as_of(app, share.id, event).await?;
    Ok(found.map(|found| details(&found.subscription, &found.charges)))
}

/// A charge's subscription as it is. None where it never began.
pub async fn now(app: &App, charge: &Transaction) -> Result<Option<SubscriptionDetails>, Error> {
    let Some(share) = &charge.details.subscription else { return Ok(None) };
    match find(app, charge.caller, share.id).await {
        Ok(known) => Ok(Some(details(&known.subscription, &known.charges))),
        Err(error) if error.code == Code::Err1012 => Ok(None),
        Err(error) => Err(error),
    }
}

/// As it stood when this happened, with the payments that had been told of before. None where it never began.
async fn as_of(app: &App, id: SubscriptionId, event: &Event) -> Result<Option<Known>, Error> {
    let found = rows::find_any(&app.db, id).await?.filter(|found| found.status != Status::Starting);
    let (Some(found), Some(stood)) = (found, event.stood) else { return Ok(None) };
    let charges = charges_until(&app.db, id, (event.first, event.number), CHARGES).await?;
    let subscription = Subscription {
        status: Status::from_id(stood.status).unwrap_or(found.status),
        completed: stood.completed,
        due_at: stood.due_at,
        last_paid: charges.last().map(|last| last.paid),
        ..found
    };
    Ok(Some(Known { subscription, charges }))
}

/// ERR1012 for every id that is not the caller's.
pub async fn find(app: &App, caller: Caller, id: SubscriptionId) -> Result<Known, Error> {
    let subscription = rows::find(&app.db, caller, id).await?.ok_or_else(|| Error::new(Code::Err1012))?;
    let charges = charges(&app.db, id, CHARGES).await?;
    Ok(Known { subscription, charges })
}

/// What a list is narrowed to.
pub struct Filter {
    pub status: Option<Status>,
    /// The last one of the page before.
    pub after: Option<SubscriptionId>,
    pub limit: i64,
}

/// `None` for a cursor that is not the caller's.
pub async fn list(app: &App, caller: Caller, filter: &Filter) -> Result<Option<SubscriptionList>, Error> {
    let before = match filter.after {
        None => i64::MAX,
        Some(id) => match rows::find(&app.db, caller, id).await? {
            Some(last) => last.number,
            None => return Ok(None),
        },
    };
    let found = rows::list(&app.db, caller, filter.status, before, filter.limit).await?;
    let mut subscription_details = Vec::with_capacity(found.len());
    for one in &found {
        let charges = charges(&app.db, one.id, CHARGES_IN_LIST).await?;
        subscription_details.push(SubscriptionDetails { last_payment_status: None, ..details(one, &charges) });
    }
    Ok(Some(SubscriptionList { success: true, status_code: 200, is_live: caller.live, subscription_details }))
}

/// The newest `most` payments that have a result and that callers may see, in their order.
pub async fn charges(db: &Db, id: SubscriptionId, most: i64) -> Result<Vec<Charged>, Error> {
    charges_until(db, id, (TransactionId::from_array([0; 16]), i64::MAX), most).await
}

/// Without those whose event came after the one of this family and number.
async fn charges_until(
    db: &Db,
    id: SubscriptionId,
    (first, event): (TransactionId, i64),
    most: i64,
) -> Result<Vec<Charged>, Error> {
    let sql = "SELECT t.id, t.ref, c.cycle, t.state, t.created_at, t.amount_minor, t.currency FROM subscription_charges c \
               JOIN transactions t ON t.id = c.transaction_id WHERE c.subscription_id = $1 AND t.state IN (3, 4, 5) \
               AND NOT EXISTS (SELECT 1 FROM events e WHERE e.first_id = $4 AND e.transaction_id = t.id \
               AND e.subscription_id IS NULL AND e.number > $3) ORDER BY c.cycle DESC, t.ref DESC LIMIT $2";
    let mut charges =
        db.rows(sql, args![id, most, event, first]).await?.iter().map(charged).collect::<Result<Vec<_>, _>>()?;
    charges.reverse();
    Ok(charges)
}

fn charged(row: &Row) -> Result<Charged, Error> {
    let corrupt = || Error::internal("a subscription's charge is not one that this version knows");
    Ok(Charged {
        id: TransactionId::from_bytes(row.bytes(0)?).ok_or_else(corrupt)?,
        reference: row.int(1)?,
        cycle: row.int(2)?,
        paid: State::from_id(row.int(3)?) == Some(State::Approved),
        at: row.int(4)?,
        money: Money { minor: row.int(5)?, currency: Currency::parse(row.text(6)?).ok_or_else(corrupt)? },
    })
}
