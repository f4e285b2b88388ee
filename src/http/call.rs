//! One authenticated call: who asks (403, then 401), from where, and the body as a tree (415, 413, 400).

use super::answer::{self, About};
use crate::app::App;
use crate::clock::Clock;
use crate::codes::Code;
use crate::directory::{Access, Caller};
use crate::error::Error;
use crate::id::RequestId;
use crate::json::{Node, wrong_body};
use crate::language::prefers_japanese;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// A larger body is VAL0003; the rest of it is not read.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What is thrown away of a body that is too large, so that its sender reads the answer instead of a broken connection;
/// beyond this the connection is cut.
const DISCARDED: usize = 16 * 1024 * 1024;

/// How long a body may take, milliseconds.
const BODY_MS: u64 = 30_000;

/// How long the body of a caller without access is waited for, to be thrown away, milliseconds.
const REFUSED_BODY_MS: u64 = 1_000;

/// `Idempotency-Key` above this is VAL0002.
pub const KEY_LIMIT: usize = 255;

pub struct Call {
    pub caller: Caller,
    /// Of the key pair, as `fuda key list` shows it: who did something, for the audit log.
    pub key_id: String,
    pub request_id: String,
    /// The caller's address: the connection's, or what a trusted proxy says of it.
    pub visited_ip: String,
    pub idempotency_key: Option<String>,
    /// `Fuda-Sandbox-Fault`, as it came.
    pub sandbox_fault: Option<String>,
    /// `Fuda-Sandbox-Authentication`, as it came.
    pub sandbox_authentication: Option<String>,
    pub japanese: bool,
}

impl Call {
    pub fn about(&self) -> About {
        About { live: self.caller.live, request_id: self.request_id.clone(), ..About::default() }
    }
}

impl FromRequestParts<App> for Call {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Call, Response> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        match app.directory.authenticate(text("x-api-key"), text("authorization")) {
            Access::UnknownKey => Err(answer::forbidden()),
            Access::WrongSecret => Err(answer::unauthorized()),
            Access::TooOften { caller, wait_s } => {
                let about = About { live: caller.live, request_id: request_id(parts), ..About::default() };
                Err(answer::refuse(&about, Error::new(Code::Val0007).retry_after(wait_s)))
            }
            Access::Granted(caller, key_id) => Ok(Call {
                caller,
                key_id,
                request_id: request_id(parts),
                visited_ip: visited_ip(parts, app),
                idempotency_key: parts.headers.get("idempotency-key").map(|key| lossless(key.as_bytes())),
                sandbox_fault: parts.headers.get("fuda-sandbox-fault").map(|word| lossless(word.as_bytes())),
                sandbox_authentication: parts
                    .headers
                    .get("fuda-sandbox-authentication")
                    .map(|word| lossless(word.as_bytes())),
                japanese: text("accept-language").is_some_and(prefers_japanese),
            }),
        }
    }
}

/// Header bytes as a text that two different keys never share.
fn lossless(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

pub fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

fn visited_ip(parts: &Parts, app: &App) -> String {
    let Some(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else { return String::new() };
    let headers: Vec<&[u8]> = parts.headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
    app.proxies.caller(peer.0.ip(), headers.into_iter()).to_string()
}

/// A call with a JSON object for a body.
pub struct Posted {
    pub call: Call,
    pub body: Node,
}

impl FromRequest<App> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Posted, Response> {
        let (mut parts, body) = request.into_parts();
        let call = match Call::from_request_parts(&mut parts, app).await {
            Ok(call) => call,
            Err(refusal) => {
                app.clock.within(REFUSED_BODY_MS, discard(body)).await;
                return Err(refusal);
            }
        };
        match read(&app.clock, &parts.headers, body).await {
            Ok(body) => Ok(Posted { call, body }),
            Err(error) => Err(answer::refuse(&call.about(), error)),
        }
    }
}

async fn read(clock: &Clock, headers: &HeaderMap, body: Body) -> Result<Node, Error> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Error::new(Code::Val0004));
    }
    let too_slow = || Error::new(Code::Val0001).with_detail("Request body did not arrive within 30 seconds.");
    let bytes = clock.within(BODY_MS, collect(body)).await.ok_or_else(too_slow)??;
    let node = Node::parse(&bytes)?;
    match node {
        Node::Object(_) => Ok(node),
        _ => Err(Error::fields(vec![wrong_body()])),
    }
}

/// What is left unread would break the connection, also for the caller's next request on it.
async fn discard(mut body: Body) {
    let mut length = 0;
    while length <= BODY_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        length += frame.data_ref().map_or(0, |data| data.len());
    }
}

/// The bytes hold a card number: they are zeroed when dropped.
async fn collect(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * 1024));
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Error::new(Code::Val0001).with_detail("Request body broke off."));
        };
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length <= BODY_LIMIT {
            bytes.extend_from_slice(&data);
        } else if length > DISCARDED {
            break;
        }
    }
    if length > BODY_LIMIT { Err(Error::new(Code::Val0003)) } else { Ok(bytes) }
}
