//! The hosted payment page (contract section 8). What it shows is read from the link and its transaction each time: whatever a
//! tab did or another process finished, the page says what is true.

use super::body::Form;
use super::form::{self, Payment, Typed};
use super::go_back;
use super::limits::Limits;
use super::patience::Patience;
use super::shell::see_other;
use super::view::Alert;
use super::visit::{Shown, Visit};
use super::visitor::Visitor;
use crate::acquirer::{Initiator, Reason};
use crate::codes::Code;
use crate::error::Error;
use crate::json::Node;
use crate::pay::charge::charge;
use crate::pay::links::{self, Standing};
use crate::pay::request::{CardSource, ChargeRequest, Purpose};
use crate::pay::transaction::{Details, State as Stage};
use crate::pay::waiting;
use crate::threeds::messages::Browser;
use axum::Extension;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use zeroize::Zeroizing;

pub async fn show(visit: Visit) -> Response {
    match visit.read().await {
        Ok(Some(shown)) => visit.page(&shown),
        Ok(None) => visit.not_found(),
        Err(error) => visit.failed(None, &error),
    }
}

/// Where a page that waits looks: it goes on as soon as there is a result.
pub async fn result(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let patience = Patience::new(&visit.app, query.as_deref());
    let mut read = visit.read().await;
    while matches!(&read, Ok(Some(shown)) if shown.is_busy()) && patience.lasts().await {
        read = visit.read().await;
    }
    match read {
        Ok(Some(shown)) => visit.outcome(&shown).unwrap_or_else(|| visit.page(&shown)),
        Ok(None) => visit.not_found(),
        Err(error) => visit.failed(None, &error),
    }
}

pub async fn pay(
    visit: Visit,
    visitor: Visitor,
    Extension(limits): Extension<Arc<Limits>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let shown = match visit.admit(&visitor, &limits).await {
        Ok(shown) => shown,
        Err(response) => return response,
    };
    if !shown.link.is_open(shown.now) {
        return see_other(&visit.app, &visit.own("/result"));
    }
    let Some(form) = Form::read(&visit.app, &headers, body).await else {
        let t = &visit.language.texts().told;
        return visit.told(Some(&shown), StatusCode::BAD_REQUEST, t.unreadable, t.unreadable_why, vec![visit.back()]);
    };
    match form::check(&shown.link, visit.language, &form, shown.now) {
        (Ok(payment), typed) => {
            // The page's language is the visitor's choice.
            let language = Some(visit.language.tag().to_owned());
            let visitor = Visitor { browser: Browser { language, ..visitor.browser }, ..visitor };
            visit.try_to_pay(shown, payment, &typed, visitor).await
        }
        (Err(fields), typed) => {
            let t = &visit.language.texts().wrong;
            let alert = Alert { title: t.title_prefix, heading: t.summary, lines: Vec::new(), fields };
            visit.form(&shown, StatusCode::UNPROCESSABLE_ENTITY, &typed, Some(alert))
        }
    }
}

pub async fn cancel(visit: Visit, visitor: Visitor, Extension(limits): Extension<Arc<Limits>>) -> Response {
    let shown = match visit.admit(&visitor, &limits).await {
        Ok(shown) => shown,
        Err(response) => return response,
    };
    let cancelled = async {
        if !links::cancel(&visit.app, &shown.link).await? {
            return Ok(None);
        }
        Ok(Some(links::tries(&visit.app, shown.link.id).await?.last().copied()))
    };
    match cancelled.await {
        Ok(Some(tried)) => {
            tracing::info!(link = %shown.link.id, request = visit.request_id, "cancelled");
            let urls = &shown.link.details.return_url;
            let url = urls.cancel_url.as_deref().or(urls.decline_url.as_deref()).unwrap_or_default();
            see_other(&visit.app, &go_back(url, tried))
        }
        // A try was faster, or the time is over: the page says which.
        Ok(None) => see_other(&visit.app, &visit.own("")),
        Err(error) => visit.failed(Some(&shown), &error),
    }
}

/// Gives up a try that waits for its cardholder. It counts, and the form is there again.
pub async fn other_card(visit: Visit, visitor: Visitor, Extension(limits): Extension<Arc<Limits>>) -> Response {
    let shown = match visit.admit(&visitor, &limits).await {
        Ok(shown) => shown,
        Err(response) => return response,
    };
    let waits = shown.transaction.clone().filter(|transaction| transaction.state == Stage::Waiting);
    if let (Standing::Busy, Some(transaction)) = (shown.link.standing, waits) {
        let (app, request_id) = (visit.app.clone(), visit.request_id.clone());
        let task = app.tasks.clone().spawn(async move { waiting::abandon(&app, &transaction, &request_id).await });
        match task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return visit.failed(Some(&shown), &error),
            Err(_) => return visit.failed(Some(&shown), &Error::internal("a payment's task panicked")),
        }
    }
    see_other(&visit.app, &visit.own("/result"))
}

impl Visit {
    /// What every form passes before it is read.
    pub async fn admit(&self, visitor: &Visitor, limits: &Limits) -> Result<Shown, Response> {
        let t = &self.language.texts().told;
        if visitor.foreign {
            return Err(self.told(None, StatusCode::FORBIDDEN, t.foreign, t.foreign_why, vec![self.back()]));
        }
        let shown = match self.read().await {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                let slips = limits.of_unknown(visitor.ip);
                return Err(slips.map_or_else(|seconds| self.too_often(None, seconds), |()| self.not_found()));
            }
            Err(error) => return Err(self.failed(None, &error)),
        };
        let link = &shown.link;
        match limits.of_form(visitor.ip, link.caller.live).and_then(|()| limits.of_link(link.id)) {
            Ok(()) => Ok(shown),
            Err(seconds) => Err(self.too_often(Some(&shown), seconds)),
        }
    }

    /// In a task of its own: a visitor who closes the page changes nothing.
    async fn try_to_pay(&self, shown: Shown, payment: Payment, typed: &Typed, visitor: Visitor) -> Response {
        let by_wallet = matches!(payment.source, CardSource::Wallet { .. });
        let (request, source) = request(&shown, payment, visitor, &self.request_id);
        let app = self.app.clone();
        let charged = self.app.tasks.spawn(async move { charge(&app, request, source).await }).await;
        let charged = charged.unwrap_or_else(|_| {
            Err(Error::internal("a payment's task panicked; its intent is recovered by the sweep"))
        });
        let now = match self.read().await {
            Ok(Some(now)) => now,
            Ok(None) => return self.not_found(),
            Err(error) => return self.failed(Some(&shown), &error),
        };
        let t = &self.language.texts().declined;
        match charged {
            Ok(_) => {}
            // Another tab was faster: what became of that is shown.
            Err(error) if error.code == Code::Err1014 => return see_other(&self.app, &self.own("/result")),
            // Nothing was recorded, and nothing counts.
            Err(error) if not_begun(error.code, by_wallet) => {
                let lines = vec![now.not_begun(self.language.texts(), error.code)];
                let alert = Alert { title: t.heading, heading: t.heading, lines, fields: Vec::new() };
                return self.form(&now, StatusCode::OK, typed, Some(alert));
            }
            Err(error) if error.code == Code::Val0007 => {
                return self.too_often(Some(&now), error.retry_after.unwrap_or(60));
            }
            Err(error) => return self.failed(Some(&now), &error),
        }
        match self.outcome(&now) {
            Some(response) => response,
            None if now.link.standing == Standing::Busy => see_other(&self.app, &self.way_on(&now)),
            None => self.form(&now, StatusCode::OK, typed, self.declined(&now)),
        }
    }
}

/// A try that ended before it began, and why the visitor may read: the bank or the wallet is out of reach, this is nothing
/// that the merchant takes, or the wallet's token cannot be charged (its card is past, or it says another amount).
fn not_begun(code: Code, by_wallet: bool) -> bool {
    matches!(code, Code::Err1011 | Code::Err1015)
        || by_wallet && matches!(code, Code::Err1001 | Code::Err1002 | Code::Val0002)
}

fn request(shown: &Shown, payment: Payment, visitor: Visitor, request_id: &str) -> (ChargeRequest, CardSource) {
    let link = &shown.link;
    let ip = visitor.ip.map(|ip| ip.to_string());
    let details = Details {
        shipping_address: link.details.shipping_address.clone(),
        customer_ip: ip.clone(),
        visited_ip: ip.unwrap_or_default(),
        return_url: link.details.return_url.clone(),
        billing_address: Some(payment.billing_address),
        link: Some(link.id),
        ..Details::default()
    };
    let request = ChargeRequest {
        caller: link.caller,
        merchant: shown.merchant.clone(),
        purpose: Purpose::Purchase,
        money: payment.money,
        initiator: Initiator::Customer,
        reason: Reason::Unscheduled,
        merchant_txn_ref: link.details.merchant_txn_ref.clone(),
        body: body(&details),
        details,
        subscription: None,
        at: None,
        claim: None,
        request_id: request_id.to_owned(),
        fault: None,
        steer: None,
        browser: Some(visitor.browser),
    };
    (request, payment.source)
}

/// The request's texts, as the API would have had them.
fn body(details: &Details) -> Node {
    let text = |value: &str| Node::Text(Zeroizing::new(value.to_owned()));
    let address = details.billing_address.clone().unwrap_or_default();
    let parts = [
        ("country", address.country),
        ("email", address.email),
        ("phone_number", address.phone_number),
        ("address1", address.address1),
        ("address2", address.address2),
        ("city", address.city),
        ("state", address.state),
        ("postal_code", address.postal_code),
    ];
    let parts = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(&value?))));
    Node::Object(vec![("billing_address".to_owned(), Node::Object(parts.collect()))])
}
