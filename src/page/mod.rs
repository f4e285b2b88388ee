//! Pages for cardholders: the hosted payment page (contract section 8) and what belongs to it. They are HTML that works
//! without scripts; nothing on them comes from another host.

mod amount;
mod apple;
mod around;
pub mod assets;
mod body;
mod buttons;
mod checkout;
mod countries;
mod form;
mod hosted;
mod issuer;
mod limits;
mod look;
mod patience;
mod reading;
mod reason;
pub mod shell;
pub mod texts;
mod view;
mod visit;
mod visitor;
mod wallet;

use crate::app::App;
use crate::consent;
use crate::id::TransactionId;
use crate::language::prefers_japanese;
use crate::threeds::sandbox::ISSUER_PATH;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use limits::Limits;
pub use patience::MOST_HELD;
use std::sync::Arc;
use texts::Language;

pub fn router(app: &App) -> Router<App> {
    let mut router = Router::new();
    for language in [Language::English, Language::Japanese] {
        let page = format!("{}/HostedPaymentPage/{{code}}", language.prefix());
        router = router
            .route(&page, get(hosted::show).post(hosted::pay))
            .route(&format!("{page}/result"), get(hosted::result))
            .route(&format!("{page}/other-card"), get(hosted::show).post(hosted::other_card))
            .route(&format!("{page}/apple-pay-session"), post(apple::session))
            .route(&format!("{page}/cancel"), get(hosted::show).post(hosted::cancel));
    }
    router
        .route("/checkout/{token}", get(checkout::visit).post(checkout::visit))
        .route("/checkout/{token}/leave", post(checkout::leave))
        .route(ISSUER_PATH, post(issuer::answer))
        .route(&format!("{}/{{key}}", consent::sandbox::PATH), get(wallet::show).post(wallet::decide))
        .route("/page/logo/{merchant}/{name}", get(look::logo))
        .route_layer(middleware::from_fn_with_state(app.clone(), limits::limit))
        // A page has a dozen of these; they are in memory, and browsers keep them.
        .route("/page/{name}", get(assets::serve))
        .route("/page/accent/{name}", get(look::accent))
        .layer(Extension(Arc::new(Limits::new())))
}

/// Of pages whose address does not say it.
pub fn language(headers: &HeaderMap) -> Language {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(prefers_japanese) { Language::Japanese } else { Language::English }
}

/// A merchant's URL as a browser goes back to it: its own query kept, `transaction_id` added before any fragment, and no other
/// parameter (contract sections 5 and 8).
pub fn go_back(url: &str, transaction: Option<TransactionId>) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    if let Some(id) = transaction {
        let query = match parsed.query() {
            None | Some("") => format!("transaction_id={id}"),
            Some(query) => format!("{}&transaction_id={id}", query.strip_suffix('&').unwrap_or(query)),
        };
        parsed.set_query(Some(&query));
    }
    // Written as a header can hold it: letters beyond ASCII escaped.
    parsed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_keep_their_query() {
        let id = TransactionId::from_bytes(&[7; 16]);
        let added = "transaction_id=07070707-0707-0707-0707-070707070707";
        for (url, wanted) in [
            ("https://shop.example", format!("https://shop.example/?{added}")),
            ("https://shop.example/a#b", format!("https://shop.example/a?{added}#b")),
            (
                "https://shop.example/?wc-api=fuda&key=%E6%9C%AD+x",
                format!("https://shop.example/?wc-api=fuda&key=%E6%9C%AD+x&{added}"),
            ),
            ("https://shop.example/?a=1&#/route", format!("https://shop.example/?a=1&{added}#/route")),
            (
                "http://店.example/戻る?品=札",
                format!("http://xn--hxt.example/%E6%88%BB%E3%82%8B?%E5%93%81=%E6%9C%AD&{added}"),
            ),
        ] {
            assert_eq!(go_back(url, id), wanted);
        }
        assert_eq!(go_back("https://shop.example/x?a=1#b", None), "https://shop.example/x?a=1#b");
        assert_eq!(go_back("https://店.example/", None), "https://xn--hxt.example/");
    }
}
