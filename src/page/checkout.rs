//! The page of a charge that waits for its cardholder (contract section 5): it leads the browser to the issuer, takes it back,
//! and goes on to the shop. Opening it again shows how it ended, whenever. It depends on no cookie: what says whose payment
//! it is stands signed in its address.

use super::patience::{Patience, WAITS};
use super::shell::{self, Action, Policy, Shell, Told};
use super::texts::Language;
use super::visit::result_of;
use super::visitor::Visitor;
use super::{go_back, language};
use crate::app::App;
use crate::error::Error;
use crate::id::{RequestId, TransactionId};
use crate::pay::transaction::{State as Stands, Step, Transaction, Waits};
use crate::pay::{store, waiting};
use crate::threeds::messages::{CReq, VERSION};
use askama::Template;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[derive(Template)]
#[template(path = "page/challenge.html")]
pub struct Forward<'a> {
    pub shell: &'a Shell,
    pub action: &'a str,
    pub field: &'static str,
    pub message: &'a str,
    pub button: &'static str,
}

/// GET by the cardholder, POST by the issuer's page: what is in the latter came through the cardholder's hands, and the 3DS
/// server is asked instead.
pub async fn visit(
    State(app): State<App>,
    Path(token): Path<String>,
    method: Method,
    Extension(RequestId(request_id)): Extension<RequestId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(&headers);
    let Some(id) = waiting::visitor(&app, &token) else { return not_found(&app, language) };
    // The issuer has sent the browser back, so its word is on the way, if it is not here yet.
    let returned = method == Method::POST;
    let patience = Patience::new(&app, query.as_deref().or(returned.then_some(WAITS)));
    let mut found = resume(&app, id, &request_id).await;
    // Another visit makes the payment.
    while matches!(&found, Ok(found) if found.state == Stands::Pending || returned && found.state == Stands::Waiting)
        && patience.lasts().await
    {
        found = resume(&app, id, &request_id).await;
    }
    // A wallet may have added words of its own.
    let words = query.as_deref().unwrap_or_default();
    let back = words.split('&').any(|word| word.split('=').next() == Some(waiting::FROM_WALLET));
    match found {
        Ok(found) => answer(&app, language, &found, &Visit { path: format!("/checkout/{token}"), back }),
        Err(error) => broken(&app, language, &error, &request_id),
    }
}

/// Money may move: it goes on without the browser.
async fn resume(app: &App, id: TransactionId, request_id: &str) -> Result<Transaction, Error> {
    let (flow, request_id) = (app.clone(), request_id.to_owned());
    let task = app.tasks.spawn(async move { waiting::resume(&flow, id, &request_id).await });
    task.await.unwrap_or_else(|_| Err(Error::internal("a payment's task panicked")))
}

/// Where the visitor is, and whether a wallet has sent them.
struct Visit {
    path: String,
    back: bool,
}

/// The cardholder does not want to pay this way: ends what waits. What has ended already stays as it is.
pub async fn leave(
    State(app): State<App>,
    Path(token): Path<String>,
    visitor: Visitor,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let language = language(&headers);
    if visitor.foreign {
        return foreign(&app, language);
    }
    let Some(id) = waiting::visitor(&app, &token) else { return not_found(&app, language) };
    let ended = match store::reread(&app.db, id).await {
        Ok(Some(found)) => waiting::abandon(&app, &found, &request_id).await,
        Ok(None) => return not_found(&app, language),
        Err(error) => Err(error),
    };
    match ended {
        Ok(found) => answer(&app, language, &found, &Visit { path: format!("/checkout/{token}"), back: true }),
        Err(error) => broken(&app, language, &error, &request_id),
    }
}

fn answer(app: &App, language: Language, found: &Transaction, visit: &Visit) -> Response {
    let urls = &found.details.return_url;
    let back = if found.state.succeeded() { &urls.success_url } else { &urls.decline_url };
    match (found.state, &found.details.waits) {
        (Stands::Waiting, Some(Waits { step: Step::Challenge { acs_url, server_id, acs_id, window, .. }, .. })) => {
            let request = CReq {
                message_type: "CReq".to_owned(),
                message_version: VERSION.to_owned(),
                server_id: server_id.clone(),
                acs_id: acs_id.clone(),
                window: window.clone(),
            };
            challenge(app, language, found, (acs_url, &request))
        }
        (Stands::Waiting, Some(Waits { step: Step::Consent { url }, .. })) if visit.back => {
            undecided(app, language, found, url, visit)
        }
        (Stands::Waiting, Some(Waits { step: Step::Consent { url }, .. })) => shell::see_other(app, url),
        (Stands::Pending, _) => processing(app, language, found, &visit.path),
        // The hosted page says why, and has the form again while there are tries.
        (state, _) if !state.succeeded() && found.details.link.is_some() => {
            let page = found.details.link.map(|link| result_of(app, language, link));
            shell::see_other(app, &page.unwrap_or_default())
        }
        _ => match back {
            Some(url) => shell::see_other(app, &go_back(url, Some(found.id))),
            None => not_found(app, language),
        },
    }
}

fn dressed(app: &App, language: Language, found: &Transaction) -> (Shell, Vec<String>) {
    match app.directory.merchant(found.caller, &found.merchant_id) {
        Some(merchant) => {
            let shell = Shell::of(app, language, &merchant, found.caller.live).paid_with(Some(found.scheme));
            (shell, merchant.look.framed_by.clone())
        }
        None => (Shell::plain(app, language), Vec::new()),
    }
}

fn challenge(app: &App, language: Language, found: &Transaction, (acs_url, request): (&str, &CReq)) -> Response {
    let (shell, framed_by) = dressed(app, language, found);
    let message = URL_SAFE_NO_PAD.encode(serde_json::to_vec(request).unwrap_or_default());
    let button = shell.t.challenge.forward;
    let page = Forward { shell: &shell, action: acs_url, field: "creq", message: &message, button };
    let policy = Policy { leads_to: vec![acs_url], leads_on: true, framed_by: &framed_by, ..Policy::default() };
    shell::respond(app, StatusCode::OK, &page, &policy)
}

/// Back from the wallet without a word: there again, or not at all.
fn undecided(app: &App, language: Language, found: &Transaction, url: &str, visit: &Visit) -> Response {
    let (shell, framed_by) = dressed(app, language, found);
    let t = &shell.t.challenge;
    let leave = format!("{}{}/leave", shell.base, visit.path);
    let page = Told {
        shell: &shell,
        heading: t.undecided,
        lines: vec![(t.undecided_why)(found.scheme.label())],
        busy: false,
        actions: vec![Action::link("continue", url, t.forward), Action::post("leave", leave, t.leave).second()],
    };
    let urls = &found.details.return_url;
    // What is left here may have been approved meanwhile.
    let leads_to = [&urls.success_url, &urls.decline_url].into_iter().flatten().map(String::as_str).collect();
    shell::respond(app, StatusCode::OK, &page, &Policy { leads_to, framed_by: &framed_by, ..Policy::default() })
}

fn processing(app: &App, language: Language, found: &Transaction, path: &str) -> Response {
    let (shell, framed_by) = dressed(app, language, found);
    let href = format!("{}{path}", shell.base);
    let shell = shell.waiting_for(app, &href);
    let page = Told {
        shell: &shell,
        heading: shell.t.told.processing,
        lines: vec![shell.t.told.processing_why.to_owned()],
        busy: true,
        actions: vec![Action::link("again", href.clone(), shell.t.told.look_again)],
    };
    shell::respond(app, StatusCode::OK, &page, &Policy { framed_by: &framed_by, ..Policy::default() })
}

pub fn not_found(app: &App, language: Language) -> Response {
    let t = &language.texts().told;
    told(app, language, StatusCode::NOT_FOUND, (t.not_found, t.not_found_why))
}

/// A form of our own that another site's page has sent.
pub fn foreign(app: &App, language: Language) -> Response {
    let t = &language.texts().told;
    told(app, language, StatusCode::FORBIDDEN, (t.foreign, t.foreign_why))
}

/// With the seconds after which the address may ask again.
pub fn too_often(app: &App, language: Language, seconds: u64) -> Response {
    let t = &language.texts().told;
    let mut response = told(app, language, StatusCode::TOO_MANY_REQUESTS, (t.too_many, &(t.too_many_why)(seconds)));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A page that belongs to no payment.
fn told(app: &App, language: Language, status: StatusCode, (heading, why): (&str, &str)) -> Response {
    let shell = Shell::plain(app, language);
    let page = Told { shell: &shell, heading, lines: vec![why.to_owned()], busy: false, actions: Vec::new() };
    shell::respond(app, status, &page, &Policy::default())
}

/// The cause goes to the log, by the request's id.
pub fn broken(app: &App, language: Language, error: &Error, request_id: &str) -> Response {
    tracing::error!(cause = error.cause(), request = request_id, "a cardholder's page failed");
    let t = &language.texts().told;
    told(app, language, StatusCode::INTERNAL_SERVER_ERROR, (t.broken, t.broken_why))
}
