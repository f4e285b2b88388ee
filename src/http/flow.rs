//! What charges and what follows them share on their way in: the key that a request is remembered by, the sandbox's
//! faults, and a task of its own for the flow.

use super::answer::{self, About};
use super::call::{Call, KEY_LIMIT};
use crate::acquirer::faults::{FAULTS, Fault};
use crate::app::App;
use crate::card::Pan;
use crate::error::{Error, FieldError};
use crate::json::{Canonical, Node};
use crate::pay::Answer;
use crate::pay::idempotency::Claim;
use crate::threeds::{STEERS, Steer};
use axum::response::Response;
use std::future::Future;

/// How a flow ended that was not refused in the one shape.
pub enum Begun {
    Answered(Answer),
    /// The merchant is not the caller's.
    Forbidden,
}

/// Runs the flow in a task of its own: a client that hangs up drops the handler, not the payment.
pub async fn detached(
    app: &App,
    about: About,
    flow: impl Future<Output = Result<Begun, Error>> + Send + 'static,
) -> Response {
    match app.tasks.spawn(flow).await {
        Ok(Ok(Begun::Answered(answer))) => answer::finished(answer),
        Ok(Ok(Begun::Forbidden)) => answer::forbidden(),
        Ok(Err(error)) => answer::refuse(&about, error),
        Err(_) => {
            answer::refuse(&about, Error::internal("a payment's task panicked; its intent is recovered by the sweep"))
        }
    }
}

/// What the sandbox was asked to do with one request.
#[derive(Clone, Copy, Default)]
pub struct Steering {
    pub fault: Option<Fault>,
    pub steer: Option<Steer>,
}

/// What the headers of a request say wrong, and the fault that it asks the sandbox for; with a live key the header is one
/// of the unknown ones, which are ignored.
pub fn check_headers(call: &Call, errors: &mut Vec<FieldError>) -> Steering {
    if call.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > KEY_LIMIT) {
        errors.push(FieldError::new("Idempotency-Key", "too_long", "Send 1 to 255 characters."));
    }
    if call.caller.live {
        return Steering::default();
    }
    let mut unknown = |header: &str, words: Vec<&str>| {
        errors.push(FieldError::new(header, "unknown", format!("Send one of: {}.", words.join(", "))));
    };
    let fault = call.sandbox_fault.as_deref().map(Fault::parse);
    if fault == Some(None) {
        unknown("Fuda-Sandbox-Fault", FAULTS.iter().map(|(word, _)| *word).collect());
    }
    let steer = call.sandbox_authentication.as_deref().map(Steer::parse);
    if steer == Some(None) {
        unknown("Fuda-Sandbox-Authentication", STEERS.iter().map(|(word, _)| *word).collect());
    }
    Steering { fault: fault.flatten(), steer: steer.flatten() }
}

pub fn body_text<'a>(body: &'a Node, name: &str) -> &'a str {
    body.get(name).and_then(Node::text).unwrap_or_default()
}

/// The request as its key remembers it: method, path and body under a key of our own, without the cvc and with the
/// number's fingerprint in the number's place (contract section 11).
pub fn claim(app: &App, call: &Call, endpoint: &str, body: &Node, pan: Option<&Pan>) -> Option<Claim> {
    let key = call.idempotency_key.as_ref()?;
    let number = pan.map_or_else(String::new, |pan| app.vault.fingerprint(call.caller.entity, call.caller.live, pan));
    let canonical = body.canonical(&|path, _| match path {
        "card.cvc" => Canonical::Omit,
        "card.number" => Canonical::Text(number.clone()),
        _ => Canonical::Same,
    });
    Some(Claim {
        caller: call.caller,
        key_digest: app.vault.request_digest(&[b"key", key.as_bytes()]),
        request_digest: app.vault.request_digest(&[b"POST", endpoint.as_bytes(), canonical.as_bytes()]),
    })
}
