//! Subscriptions (contract section 7): list, details, and what changes one. The first charge is in `charge.rs`.

use super::answer::{self, About};
use super::call::{Call, Posted};
use super::charge::Checked;
use super::flow::{Begun, check_headers, claim, detached};
use super::query::Query;
use super::{charge, fields};
use crate::acquirer::{Initiator, Reason};
use crate::app::App;
use crate::codes::Code;
use crate::directory::Caller;
use crate::error::{Error, FieldError};
use crate::id::{SubscriptionId, TransactionId};
use crate::json::Node;
use crate::money::Money;
use crate::pay::charge::charge as run;
use crate::pay::idempotency::Claim;
use crate::pay::plan;
use crate::pay::request::{ChargeRequest, Purpose};
use crate::pay::subscribed::{self, Filter, LIST_LIMIT, SubscriptionAnswer};
use crate::pay::subscriptions::{Change, change};
use crate::pay::transaction::Details;
use crate::pay::{Answer, idempotency, store};
use crate::subscription::{Part, Share, Status};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

type IdInPath = Result<Path<String>, PathRejection>;

pub async fn list(State(app): State<App>, call: Call, RawQuery(query): RawQuery) -> Response {
    let listed = match filter(&Query::parse(query.as_deref())) {
        Ok(filter) => subscribed::list(&app, call.caller, &filter).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(Some(list)) => answer::object(200, &list),
        Ok(None) => answer::refuse(&call.about(), Error::fields(vec![wrong_cursor()])),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

fn wrong_cursor() -> FieldError {
    FieldError::new("cursor", "unknown", "Send the id of the last subscription of the page before.")
}

fn filter(query: &Query) -> Result<Filter, Error> {
    let mut errors = query.errors(&["status", "cursor", "limit"]);
    let status = query.get("status").map(Status::parse);
    if status == Some(None) {
        let text = "Send one of: ACTIVE, PAUSED, PAST_DUE, CANCELLED, EXPIRED.";
        errors.push(FieldError::new("status", "unknown", text));
    }
    let after = query.get("cursor").map(SubscriptionId::parse);
    if after == Some(None) {
        errors.push(wrong_cursor());
    }
    let limit = query.get("limit").map(str::parse::<i64>);
    let limit = match limit {
        None => LIST_LIMIT,
        Some(Ok(limit)) if (1..=LIST_LIMIT).contains(&limit) => limit,
        Some(_) => {
            errors.push(FieldError::new("limit", "range", "Send a number from 1 to 100."));
            LIST_LIMIT
        }
    };
    if errors.is_empty() {
        Ok(Filter { status: status.flatten(), after: after.flatten(), limit })
    } else {
        Err(Error::fields(errors))
    }
}

/// What is no UUID is nobody's: one answer for all (contract section 1).
fn subscription_id(id: IdInPath) -> Result<SubscriptionId, Error> {
    id.ok().and_then(|Path(text)| SubscriptionId::parse(&text)).ok_or_else(|| Error::new(Code::Err1012))
}

pub async fn get(State(app): State<App>, call: Call, id: IdInPath) -> Response {
    let found = match subscription_id(id) {
        Ok(id) => subscribed::find(&app, call.caller, id).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(known) => {
            let body = SubscriptionAnswer {
                success: true,
                status_code: 200,
                is_live: call.caller.live,
                gateway_response: None,
                return_url_details: None,
                transaction_details: None,
                subscription_details: plan::details(&known.subscription, &known.charges),
            };
            answer::object(200, &body)
        }
        Err(error) => answer::refuse(&call.about(), error),
    }
}

pub async fn pause(State(app): State<App>, id: IdInPath, call: Call) -> Response {
    changed(app, id, call, Change::Pause, "pause").await
}

pub async fn resume(State(app): State<App>, id: IdInPath, call: Call) -> Response {
    changed(app, id, call, Change::Resume, "resume").await
}

pub async fn cancel(State(app): State<App>, id: IdInPath, call: Call) -> Response {
    changed(app, id, call, Change::Cancel, "cancel").await
}

async fn changed(app: App, id: IdInPath, call: Call, what: Change, word: &'static str) -> Response {
    let flow = app.clone();
    detached(&app, call.about(), async move {
        let id = subscription_id(id)?;
        let mut errors = Vec::new();
        check_headers(&call, &mut errors);
        if !errors.is_empty() {
            return Err(Error::fields(errors));
        }
        let endpoint = format!("subscription/{id}/{word}");
        let claim = claim(&flow, &call, &endpoint, &Node::Null, None);
        change(&flow, call.caller, id, what, claim.as_ref()).await.map(Begun::Answered)
    })
    .await
}

/// Another card, in the request or stored: verified by a zero amount, so that this merchant may charge it by itself.
pub async fn payment_method(State(app): State<App>, id: IdInPath, posted: Posted) -> Response {
    let about = About { transaction_type: Some("PRE_AUTH"), ..posted.call.about() };
    let flow = app.clone();
    detached(&app, about, async move { new_method(&flow, id, posted).await.map(Begun::Answered) }).await
}

async fn new_method(app: &App, id: IdInPath, posted: Posted) -> Result<Answer, Error> {
    let Posted { call, body } = posted;
    let id = subscription_id(id)?;
    let now = app.time(call.caller).await?;
    let checked = Checked::of(&call, fields::NEW_METHOD, &body, Purpose::Subscription, now, |errors| {
        let word = |name| body.get("payment_method").and_then(|method| method.get(name)).and_then(Node::text);
        if matches!(word("type"), Some("gcash" | "paypay")) && word("stored_payment_method_id").is_none() {
            let text = "Send a card or a stored one: an account in a wallet is stored by a payment of its own.";
            errors.push(FieldError::new("payment_method.type", "not_here", text));
        }
    })?;
    let claim = claim(app, &call, &format!("subscription/{id}/payment-method"), &body, checked.pan.as_ref().ok());
    if let Some(code) = checked.only_fault {
        let earlier = idempotency::replay(app, claim.as_ref()).await?;
        return earlier.ok_or_else(|| Error::new(code));
    }
    if let Some(answer) = idempotency::replay(app, claim.as_ref()).await? {
        return Ok(answer);
    }
    let known = subscribed::find(app, call.caller, id).await?;
    let subscription = &known.subscription;
    if matches!(subscription.status, Status::Cancelled | Status::Expired) {
        let text = format!("The subscription is {}: its state does not allow this.", subscription.status.name());
        return Err(Error::new(Code::Err1005).with_detail(text));
    }
    let merchant = app.directory.merchant(call.caller, &subscription.merchant_id);
    let merchant = merchant.ok_or_else(|| Error::internal("a subscription's merchant is gone"))?;
    let (caller, money) = (call.caller, Money::zero(subscription.money.currency));
    let mut details = charge::details(&body, call.visited_ip.clone());
    let kept = serde_json::from_str::<Details>(&subscription.details).map_err(Error::internal)?;
    details.billing_address = details.billing_address.or(kept.billing_address);
    details.return_url = kept.return_url;
    let steering = checked.steering;
    let source = checked.source(&body)?;
    details.subscription =
        Some(Share { id, first: Some(subscription.first), owned: !source.stores(), part: Part::Changes { at: now } });
    let (about, claimed) = (About { transaction_type: Some("PRE_AUTH"), ..call.about() }, claim.clone());
    let request = ChargeRequest {
        caller,
        merchant,
        purpose: Purpose::Subscription,
        money,
        initiator: Initiator::Customer,
        reason: Reason::Recurring,
        merchant_txn_ref: subscription.terms.merchant_txn_ref.clone(),
        details,
        subscription: Some(Box::new(known)),
        at: None,
        claim,
        request_id: call.request_id,
        fault: steering.fault,
        steer: None,
        browser: None,
        body,
    };
    let answer = run(app, request, source.stored(Purpose::Subscription)).await?;
    // A decline, or an earlier answer.
    if answer.status != 200 || answer.replayed {
        return Ok(answer);
    }
    as_it_stands(app, (caller, id), answer, &about, claimed.as_ref()).await
}

/// The answer was made before its write, by a subscription that somebody may have changed while the card was verified: then
/// this one takes its place, for the key too.
async fn as_it_stands(
    app: &App,
    (caller, id): (Caller, SubscriptionId),
    made: Answer,
    about: &About,
    claim: Option<&Claim>,
) -> Result<Answer, Error> {
    let said: serde_json::Value = serde_json::from_str(&made.body).map_err(Error::internal)?;
    let verified = said["transaction_details"]["id"].as_str().and_then(TransactionId::parse);
    let verified = match verified {
        Some(id) => store::reread(&app.db, id).await?,
        None => None,
    };
    let verified = verified.ok_or_else(|| Error::internal("a card's verification is gone"))?;
    let known = subscribed::find(app, caller, id).await?;
    let taken = verified.token == Some(known.subscription.token);
    let answer = if taken && !matches!(known.subscription.status, Status::Cancelled | Status::Expired) {
        subscribed::updated(&known, Some(&verified))?
    } else {
        let text = "The subscription has ended, or has got another card, while this one was verified.";
        let error = Error::new(Code::Err1005).with_detail(text).with_transaction(verified.id);
        let refusal = answer::refusal(about, error);
        Answer::new(refusal.status_code, serde_json::to_string(&refusal).map_err(Error::internal)?)
    };
    if let (Some(claim), true) = (claim, answer.body != made.body) {
        app.db.write(vec![claim.answered(verified.id, &answer, true)]).await?;
    }
    Ok(answer)
}
