//! What operators and machines ask: is it alive, can it work, how does it do, what does it speak.

use super::answer;
use crate::app::App;
use crate::clock::Clock;
use crate::db::{Stmt, Written, args};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, Mutex, PoisonError};

/// A flood of probes writes at most once in this time, milliseconds.
const PROBE_MS: i64 = 500;

/// The last probe's time and result.
#[derive(Clone)]
pub struct Probe {
    last: Arc<Mutex<(i64, bool)>>,
    pub metrics: PrometheusHandle,
}

impl Probe {
    pub fn new(metrics: PrometheusHandle) -> Probe {
        Probe { last: Arc::new(Mutex::new((i64::MIN / 2, false))), metrics }
    }

    fn recent(&self, clock: &Clock) -> Option<bool> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (clock.now() - last.0 < PROBE_MS).then_some(last.1)
    }
}

pub async fn healthz() -> Response {
    answer::json(200, r#"{"status":"ok"}"#.to_owned())
}

/// Really writes: a full disk or a database that only reads is not ready.
pub async fn readyz(State(app): State<App>, probe: axum::Extension<Probe>) -> Response {
    let ready = match probe.recent(&app.clock) {
        Some(ready) => ready,
        None => {
            let now = app.clock.now();
            let touch = Stmt::new("UPDATE readiness SET checked_at = $1 WHERE id = 1", args![now]).exactly(1);
            let ready = matches!(app.db.write(vec![touch]).await, Ok(Written::Applied(_)));
            *probe.last.lock().unwrap_or_else(PoisonError::into_inner) = (now, ready);
            ready
        }
    };
    if ready {
        answer::json(200, r#"{"status":"ready"}"#.to_owned())
    } else {
        answer::json(503, r#"{"status":"the database does not take writes"}"#.to_owned())
    }
}

pub async fn metrics(probe: axum::Extension<Probe>) -> Response {
    let mut response = Response::new(Body::from(probe.metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
