//! What a request for a subscription says of its plan (contract section 7).

use super::flow::body_text;
use crate::app::App;
use crate::clock::Millis;
use crate::error::{Error, FieldError};
use crate::id::SubscriptionId;
use crate::json::Node;
use crate::money::Money;
use crate::pay::request::{CardSource, ChargeRequest};
use crate::pay::subscribed::Known;
use crate::pay::transaction::Details;
use crate::subscription::calendar::Unit;
use crate::subscription::{Discount, End, Subscription, Terms, Trial};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The terms; adds what is wrong with them. `None` when a part that is needed is missing, which the fields' own table says.
pub fn terms(body: &Node, plan: &Node, errors: &mut Vec<FieldError>) -> Option<Terms> {
    let time_zone = Some(body_text(body, "time_zone")).filter(|zone| !zone.is_empty());
    let interval = number(plan, "cycle_interval", (1, 365), errors);
    let end = match body_text(plan, "subscription_end_type") {
        "CYCLE" => number(plan, "max_cycle_count", (1, 9_999), errors).map(End::Cycles),
        "FOREVER" => Some(End::Forever),
        "DATE" => end_date(plan, time_zone, errors).map(End::Until),
        _ => None,
    };
    let trial = if yes(plan, "has_trial_period") { trial(plan, errors).map(Some) } else { Some(None) };
    let discount = if yes(plan, "has_discount") { discount(plan, errors).map(Some) } else { Some(None) };
    let desc = body_text(plan, "plan_desc");
    Some(Terms {
        plan_name: body_text(plan, "plan_name").to_owned(),
        plan_desc: Some(desc.to_owned()).filter(|desc| !desc.is_empty()),
        unit: Unit::parse(body_text(plan, "cycle_type"))?,
        interval: interval?,
        end: end?,
        trial: trial?,
        discount: discount?,
        time_zone: time_zone.map(str::to_owned),
        merchant_txn_ref: body.get("merchant_txn_ref").and_then(Node::text_or_number).map(str::to_owned),
    })
}

fn yes(plan: &Node, name: &str) -> bool {
    plan.get(name).and_then(Node::bool) == Some(true)
}

fn trial(plan: &Node, errors: &mut Vec<FieldError>) -> Option<Trial> {
    let word = body_text(plan, "trial_period_duration_type");
    let unit = Unit::parse(word).filter(|unit| *unit != Unit::Years);
    if unit.is_none() {
        let text = "With a trial, send one of: DAYS, WEEKLY, MONTHLY.";
        errors.push(FieldError::new("subscription.trial_period_duration_type", "unknown", text));
    }
    let length = number(plan, "trial_period_duration", (1, 365), errors);
    Some(Trial { unit: unit?, length: length? })
}

fn discount(plan: &Node, errors: &mut Vec<FieldError>) -> Option<Discount> {
    let percentage = number(plan, "discount_percentage", (1, 100), errors);
    let cycles = number(plan, "discount_duration", (1, 9_999), errors);
    Some(Discount { percentage: percentage?, cycles: cycles? })
}

/// A number or its digits; a missing one is wrong too.
fn number(plan: &Node, name: &str, (least, most): (i64, i64), errors: &mut Vec<FieldError>) -> Option<i64> {
    let place = format!("subscription.{name}");
    let text = plan.get(name).and_then(Node::text_or_number);
    let digits = text.filter(|text| text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| (least..=most).contains(number));
    // One word for each field is enough.
    if number.is_none() && !errors.iter().any(|error| error.field == place) {
        let sent = plan.get(name).is_some_and(|node| node.text() != Some(""));
        let (code, text) = if sent {
            ("range", format!("Send a whole number from {least} to {most}."))
        } else {
            ("missing", format!("This field is required here: a whole number from {least} to {most}."))
        };
        errors.push(FieldError::new(place, code, text));
    }
    number
}

/// A day to its end, or an instant.
fn end_date(plan: &Node, time_zone: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Millis> {
    let text = body_text(plan, "end_date");
    let zone = time_zone.map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())?;
    let instant = || text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let day = || {
        let last = text.parse::<Date>().ok()?.at(23, 59, 59, 999_000_000);
        zone.to_timestamp(last).ok().map(Timestamp::as_millisecond)
    };
    let end = if text.len() == 10 { day() } else { instant() };
    if end.is_none() && !errors.iter().any(|error| error.field == "subscription.end_date") {
        let (code, text) = if text.is_empty() {
            ("missing", "With DATE, send the last day: 2027-03-31.")
        } else {
            ("format", "Send a day such as 2027-03-31, or an instant such as 2027-03-31T15:00:00Z.")
        };
        errors.push(FieldError::new("subscription.end_date", code, text));
    }
    end
}

/// What the first charge begins; its amount is the first cycle's, or nothing.
pub fn begin(app: &App, request: &mut ChargeRequest, source: &CardSource, terms: Terms) -> Result<(), Error> {
    let kept = Details { visited_ip: String::new(), customer_ip: None, link: None, ..request.details.clone() };
    let id = SubscriptionId::new(app.clock.now(), &app.random);
    let new = Subscription::new(id, request.caller, &request.merchant.id, request.money, terms);
    let details = serde_json::to_string(&kept).map_err(Error::internal)?;
    let subscription = Subscription { details, owned: !source.stores(), ..new };
    let trial = subscription.terms.trial.is_some();
    request.money = if trial { Money::zero(request.money.currency) } else { subscription.price(1) };
    request.subscription = Some(Box::new(Known { subscription, charges: Vec::new() }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(zone: &str, plan: &str) -> Result<Terms, Vec<String>> {
        let body = format!(
            "{{\"time_zone\": \"{zone}\", \"subscription\": {{\"plan_name\": \"月額\", \"cycle_type\": \"DAYS\", \"cycle_interval\": 1, {plan}}}}}"
        );
        let body = Node::parse(body.as_bytes()).unwrap();
        let mut errors = Vec::new();
        let terms = terms(&body, body.get("subscription").unwrap(), &mut errors);
        terms.ok_or_else(|| errors.into_iter().map(|error| format!("{} {}", error.field, error.code)).collect())
    }

    fn end(zone: &str, date: &str) -> Option<String> {
        match read(zone, &format!("\"subscription_end_type\": \"DATE\", \"end_date\": \"{date}\"")).ok()?.end {
            End::Until(at) => Some(crate::clock::timestamp(at)),
            _ => None,
        }
    }

    #[test]
    fn a_day_is_meant_to_its_end_where_the_plan_lives() {
        assert_eq!(end("", "2027-03-31").as_deref(), Some("2027-03-31T23:59:59.999Z"));
        assert_eq!(end("Asia/Tokyo", "2027-03-31").as_deref(), Some("2027-03-31T14:59:59.999Z"));
        assert_eq!(end("America/New_York", "2027-03-31").as_deref(), Some("2027-04-01T03:59:59.999Z"));
        assert_eq!(end("Asia/Tokyo", "2027-03-31T15:00:00Z").as_deref(), Some("2027-03-31T15:00:00.000Z"));
        assert_eq!(end("", "2027-03-31T15:00:00+09:00").as_deref(), Some("2027-03-31T06:00:00.000Z"));
        for bad in ["2027-02-29", "31.03.2027", "2027-03-31T15:00:00", "", "9999-99-99"] {
            assert_eq!(end("", bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_asked_for_means_nothing() {
        let plan = "\"subscription_end_type\": \"FOREVER\", \"max_cycle_count\": \"x\", \"trial_period_duration\": \"\", \
                    \"discount_percentage\": null";
        let terms = read("", plan).unwrap();
        assert_eq!((terms.end, terms.trial, terms.discount), (End::Forever, None, None));
        let plan = "\"subscription_end_type\": \"CYCLE\", \"max_cycle_count\": true, \"has_discount\": true";
        assert_eq!(
            read("", plan).unwrap_err(),
            [
                "subscription.max_cycle_count range",
                "subscription.discount_percentage missing",
                "subscription.discount_duration missing"
            ]
        );
    }
}
