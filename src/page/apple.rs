//! Safari asks for a session before it opens Apple Pay's sheet (Apple Pay JS, `onvalidatemerchant`): Apple says where, our script
//! tells us, and we ask there with the merchant's identity certificate. What the browser says is believed as far as a list goes.

use super::body::Form;
use super::limits::Limits;
use super::shell::answer;
use super::visit::Visit;
use super::visitor::Visitor;
use crate::clock::Clock;
use crate::wallet::identity::Identity;
use crate::webhook::courier::Courier;
use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use url::Url;

/// Apple's servers for payment sessions ("Setting up your server", the list for production and that for the sandbox).
const HOSTS: [&str; 32] = [
    "apple-pay-gateway.apple.com",
    "apple-pay-gateway-nc-pod1.apple.com",
    "apple-pay-gateway-nc-pod2.apple.com",
    "apple-pay-gateway-nc-pod3.apple.com",
    "apple-pay-gateway-nc-pod4.apple.com",
    "apple-pay-gateway-nc-pod5.apple.com",
    "apple-pay-gateway-pr-pod1.apple.com",
    "apple-pay-gateway-pr-pod2.apple.com",
    "apple-pay-gateway-pr-pod3.apple.com",
    "apple-pay-gateway-pr-pod4.apple.com",
    "apple-pay-gateway-pr-pod5.apple.com",
    "apple-pay-gateway-nc-pod1-dr.apple.com",
    "apple-pay-gateway-nc-pod2-dr.apple.com",
    "apple-pay-gateway-nc-pod3-dr.apple.com",
    "apple-pay-gateway-nc-pod4-dr.apple.com",
    "apple-pay-gateway-nc-pod5-dr.apple.com",
    "apple-pay-gateway-pr-pod1-dr.apple.com",
    "apple-pay-gateway-pr-pod2-dr.apple.com",
    "apple-pay-gateway-pr-pod3-dr.apple.com",
    "apple-pay-gateway-pr-pod4-dr.apple.com",
    "apple-pay-gateway-pr-pod5-dr.apple.com",
    "cn-apple-pay-gateway.apple.com",
    "cn-apple-pay-gateway-sh-pod1.apple.com",
    "cn-apple-pay-gateway-sh-pod2.apple.com",
    "cn-apple-pay-gateway-sh-pod3.apple.com",
    "cn-apple-pay-gateway-tj-pod1.apple.com",
    "cn-apple-pay-gateway-tj-pod2.apple.com",
    "cn-apple-pay-gateway-tj-pod3.apple.com",
    "cn-apple-pay-gateway-sh-pod1-dr.apple.com",
    "cn-apple-pay-gateway-tj-pod1-dr.apple.com",
    "apple-pay-gateway-cert.apple.com",
    "cn-apple-pay-gateway-cert.apple.com",
];

/// How long Apple may take, milliseconds: the sheet itself gives up after 30 s.
const ANSWER_MS: u64 = 10_000;

/// More is no session, bytes.
const MOST: usize = 16 * 1024;

/// How long a name may be that the sheet shows, characters (`displayName`).
const NAME: usize = 64;

/// Why there is no session; the text is for the log.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// The browser named another place.
    Place,
    Apple(String),
}

pub async fn session(
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
    let app = &visit.app;
    let nothing = |status: StatusCode| answer(app, status, "{}".to_owned());
    let identity = app.wallets.apple_identity(shown.link.caller, &shown.merchant.id);
    let Some(identity) = identity.filter(|_| shown.link.account().is_none()) else {
        return nothing(StatusCode::NOT_FOUND);
    };
    if !shown.link.is_open(shown.now) {
        return nothing(StatusCode::CONFLICT);
    }
    let Some(form) = Form::read(app, &headers, body).await else { return nothing(StatusCode::BAD_REQUEST) };
    let question = question(&identity, &shown.merchant.legal_name, &app.checkout);
    let asked = match place(form.get("url"), &HOSTS) {
        Some(url) => ask((&app.courier, &app.clock), &identity, &url, question).await,
        None => Err(Refused::Place),
    };
    match asked {
        Ok(session) => answer(app, StatusCode::OK, session),
        Err(refused) => {
            let request = visit.request_id.as_str();
            let (why, status) = match &refused {
                Refused::Place => ("the browser named no server of Apple's", StatusCode::BAD_REQUEST),
                Refused::Apple(why) => (why.as_str(), StatusCode::BAD_GATEWAY),
            };
            tracing::warn!(why, request, link = %shown.link.id, "no session for Apple Pay");
            nothing(status)
        }
    }
}

/// A URL of the list: https, its own port, nobody's name or password.
fn place(text: &str, hosts: &[&str]) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    let plain =
        url.scheme() == "https" && url.port().is_none() && url.username().is_empty() && url.password().is_none();
    (plain && url.host_str().is_some_and(|host| hosts.contains(&host))).then_some(url)
}

fn question(identity: &Identity, name: &str, checkout: &str) -> String {
    let domain = Url::parse(checkout).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name: String = name.chars().take(NAME).collect();
    json!({
        "merchantIdentifier": identity.merchant,
        "displayName": name,
        "initiative": "web",
        "initiativeContext": domain,
    })
    .to_string()
}

/// The session as Apple's server gave it: an object that only Apple's own code reads. Nothing is followed.
async fn ask(
    (courier, clock): (&Courier, &Clock),
    identity: &Identity,
    url: &Url,
    question: String,
) -> Result<String, Refused> {
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("Fuda/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(question)))
        .map_err(|_| Refused::Place)?;
    let client = courier.strictly(&identity.tls);
    let asked = async {
        let response = client.request(request).await.map_err(|error| causes(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("Apple answered {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MOST).collect().await;
        Ok(body.map_err(|_| "Apple's answer broke off, or is longer than a session".to_owned())?.to_bytes())
    };
    let bytes = clock.within(ANSWER_MS, asked).await.unwrap_or_else(|| Err("no answer in 10 seconds".to_owned()));
    let bytes = bytes.map_err(Refused::Apple)?;
    let session: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes);
    let session = session.map_err(|_| Refused::Apple("Apple's answer is no JSON object".to_owned()))?;
    Ok(Value::Object(session).to_string())
}

/// All of them: which certificate was not accepted by whom stands at the end.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
