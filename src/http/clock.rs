//! `test/clock`: an entity's sandbox time (contract section 7). With a live key there is no such endpoint.

use super::answer::{self, About};
use super::call::{Call, Posted};
use super::flow::{Begun, body_text, check_headers, claim, detached};
use super::{fields, mode, refuse_early, shape};
use crate::app::App;
use crate::clock::timestamp;
use crate::codes::Code;
use crate::error::Error;
use crate::id::TransactionId;
use crate::pay::clock::{self, Advance, Shown};
use crate::pay::{Answer, idempotency};
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// What an answer has that was kept before its advance came to the end.
const UNFINISHED: &str = "\"still_due\":null";

#[derive(Serialize, ToSchema)]
pub struct ClockAnswer {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub clock: ClockView,
}

#[derive(Serialize, ToSchema)]
pub struct ClockView {
    /// The entity's time: what its holds, links, 3-D Secure time-outs, renewals and retention go by.
    #[schema(example = "2027-01-01T08:24:36.000Z")]
    pub now: String,
    /// How far it is ahead of real time.
    pub ahead_seconds: i64,
    /// How far this request has moved it; only where it was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_seconds: Option<i64>,
    /// How much is due and not done: 0 unless it could not be done within a minute, the gateway goes on then. Null in the answer that
    /// a key keeps of an advance that did not come to its end.
    pub still_due: Option<i64>,
}

impl ClockAnswer {
    pub fn of(shown: &Shown, advanced_ms: Option<i64>) -> ClockAnswer {
        let clock = ClockView {
            now: timestamp(shown.now),
            ahead_seconds: shown.ahead_ms / 1_000,
            advanced_seconds: advanced_ms.map(|ms| ms / 1_000),
            still_due: shown.still_due,
        };
        ClockAnswer { success: true, status_code: 200, is_live: false, clock }
    }

    fn answer(&self) -> Answer {
        Answer::new(200, serde_json::to_string(self).unwrap_or_default())
    }
}

pub async fn get(State(app): State<App>, request: Request) -> Response {
    if mode(&app, request.headers()) {
        return refuse_early(&app, &request, Code::Val0005);
    }
    let call = match Call::from_request_parts(&mut request.into_parts().0, &app).await {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    match clock::shown(&app, call.caller.entity).await {
        Ok(shown) => answer::object(200, &ClockAnswer::of(&shown, None)),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

pub async fn advance(State(app): State<App>, request: Request) -> Response {
    if mode(&app, request.headers()) {
        return refuse_early(&app, &request, Code::Val0005);
    }
    let posted = match Posted::from_request(request, &app).await {
        Ok(posted) => posted,
        Err(refusal) => return refusal,
    };
    let about: About = posted.call.about();
    let flow = app.clone();
    detached(&app, about, async move { moved(&flow, posted).await }).await
}

async fn moved(app: &App, posted: Posted) -> Result<Begun, Error> {
    let Posted { call, body } = posted;
    let mut errors = Vec::new();
    shape::check(fields::CLOCK, &body, "", &mut errors);
    check_headers(&call, &mut errors);
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let entity = call.caller.entity;
    let claim = claim(app, &call, "test/clock", &body, None);
    let running = || {
        Error::new(Code::Err1008).with_detail("An advance of this clock is running: send it again after its answer.")
    };
    if let Some(earlier) = idempotency::replay(app, claim.as_ref()).await? {
        // The key has an answer from the beginning, should the process not come to the end; till then it runs.
        let unfinished = earlier.body.contains(UNFINISHED);
        return if unfinished && clock::moves(app, entity).await? {
            Err(running())
        } else {
            Ok(Begun::Answered(earlier))
        };
    }
    // The key's row names a transaction; a clock has none.
    let real = app.clock.now();
    let id = TransactionId::new(real, &app.random);
    let before = app.ahead(call.caller).await?;
    let kept = |shown: &Shown| ClockAnswer::of(shown, Some(shown.ahead_ms - before)).answer();
    let begun = Advance::begin(app, entity, body_text(&body, "advance"), |shown| match &claim {
        Some(claim) => (vec![claim.insert(id, real)], vec![claim.answered(id, &kept(shown), true)]),
        None => (Vec::new(), Vec::new()),
    });
    let Some(begun) = begun.await? else { return Err(running()) };
    let shown =
        begun.finish(|shown| claim.iter().map(|claim| claim.answered(id, &kept(shown), true)).collect()).await?;
    Ok(Begun::Answered(kept(&shown)))
}
