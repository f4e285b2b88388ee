//! The sandbox wallets' page, where an account's holder approves, declines or leaves.

use super::amount::written;
use super::around::Around;
use super::body::Form;
use super::checkout::{broken, foreign, not_found};
use super::language;
use super::shell::{self, Shell};
use super::visitor::Visitor;
use crate::app::App;
use crate::consent::sandbox::{PATH, Shown};
use crate::error::Error;
use crate::id::RequestId;
use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

#[derive(Template)]
#[template(path = "page/wallet.html")]
struct Asks<'a> {
    shell: &'a Shell,
    wallet: &'a str,
    merchant: &'a str,
    amount: &'a str,
    stores: bool,
    action: &'a str,
    back: &'a str,
}

pub async fn show(
    State(app): State<App>,
    Path(key): Path<String>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let language = language(&headers);
    match app.wallet_page.order(&key).await {
        Ok(Some(order)) if order.decided => shell::see_other(&app, &order.return_url),
        Ok(Some(order)) => match asks(&app, Shell::plain(&app, language), &order, &key).await {
            Ok(page) => page,
            Err(error) => broken(&app, language, &error, &request_id),
        },
        Ok(None) => not_found(&app, language),
        Err(error) => broken(&app, language, &error, &request_id),
    }
}

/// Its own form's decision. Only for an order that exists is the body read.
pub async fn decide(
    State(app): State<App>,
    Path(key): Path<String>,
    visitor: Visitor,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let language = language(&headers);
    if visitor.foreign {
        return foreign(&app, language);
    }
    let order = match app.wallet_page.order(&key).await {
        Ok(Some(order)) => order,
        Ok(None) => return not_found(&app, language),
        Err(error) => return broken(&app, language, &error, &request_id),
    };
    let decision = Form::read(&app, &headers, body).await;
    let approved = match decision.as_ref().map(|form| form.get("decision")) {
        Some("approve") => true,
        Some("decline") => false,
        _ => return not_found(&app, language),
    };
    match app.wallet_page.decide(&key, approved).await {
        Ok(()) => shell::see_other(&app, &order.return_url),
        Err(error) => broken(&app, language, &error, &request_id),
    }
}

async fn asks(app: &App, shell: Shell, order: &Shown, key: &str) -> Result<Response, Error> {
    let shell = Shell { test: true, ..shell.paid_with(Some(order.wallet)) };
    let page = Asks {
        shell: &shell,
        wallet: order.wallet.label(),
        merchant: &order.merchant,
        amount: &written(order.money, shell.language),
        stores: order.stores,
        action: &format!("{}{PATH}/{key}", shell.base),
        back: &order.return_url,
    };
    let around = Around::of(app, &order.return_url).await?;
    Ok(shell::respond(app, StatusCode::OK, &page, &around.policy()))
}
