//! A charge's share in a subscription (contract section 7): what its intent and its end write for it. A subscription's row is
//! made with the intent of its first charge, and nobody sees it before that one's approval.

use super::plan::{self, Charged};
use super::request::ChargeRequest;
use super::subscribed::{self, Known};
use super::transaction::{Kind, Source, State, Transaction};
use super::{Answer, envelope};
use crate::app::App;
use crate::codes::Code;
use crate::db::Stmt;
use crate::error::Error;
use crate::id::TokenId;
use crate::response_codes::{self, Retry};
use crate::subscription::rows::{self, How};
use crate::subscription::{Part, Share, Subscription};

/// With the time of the first charge the dates are known.
///
/// # Errors
/// VAL0002 when the end lies before the first cycle.
pub fn agree(request: &ChargeRequest, intent: &mut Transaction) -> Result<(), Error> {
    if let (Some(new), None) = (&request.subscription, &intent.details.subscription) {
        intent.details.subscription = Some(begin(&new.subscription, intent)?);
    }
    Ok(())
}

fn begin(new: &Subscription, charge: &Transaction) -> Result<Share, Error> {
    new.clone().begin(charge.created_at).ok_or_else(|| {
        let text = "The subscription would end before its first cycle, or after the year 9999.";
        Error::field("subscription", "range", text)
    })
}

/// A charge that waited for its cardholder begins its subscription at its approval, not when it was asked for.
pub fn begin_now(waited: &Subscription, intent: &mut Transaction, now: i64) {
    // That it has dates was seen when it began to wait.
    if let Some(share) = waited.clone().begin(now) {
        intent.details.subscription = Some(share);
    }
}

/// Part of the intent's write; `token`: what is charged, or made with the approval.
pub fn begun(request: &ChargeRequest, token: Option<TokenId>, intent: &Transaction) -> Result<Vec<Stmt>, Error> {
    let (Some(known), Some(share)) = (&request.subscription, &intent.details.subscription) else {
        return Ok(Vec::new());
    };
    let subscription = &known.subscription;
    Ok(match &share.part {
        Part::Begins { completed, anchor, .. } => {
            let token = token.ok_or_else(|| Error::internal("a subscription's card is not stored"))?;
            let (created_at, anchor_at) = (intent.created_at, *anchor);
            let new = Subscription { token, first: intent.id, created_at, anchor_at, ..subscription.clone() };
            let mut writes = vec![rows::insert(&new)?];
            if *completed > 0 {
                writes.push(rows::charge(share.id, 1, intent.id));
            }
            writes
        }
        Part::Renews { cycle, .. } => {
            vec![rows::take(subscription, intent.id), rows::charge(share.id, *cycle, intent.id)]
        }
        Part::Changes { .. } => Vec::new(),
    })
}

/// What a rule refuses before anything is sent is no try, but it is told and listed.
pub fn refused(app: &App, request: &ChargeRequest, intent: &Transaction) -> Vec<Stmt> {
    match (&request.subscription, &intent.details.subscription) {
        (Some(known), Some(Share { id, part: Part::Renews { cycle, later, .. }, .. })) => vec![
            rows::refused(&known.subscription, *later),
            rows::charge(*id, *cycle, intent.id),
            rows::plan(*id, app.directory.has_clock(intent.caller)),
        ],
        _ => Vec::new(),
    }
}

/// Part of the write of the charge's end, whoever ends it.
pub fn ended(app: &App, after: &Transaction) -> Vec<Stmt> {
    let (Some(share), Some(how)) = (&after.details.subscription, how(after)) else { return Vec::new() };
    let clocked = app.directory.has_clock(after.caller);
    let mut writes = rows::ended(share, after.id, (after.token, after.source == Source::Token), how, clocked);
    if share.owned && how != How::Paid {
        writes.push(rows::erase_unused(share.id));
    }
    writes
}

fn how(after: &Transaction) -> Option<How> {
    match after.state {
        State::Approved => Some(How::Paid),
        State::Reversed => Some(How::Undone { seen: true }),
        State::NotSent => Some(How::Undone { seen: false }),
        State::Declined if matches!(after.code, Some(Code::Err1000 | Code::Err1009)) && !after.unreached() => {
            let row = after.response_code.and_then(response_codes::find);
            Some(How::Declined { hopeless: row.is_some_and(|row| row.retry == Retry::Never) })
        }
        State::Declined => Some(How::Undone { seen: true }),
        _ => None,
    }
}

/// The answer of what begins a subscription or changes its card, made before its write so that both stand together.
pub fn answer(request: &ChargeRequest, after: &Transaction) -> Result<Answer, Error> {
    let (Some(known), Some(share)) = (&request.subscription, &after.details.subscription) else {
        return Err(Error::internal("a subscription's charge has none"));
    };
    let subscription = &known.subscription;
    if let Part::Changes { at } = share.part {
        let changed = subscribed::with_card(subscription, after, at);
        let changed = Known { subscription: changed, charges: known.charges.clone() };
        return subscribed::updated(&changed, Some(after));
    }
    let begun = subscription.begun(share);
    let charges = if after.kind == Kind::Capture || matches!(share.part, Part::Begins { completed: 1, .. }) {
        vec![Charged::of(after, 1)]
    } else {
        Vec::new()
    };
    let details = plan::details(&begun, &charges);
    Ok(envelope::answer_with(after, &request.merchant, &request.request_id, Some(details)))
}
