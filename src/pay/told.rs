//! What was told of a transaction and how it went, for the merchant that asks; and the feed.

use super::tell::{self, Signed};
use super::transaction::Transaction;
use super::{outcome, store};
use crate::app::App;
use crate::clock::{Millis, timestamp};
use crate::codes::Code;
use crate::db::{Db, Written};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EventId, TransactionId};
use crate::webhook::courier::Tried;
use crate::webhook::{self, Delivery, Event, guard, secrets};
use serde::Serialize;
use utoipa::ToSchema;

/// How long the feed waits for writes that may still bring an earlier event, milliseconds in all, and between two looks.
const SETTLE_MS: Millis = 2_000;
const LOOK_MS: u64 = 20;

#[derive(Serialize, ToSchema)]
pub struct WebhookList {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// In the order of what happened.
    pub webhooks: Vec<Webhook>,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookAnswer {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub webhook: Webhook,
}

/// One event and the tries to tell it.
#[derive(Serialize, ToSchema)]
pub struct Webhook {
    /// The `webhook-id` of each try.
    #[schema(value_type = String, example = "evt_019ab3c2d4e57f108a2b3c4d5e6f7081")]
    pub id: EventId,
    #[schema(value_type = String)]
    pub transaction_id: TransactionId,
    pub created: String,
    /// `WAITING`, `DELIVERED`, `FAILED` (the schedule is over), `GONE` (410), `REFUSED` (not a URL that webhooks go to), or
    /// `NONE` (no webhook_url was given).
    pub state: &'static str,
    pub webhook_url: Option<String>,
    /// Of one that waits.
    pub next_try: Option<String>,
    pub tries: Vec<Try>,
}

#[derive(Serialize, ToSchema)]
pub struct Try {
    pub at: String,
    /// How long it took, milliseconds.
    pub ms: i64,
    /// The receiver's HTTP status; null where it gave none.
    pub status: Option<u16>,
    /// The beginning of its answer.
    pub answer: Option<String>,
    /// Why there was no answer.
    pub problem: Option<String>,
}

impl From<Tried> for Try {
    fn from(tried: Tried) -> Try {
        let Tried { at, ms, status, answer, problem, .. } = tried;
        Try { at: timestamp(at), ms, status, answer, problem }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Feed {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub events: Vec<FeedEvent>,
    /// The `after` of the next page: the last event's id, or the one that was sent when there is nothing new.
    #[schema(value_type = Option<String>)]
    pub next_after: Option<EventId>,
}

/// What a webhook's request holds.
#[derive(Serialize, ToSchema)]
pub struct FeedEvent {
    #[schema(value_type = String)]
    pub id: EventId,
    pub created: String,
    pub headers: FeedHeaders,
    /// The signature is over exactly these characters.
    pub body: String,
}

#[derive(Serialize, ToSchema)]
pub struct FeedHeaders {
    #[serde(rename = "webhook-id")]
    pub id: String,
    #[serde(rename = "webhook-timestamp")]
    pub timestamp: String,
    #[serde(rename = "webhook-signature")]
    pub signature: String,
}

/// The events of one transaction.
pub async fn events_of(app: &App, transaction: &Transaction) -> Result<Vec<Event>, Error> {
    let parent = match transaction.parent {
        Some(parent) => store::reread(&app.db, parent).await?,
        None => None,
    };
    let first = outcome::family(transaction, parent.as_ref());
    webhook::of_transaction(&app.db, first, transaction.id).await
}

pub async fn of_transaction(app: &App, transaction: &Transaction) -> Result<WebhookList, Error> {
    let mut webhooks = Vec::new();
    for event in events_of(app, transaction).await? {
        webhooks.push(view(app, &event, transaction).await?);
    }
    Ok(WebhookList { success: true, status_code: 200, is_live: transaction.caller.live, webhooks })
}

async fn view(app: &App, event: &Event, transaction: &Transaction) -> Result<Webhook, Error> {
    let waits = event.delivery == Delivery::Waiting;
    let next_try = if waits { webhook::next_try(&app.db, event.id).await? } else { None };
    Ok(Webhook {
        id: event.id,
        transaction_id: event.transaction,
        created: timestamp(event.created_at),
        state: event.delivery.name(),
        webhook_url: transaction.details.return_url.webhook_url.clone(),
        next_try: next_try.map(timestamp),
        tries: webhook::tries(&app.db, event.id).await?.into_iter().map(Try::from).collect(),
    })
}

/// Sends it again at once. `None` for an id that is not the caller's.
pub async fn retry(app: &App, caller: Caller, id: EventId) -> Result<Option<WebhookAnswer>, Error> {
    let Some(event) = webhook::find(&app.db, caller, id).await? else { return Ok(None) };
    let none =
        || Error::new(Code::Err1005).with_detail("The request named no webhook_url: the event is in the feed only.");
    let Resend::Due(transaction) = resend(&app.db, &event, app.database_now()).await? else { return Err(none()) };
    app.nudge.notify_one();
    let event = webhook::find(&app.db, caller, id).await?.unwrap_or(event);
    let webhook = view(app, &event, &transaction).await?;
    Ok(Some(WebhookAnswer { success: true, status_code: 200, is_live: caller.live, webhook }))
}

pub enum Resend {
    Due(Box<Transaction>),
    /// Its request named none.
    NoUrl,
}

/// Makes an event due, whatever has become of it; a run of the schedule begins anew.
pub async fn resend(db: &Db, event: &Event, due_at: Millis) -> Result<Resend, Error> {
    let transaction = store::reread(db, event.transaction).await?;
    let transaction = transaction.ok_or_else(|| Error::internal("an event's transaction is gone"))?;
    let lane = transaction.details.return_url.webhook_url.as_deref();
    let lane = lane.and_then(|url| guard::lane(event.caller, url));
    let Some(lane) = lane else { return Ok(Resend::NoUrl) };
    match db.write(webhook::again(event, &lane, due_at)).await? {
        Written::Applied(_) => Ok(Resend::Due(Box::new(transaction))),
        Written::GuardFailed(_) => Ok(Resend::NoUrl),
        Written::Ambiguous => Err(Error::internal("the database was lost while a webhook was being sent again")),
    }
}

/// The caller's events behind `after`, in the order of their numbers, none left out: on PostgreSQL a number may be written
/// later than a higher one, so the page waits until every write that was running at its highest number has ended. `None` for
/// an `after` that is not the caller's.
pub async fn feed(app: &App, caller: Caller, after: Option<EventId>, limit: i64) -> Result<Option<Feed>, Error> {
    let asked = after;
    let after = match after {
        None => 0,
        Some(id) => match webhook::find(&app.db, caller, id).await? {
            Some(event) => event.number,
            None => return Ok(None),
        },
    };
    let highest = webhook::highest(&app.db).await?;
    let now = app.clock.now();
    settled(app).await?;
    let mut events = Vec::new();
    let secrets = secrets::of(&app.db, &app.vault, caller, now).await?;
    for event in webhook::feed(&app.db, caller, after, highest, limit).await? {
        let (Signed { id, timestamp_s, signature, body }, _) = tell::signed(app, &event, &secrets).await?;
        let headers = FeedHeaders { id, timestamp: timestamp_s.to_string(), signature };
        events.push(FeedEvent { id: event.id, created: timestamp(event.created_at), headers, body });
    }
    let next_after = events.last().map(|event| event.id).or(asked);
    Ok(Some(Feed { success: true, status_code: 200, is_live: caller.live, events, next_after }))
}

/// Waits until every write that runs now has ended.
///
/// # Errors
/// VAL0007 with `Retry-After` when one does not end soon: a page would have to guess.
async fn settled(app: &App) -> Result<(), Error> {
    let then = app.db.horizon().await?;
    let end = app.clock.now() + SETTLE_MS;
    while !app.db.horizon().await?.is_past(&then) {
        if app.clock.now() >= end {
            tracing::warn!("a write on the database has run for seconds: the feed waits until it ends");
            let text = "Events are still being written. Ask again.";
            return Err(Error::new(Code::Val0007).with_detail(text).retry_after(1));
        }
        app.clock.sleep(LOOK_MS).await;
    }
    Ok(())
}
