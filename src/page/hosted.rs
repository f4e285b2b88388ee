//! The hosted payment page (contract section 8). What it shows is read from the link and its transaction each time: whatever a
//! tab did or another process finished, the page says what is true.

use super::body::Form;
use super::form::{self, Payment, Typed};
use super::patience::Patience;
use super::shell::{Action, Policy, Shell, Told, respond, see_other};
use super::texts::Language;
use super::view::{Alert, PayPage};
use super::visitor::{Limits, Visitor};
use super::{go_back, reason};
use crate::acquirer::{Initiator, Reason};
use crate::app::App;
use crate::codes::Code;
use crate::directory::Merchant;
use crate::error::Error;
use crate::id::{LinkId, RequestId};
use crate::json::Node;
use crate::pay::charge::{CardSource, ChargeRequest, Purpose, charge};
use crate::pay::links::{self, Link, Standing};
use crate::pay::transaction::{Details, State as Stage, Transaction};
use crate::pay::{store, waiting};
use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;
use zeroize::Zeroizing;

/// One visit to one link's page.
pub struct Visit {
    app: App,
    language: Language,
    code: String,
    request_id: String,
}

/// A link with what belongs to it.
struct Shown {
    link: Link,
    merchant: Arc<Merchant>,
    /// Of the last try.
    transaction: Option<Transaction>,
}

impl Shown {
    /// The result of a try comes by itself, without the cardholder.
    fn is_busy(&self) -> bool {
        let stage = self.transaction.as_ref().map(|transaction| transaction.state);
        self.link.standing == Standing::Busy && stage != Some(Stage::Waiting)
    }
}

impl FromRequestParts<App> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Visit, Response> {
        let japanese = parts.uri.path().starts_with(Language::Japanese.prefix());
        let language = if japanese { Language::Japanese } else { Language::English };
        // What is no UTF-8 is no code either.
        let code = Path::<String>::from_request_parts(parts, app).await.map(|Path(code)| code).unwrap_or_default();
        let code = if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) { code } else { String::new() };
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Visit { app: app.clone(), language, code, request_id })
    }
}

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
    if !shown.link.is_open(visit.app.clock.now()) {
        return see_other(&visit.app, &visit.own("/result"));
    }
    let Some(form) = Form::read(&visit.app, &headers, body).await else {
        let t = &visit.language.texts().told;
        return visit.told(Some(&shown), StatusCode::BAD_REQUEST, t.unreadable, t.unreadable_why, vec![visit.back()]);
    };
    match form::check(&shown.link, visit.language, &form, visit.app.clock.now()) {
        (Ok(payment), typed) => visit.try_to_pay(shown, payment, &typed, visitor).await,
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
        if !links::cancel(&visit.app, shown.link.id).await? {
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

/// The page of a link, for other pages that its browser comes from.
pub fn result_of(app: &App, language: Language, link: LinkId) -> String {
    let code = links::code(&app.vault, link);
    Shell::plain(app, language).path(&format!("/HostedPaymentPage/{code}/result"))
}

impl Visit {
    fn path(&self, below: &str) -> String {
        format!("/HostedPaymentPage/{}{below}", self.code)
    }

    /// This page's address, or one below it.
    fn own(&self, below: &str) -> String {
        Shell::plain(&self.app, self.language).path(&self.path(below))
    }

    fn back(&self) -> Action {
        Action::link("back", self.own(""), self.language.texts().told.back_to_page)
    }

    async fn read(&self) -> Result<Option<Shown>, Error> {
        let Some(link) = links::by_code(&self.app, &self.code).await? else { return Ok(None) };
        let merchant = self.app.directory.merchant(link.caller, &link.merchant_id);
        let merchant = merchant.ok_or_else(|| Error::internal("a link's merchant is gone"))?;
        let transaction = match link.transaction {
            Some(id) => store::reread(&self.app.db, id).await?,
            None => None,
        };
        Ok(Some(Shown { link, merchant, transaction }))
    }

    /// What every form passes before it is read.
    async fn admit(&self, visitor: &Visitor, limits: &Limits) -> Result<Shown, Response> {
        let t = &self.language.texts().told;
        if visitor.foreign {
            return Err(self.told(None, StatusCode::FORBIDDEN, t.foreign, t.foreign_why, vec![self.back()]));
        }
        limits.of_address(visitor.ip).map_err(|seconds| self.too_often(None, seconds))?;
        let shown = match self.read().await {
            Ok(Some(shown)) => shown,
            Ok(None) => return Err(self.not_found()),
            Err(error) => return Err(self.failed(None, &error)),
        };
        match limits.of_link(shown.link.id.as_bytes()) {
            Ok(()) => Ok(shown),
            Err(seconds) => Err(self.too_often(Some(&shown), seconds)),
        }
    }

    /// In a task of its own: a visitor who closes the page changes nothing.
    async fn try_to_pay(&self, shown: Shown, payment: Payment, typed: &Typed, visitor: Visitor) -> Response {
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
            Err(error) if matches!(error.code, Code::Err1011 | Code::Err1015) => {
                let why = if error.code == Code::Err1011 { t.not_sent } else { t.shop };
                let lines = vec![why.to_owned()];
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

    /// Where a try goes that has no result yet: to its bank, or to the page that waits.
    fn way_on(&self, shown: &Shown) -> String {
        let waits = shown.transaction.as_ref().filter(|transaction| transaction.state == Stage::Waiting);
        waits.map_or_else(|| self.own("/result"), |transaction| waiting::entrance(&self.app, transaction.id))
    }

    /// Back to the shop, once there is nothing left to do here.
    fn outcome(&self, shown: &Shown) -> Option<Response> {
        let urls = &shown.link.details.return_url;
        let url = match shown.link.standing {
            Standing::Paid => &urls.success_url,
            Standing::Declined => &urls.decline_url,
            _ => return None,
        };
        let tried = shown.transaction.as_ref().map(|transaction| transaction.id);
        Some(see_other(&self.app, &go_back(url.as_deref()?, tried)))
    }

    /// Why the last try did not go through.
    fn declined(&self, shown: &Shown) -> Option<Alert> {
        let t = &self.language.texts().declined;
        let why = reason::of(shown.transaction.as_ref()?, t)?;
        let lines = vec![why.to_owned(), (t.left)(shown.link.tries_left())];
        Some(Alert { title: t.heading, heading: t.heading, lines, fields: Vec::new() })
    }

    fn page(&self, shown: &Shown) -> Response {
        let t = &self.language.texts().told;
        let urls = &shown.link.details.return_url;
        let tried = shown.transaction.as_ref().map(|transaction| transaction.id);
        let shop = |url: Option<&String>| -> Vec<Action> {
            let text = self.language.texts().back_to_shop;
            url.map(|url| Action::link("shop", go_back(url, tried), text)).into_iter().collect()
        };
        let ok = StatusCode::OK;
        match shown.link.standing {
            Standing::Open if shown.link.is_open(self.app.clock.now()) => {
                self.form(shown, ok, &Typed::default(), self.declined(shown))
            }
            Standing::Open => {
                let url = urls.cancel_url.as_ref().or(urls.decline_url.as_ref());
                self.told(Some(shown), StatusCode::GONE, t.expired, t.expired_why, shop(url))
            }
            Standing::Busy => self.waiting(shown),
            Standing::Paid => {
                let why = (t.paid_why)(&shown.merchant.legal_name);
                self.told(Some(shown), ok, t.paid, &why, shop(urls.success_url.as_ref()))
            }
            Standing::Declined => self.told(Some(shown), ok, t.failed, t.failed_why, shop(urls.decline_url.as_ref())),
            Standing::Cancelled => {
                let url = urls.cancel_url.as_ref().or(urls.decline_url.as_ref());
                self.told(Some(shown), ok, t.cancelled, t.cancelled_why, shop(url))
            }
        }
    }

    /// A try is on its way: this page looks again by itself, also without scripts. What waits for its cardholder can be gone on
    /// with, or given up.
    fn waiting(&self, shown: &Shown) -> Response {
        let t = &self.language.texts().told;
        let stage = shown.transaction.as_ref().map(|transaction| transaction.state);
        if stage == Some(Stage::Waiting) {
            let on = Action::link("continue", self.way_on(shown), t.continue_at_bank);
            let other = Action::post("other-card", self.own("/other-card"), t.other_card).second();
            return self.told(Some(shown), StatusCode::OK, t.waiting, t.waiting_why, vec![on, other]);
        }
        let settling = stage == Some(Stage::Unknown);
        let (heading, why) = if settling { (t.settling, t.settling_why) } else { (t.processing, t.processing_why) };
        let result = self.own("/result");
        let shell = self.shell(shown).waiting_for(&result);
        let actions = vec![Action::link("again", result, t.look_again).second()];
        let page = Told { shell: &shell, heading, lines: vec![why.to_owned()], busy: true, actions };
        respond(&self.app, StatusCode::OK, &page, &policy(Some(shown)))
    }

    fn shell(&self, shown: &Shown) -> Shell {
        Shell::of(&self.app, self.language, &shown.merchant, shown.link.caller.live).switched_by(&self.path(""))
    }

    fn form(&self, shown: &Shown, status: StatusCode, typed: &Typed, alert: Option<Alert>) -> Response {
        let shell = self.shell(shown);
        let page = PayPage::new(&shell, &shown.link, self.own(""), typed, alert);
        respond(&self.app, status, &page, &policy(Some(shown)))
    }

    fn told(
        &self,
        shown: Option<&Shown>,
        status: StatusCode,
        heading: &str,
        why: &str,
        actions: Vec<Action>,
    ) -> Response {
        let shell = match shown {
            Some(shown) => self.shell(shown),
            None => Shell::plain(&self.app, self.language).switched_by(&self.path("")),
        };
        let page = Told { shell: &shell, heading, lines: vec![why.to_owned()], busy: false, actions };
        respond(&self.app, status, &page, &policy(shown))
    }

    fn not_found(&self) -> Response {
        let t = &self.language.texts().told;
        self.told(None, StatusCode::NOT_FOUND, t.not_found, t.not_found_why, vec![])
    }

    fn too_often(&self, shown: Option<&Shown>, seconds: u64) -> Response {
        let t = &self.language.texts().told;
        let why = (t.too_many_why)(seconds);
        let mut response = self.told(shown, StatusCode::TOO_MANY_REQUESTS, t.too_many, &why, vec![self.back()]);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }

    fn failed(&self, shown: Option<&Shown>, error: &Error) -> Response {
        let (cause, code, request) = (error.cause(), error.code.name(), self.request_id.as_str());
        tracing::error!(cause, code, request, "a payment page failed");
        let t = &self.language.texts().told;
        self.told(shown, StatusCode::INTERNAL_SERVER_ERROR, t.broken, t.broken_why, vec![self.back()])
    }
}

/// The shop's origins: its forms lead there by a redirect, and browsers hold the policy against that too.
fn policy(shown: Option<&Shown>) -> Policy<'_> {
    let Some(shown) = shown else { return Policy::default() };
    let urls = &shown.link.details.return_url;
    let leads_to = [&urls.success_url, &urls.decline_url, &urls.cancel_url];
    Policy {
        leads_to: leads_to.into_iter().flatten().map(String::as_str).collect(),
        framed_by: &shown.merchant.look.framed_by,
        wallet_scripts: &[],
    }
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
        claim: None,
        request_id: request_id.to_owned(),
        fault: None,
        steer: None,
        browser: Some(visitor.browser),
    };
    (request, CardSource::Card { card: payment.card, cvc: Some(payment.cvc), store: link.details.stores_card })
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
