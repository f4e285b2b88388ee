//! Request in: the whole API on one page. Both path prefixes reach the same handlers; nothing redirects.

pub mod answer;
pub mod call;
pub mod charge;
pub mod clock;
pub mod explain;
pub mod fields;
pub mod flow;
pub mod follow;
pub mod links;
pub mod openapi;
mod plan;
pub mod query;
pub mod rules;
pub mod service;
pub mod shape;
mod source;
pub mod status;
pub mod subscriptions;
pub mod tokens;
pub mod webhooks;

use crate::app::App;
use crate::clock::Stopwatch;
use crate::codes::Code;
use crate::error::Error;
use crate::id::{self, RequestId};
use crate::page;
use answer::About;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use service::Probe;
use tower_http::catch_panic::CatchPanicLayer;

pub const PREFIXES: [&str; 2] = ["/api/v1", "/api/v1/api/v1"];

pub fn router(app: App, probe: Probe) -> Router {
    let api = Router::new()
        .route("/server-to-server-interface/payment", post(charge::payment))
        .route("/server-to-server-interface/authorization", post(charge::authorization))
        .route("/server-to-server-interface/paymentv2", post(charge::payment_v2))
        .route("/server-to-server-interface/authorizationv2", post(charge::authorization_v2))
        .route("/server-to-server-interface/capture", post(follow::capture))
        .route("/server-to-server-interface/refund", post(follow::refund))
        .route("/server-to-server-interface/void", post(follow::void))
        .route("/server-to-server-interface/hpp/generate/link", post(links::generate))
        .route("/hpp/generate/link", post(links::generate))
        .route("/server-to-server-interface/hpp/link/{id}", get(links::get))
        .route("/server-to-server-interface/transaction/{id}/explain", get(explain::by_id))
        .route("/server-to-server-interface/webhooks", get(webhooks::list))
        .route("/server-to-server-interface/webhooks/{id}/retry", post(webhooks::retry))
        .route("/server-to-server-interface/events", get(webhooks::feed))
        .route("/server-to-server-interface/transaction/status", get(status::by_reference))
        .route("/server-to-server-interface/transaction/status/{id}", get(status::by_id))
        .route("/server-to-server-interface/subscription/payment", post(charge::subscribe))
        .route("/server-to-server-interface/subscription/list", get(subscriptions::list))
        .route("/server-to-server-interface/subscription/{id}", get(subscriptions::get))
        .route("/server-to-server-interface/subscription/{id}/pause", post(subscriptions::pause))
        .route("/server-to-server-interface/subscription/{id}/resume", post(subscriptions::resume))
        .route("/server-to-server-interface/subscription/{id}/cancel", post(subscriptions::cancel))
        .route("/server-to-server-interface/subscription/{id}/payment-method", post(subscriptions::payment_method))
        .route("/server-to-server-interface/tokens", get(tokens::list).post(charge::store_card))
        .route("/server-to-server-interface/tokens/{id}", get(tokens::get).patch(tokens::change).delete(tokens::delete))
        .route("/server-to-server-interface/test/clock", get(clock::get).post(clock::advance))
        .route("/server-to-server-interface/risk/rules", get(rules::list).post(rules::add))
        .route("/server-to-server-interface/risk/rules/{id}", delete(rules::remove));
    let mut router = Router::new();
    for prefix in PREFIXES {
        router = router.nest(prefix, api.clone());
    }
    router
        .route("/healthz", get(service::healthz))
        .route("/readyz", get(service::readyz))
        .route("/metrics", get(service::metrics))
        .route("/openapi.json", get(openapi::serve))
        .merge(page::router(&app))
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(Extension(probe))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

async fn no_such_endpoint(State(app): State<App>, request: Request) -> Response {
    refuse_early(&app, &request, Code::Val0005)
}

async fn method_not_allowed(State(app): State<App>, request: Request) -> Response {
    refuse_early(&app, &request, Code::Val0006)
}

fn refuse_early(app: &App, request: &Request, code: Code) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let about = About { live: mode(app, request.headers()), request_id: id, ..About::default() };
    answer::refuse(&about, Error::new(code))
}

/// The mode of the key, if it is one: `is_live` stands in these answers too.
fn mode(app: &App, headers: &HeaderMap) -> bool {
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    key.and_then(|key| app.directory.mode_of(key)).unwrap_or(false)
}

/// A handler's panic. Its text stays in the log; money work runs in tasks of its own and is not here.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    answer::refuse(&About::default(), Error::internal("a handler panicked"))
}

/// Request id in, log line and metrics out. Only the route's pattern is logged: a path or query may hold anything.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Stopwatch::start();
    let request_id = id::request_id(app.clock.now(), &app.random);
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("-", |path| path.as_str()).to_owned();
    let mut response = next.run(request).await;
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    metrics::histogram!("fuda_http_seconds").record(elapsed.as_secs_f64());
    metrics::counter!("fuda_http_requests_total", "status" => status_class(status)).increment(1);
    let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    // A charge has a line of its own, with this id: one line for each is enough where all went well.
    if status < 400 {
        tracing::debug!(request = request_id, method, route, status, us, "answered");
    } else {
        tracing::info!(request = request_id, method, route, status, us, "answered");
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// A method of the client's own making is not logged.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
