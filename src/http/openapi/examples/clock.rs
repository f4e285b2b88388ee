//! Examples of the test clock.

use super::super::super::clock::ClockAnswer;
use super::{MADE_AT, example};
use crate::pay::clock::Shown;
use serde_json::{Value, json};

pub fn requests() -> [(String, Value); 2] {
    [
        example("clock_by_a_month", "A month, as a calendar counts it", &json!({"advance": "P1M"})),
        example(
            "clock_by_hours",
            "The end of a cardholder's 30 minutes, and a little more",
            &json!({"advance": "PT31M"}),
        ),
    ]
}

pub fn answers() -> [(String, Value); 2] {
    let ahead_ms = 31 * 24 * 60 * 60 * 1000;
    let shown = Shown { now: MADE_AT + ahead_ms, ahead_ms, still_due: Some(0) };
    [
        example(
            "clock_moved",
            "Moved by 31 days, and all that fell due is done",
            &ClockAnswer::of(&shown, Some(ahead_ms)),
        ),
        example("clock_shown", "31 days ahead of real time", &ClockAnswer::of(&shown, None)),
    ]
}
