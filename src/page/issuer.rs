//! The sandbox issuer's challenge page (contract section 12): any six digits but 000000 pass. It speaks with the gateway as a
//! bank's does: CReq in, CRes out, and the result that counts behind the browser's back.

use super::amount::written;
use super::around::Around;
use super::body::Form;
use super::checkout::{Forward, broken, foreign, not_found};
use super::language;
use super::shell::{self, Policy, Shell};
use super::visitor::Visitor;
use crate::app::App;
use crate::error::Error;
use crate::id::RequestId;
use crate::threeds::messages::{CReq, CRes};
use crate::threeds::sandbox::{Challenge, Entered};
use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[derive(Template)]
#[template(path = "page/issuer.html")]
struct Asks<'a> {
    shell: &'a Shell,
    action: &'a str,
    merchant: &'a str,
    amount: &'a str,
    masked: &'a str,
    creq: &'a str,
    wrong: bool,
}

/// Without `code` and `leave` it asks; with one of them it has been answered. A bank's page takes forms of any site's; this one
/// only those of the gateway's own pages, which are all that lead here.
pub async fn answer(
    State(app): State<App>,
    visitor: Visitor,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let language = language(&headers);
    if visitor.foreign {
        return foreign(&app, language);
    }
    let Some(form) = Form::read(&app, &headers, body).await else { return not_found(&app, language) };
    match respond(&app, &headers, &form).await {
        Ok(Some(response)) => response,
        Ok(None) => not_found(&app, language),
        Err(error) => broken(&app, language, &error, &request_id),
    }
}

async fn respond(app: &App, headers: &HeaderMap, form: &Form) -> Result<Option<Response>, Error> {
    let text = form.get("creq");
    let request = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice::<CReq>(&bytes).ok());
    let Some(request) = request else { return Ok(None) };
    let Some(challenge) = app.issuer.challenge(&request).await? else { return Ok(None) };
    let entered = match (form.has("leave"), form.has("code")) {
        (true, _) => Some(Entered::Cancel),
        (false, true) => Some(Entered::Code(form.get("code"))),
        (false, false) => None,
    };
    let ended = match (challenge.ended.clone(), entered) {
        (Some(ended), _) => Some(ended),
        (None, Some(entered)) => app.issuer.enter(&request, entered).await?,
        (None, None) => None,
    };
    let shell = Shell { test: true, ..Shell::plain(app, language(headers)) };
    let around = Around::of(app, &challenge.notification_url).await?;
    let policy = around.policy();
    Ok(Some(match ended {
        Some(ended) => back(app, &shell, &challenge, &ended, &policy),
        None => asks(app, &shell, &challenge, (text, entered.is_some()), &policy),
    }))
}

fn asks(app: &App, shell: &Shell, challenge: &Challenge, (creq, wrong): (&str, bool), policy: &Policy<'_>) -> Response {
    let page = Asks {
        shell,
        action: &format!("{}{}", shell.base, crate::threeds::sandbox::ISSUER_PATH),
        merchant: &challenge.merchant,
        amount: &written(challenge.money, shell.language),
        masked: &challenge.masked,
        creq,
        wrong,
    };
    shell::respond(app, StatusCode::OK, &page, policy)
}

fn back(app: &App, shell: &Shell, challenge: &Challenge, ended: &CRes, policy: &Policy<'_>) -> Response {
    let message = URL_SAFE_NO_PAD.encode(serde_json::to_vec(ended).unwrap_or_default());
    let button = shell.t.challenge.back;
    let page = Forward { shell, action: &challenge.notification_url, field: "cres", message: &message, button };
    shell::respond(app, StatusCode::OK, &page, policy)
}
