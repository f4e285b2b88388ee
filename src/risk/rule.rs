//! A rule: what it looks at, whom it concerns, and what happens when it fires. Pure.

use super::lists::List;
use crate::clock::Millis;
use crate::codes::Code;
use crate::directory::Caller;
use crate::money::{Currency, Money};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The transaction is refused with the rule's code.
    Deny = 1,
    /// Only noted: what the rule would have refused can be looked at before it is on.
    Shadow = 2,
    /// Adds to `risk_score`.
    Score = 3,
}

pub const EFFECTS: [(Effect, &str); 3] = [(Effect::Deny, "deny"), (Effect::Shadow, "shadow"), (Effect::Score, "score")];

impl Effect {
    pub fn name(self) -> &'static str {
        EFFECTS[self as usize - 1].1
    }

    pub fn from_id(id: i64) -> Option<Effect> {
        EFFECTS.into_iter().map(|row| row.0).find(|effect| *effect as i64 == id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Minutes,
    Hours,
    Days,
    Months,
}

pub const UNITS: [(Unit, &str); 4] =
    [(Unit::Minutes, "minutes"), (Unit::Hours, "hours"), (Unit::Days, "days"), (Unit::Months, "months")];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    Day,
    Month,
}

/// At most `limit` in the last `window` units, the new one included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Velocity {
    pub limit: i64,
    pub window: i64,
    pub unit: Unit,
}

impl Velocity {
    /// What came before is out of the window of a charge at `now`. Months are calendar months in UTC: on 31 March a window
    /// of one month begins with the end of February.
    pub fn since(&self, now: Millis) -> Millis {
        let ms = match self.unit {
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
            Unit::Days => 86_400_000,
            Unit::Months => return self.months_before(now),
        };
        now - self.window * ms
    }

    fn months_before(&self, now: Millis) -> Millis {
        let begin = || {
            let now = Timestamp::from_millisecond(now).ok()?.to_zoned_datetime(TimeZone::UTC);
            let begin = now.checked_sub(Span::new().try_months(self.window).ok()?).ok()?;
            Some(begin.timestamp().as_millisecond())
        };
        begin().unwrap_or(0)
    }

    /// When nothing that is seen now can count any more, with a day of room.
    pub fn expires_at(&self, now: Millis) -> Millis {
        let longest = Velocity { unit: Unit::Days, window: self.window * 31, ..self.clone() };
        let window = if self.unit == Unit::Months { &longest } else { self };
        now + (now - window.since(now)) + 86_400_000
    }
}

/// The limits of the defence against card testing, in force for every entity that has no rule of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testing {
    pub off: bool,
    /// Declines of one public address before it is slowed down.
    pub ip_declines: i64,
    /// Declines on one BIN of eight digits.
    pub bin_declines: i64,
    pub minutes: i64,
}

impl Default for Testing {
    fn default() -> Testing {
        Testing { off: false, ip_declines: 20, bin_declines: 200, minutes: 10 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub currency: String,
    pub amount_minor: i64,
    pub per: Per,
    pub time_zone: String,
}

impl Volume {
    /// The day or month of `now` where the merchant is: `2026-11-25`, `2026-11`.
    pub fn period(&self, now: Millis) -> String {
        let zone = TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC);
        let date = Timestamp::from_millisecond(now).map_or(Date::ZERO, |now| now.to_zoned_datetime(zone).date());
        let text = date.to_string();
        match self.per {
            Per::Day => text,
            Per::Month => text.get(..7).unwrap_or_default().to_owned(),
        }
    }

    /// A refund that is given back later than this finds nothing to give back.
    pub fn expires_at(&self, now: Millis) -> Millis {
        now + 64 * 86_400_000
    }
}

/// What a rule looks at. It stands in the database as JSON: never change a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spec {
    CardCountry { countries: Vec<String> },
    IpBlock,
    BinBlock,
    PanBlock,
    IssuingCountry { countries: Vec<String> },
    MaxAmount { currency: String, amount_minor: i64 },
    MinAmount { currency: String, amount_minor: i64 },
    IpAllow,
    CardVelocity(Velocity),
    IpVelocity(Velocity),
    RefundVolume(Volume),
    CardTesting(Testing),
}

#[derive(Clone, Debug)]
pub struct Rule {
    /// The row's.
    pub number: i64,
    pub id: String,
    pub caller: Caller,
    /// `None`: every merchant of the entity.
    pub merchant: Option<String>,
    pub effect: Effect,
    /// What it adds to the score, 1 to 100; 0 for other effects.
    pub score: i64,
    pub spec: Spec,
    pub list: List,
    /// How many entries the list has.
    pub entries: i64,
    pub created_at: Millis,
}

impl Rule {
    pub fn concerns(&self, merchant_id: &str) -> bool {
        self.merchant.as_deref().is_none_or(|merchant| merchant == merchant_id)
    }

    /// What it refuses with; `None` for settings.
    pub fn code(&self) -> Option<Code> {
        let of_merchant = self.merchant.is_some();
        Some(match &self.spec {
            Spec::CardCountry { .. } => Code::Err3001,
            Spec::IpBlock if of_merchant => Code::Err3007,
            Spec::IpBlock => Code::Err3002,
            Spec::BinBlock if of_merchant => Code::Err3018,
            Spec::BinBlock => Code::Err3003,
            Spec::PanBlock => Code::Err3004,
            Spec::IssuingCountry { .. } => Code::Err3005,
            Spec::MaxAmount { .. } => Code::Err3006,
            Spec::MinAmount { .. } => Code::Err3016,
            Spec::IpAllow => Code::Err3017,
            Spec::CardVelocity(velocity) => match velocity.unit {
                Unit::Minutes => Code::Err3008,
                Unit::Hours => Code::Err3009,
                Unit::Days => Code::Err3010,
                Unit::Months => Code::Err3011,
            },
            Spec::IpVelocity(velocity) => match velocity.unit {
                Unit::Minutes => Code::Err3012,
                Unit::Hours => Code::Err3013,
                Unit::Days => Code::Err3014,
                Unit::Months => Code::Err3015,
            },
            Spec::RefundVolume(_) => Code::Err3020,
            Spec::CardTesting(_) => return None,
        })
    }

    /// The place in the order of judgement: the first that denies gives the code. What costs a write comes last.
    pub fn turn(&self) -> usize {
        const ORDER: [Code; 10] = [
            Code::Err3001,
            Code::Err3002,
            Code::Err3003,
            Code::Err3004,
            Code::Err3005,
            Code::Err3006,
            Code::Err3016,
            Code::Err3007,
            Code::Err3017,
            Code::Err3018,
        ];
        let Some(code) = self.code() else { return usize::MAX };
        ORDER.iter().position(|one| *one == code).unwrap_or(ORDER.len() + code as usize)
    }
}

impl Spec {
    pub fn kind(&self) -> &'static str {
        match self {
            Spec::CardCountry { .. } => "card_country",
            Spec::IpBlock => "ip_block",
            Spec::BinBlock => "bin_block",
            Spec::PanBlock => "pan_block",
            Spec::IssuingCountry { .. } => "issuing_country",
            Spec::MaxAmount { .. } => "max_amount",
            Spec::MinAmount { .. } => "min_amount",
            Spec::IpAllow => "ip_allow",
            Spec::CardVelocity(_) => "card_velocity",
            Spec::IpVelocity(_) => "ip_velocity",
            Spec::RefundVolume(_) => "refund_volume",
            Spec::CardTesting(_) => "card_testing",
        }
    }

    /// The amount that a rule names, for people.
    pub fn money(&self) -> Option<Money> {
        match self {
            Spec::MaxAmount { currency, amount_minor }
            | Spec::MinAmount { currency, amount_minor }
            | Spec::RefundVolume(Volume { currency, amount_minor, .. }) => {
                Currency::parse(currency).map(|currency| Money { minor: *amount_minor, currency })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_in_calendar_months() {
        let window = |unit, window| Velocity { limit: 1, window, unit };
        for (unit, count, now, since) in [
            (Unit::Minutes, 10, "2026-03-01T00:05:00Z", "2026-02-28T23:55:00Z"),
            (Unit::Hours, 2, "2026-03-01T01:00:00Z", "2026-02-28T23:00:00Z"),
            (Unit::Days, 30, "2026-03-31T12:00:00Z", "2026-03-01T12:00:00Z"),
            (Unit::Months, 1, "2026-03-31T12:00:00Z", "2026-02-28T12:00:00Z"),
            (Unit::Months, 12, "2028-02-29T12:00:00Z", "2027-02-28T12:00:00Z"),
        ] {
            let velocity = window(unit, count);
            assert_eq!(velocity.since(millis(now)), millis(since), "{now}");
            let end = velocity.expires_at(millis(now));
            assert!(velocity.since(end) > millis(now), "nothing is forgotten while it counts: {now}");
        }
    }

    #[test]
    fn periods_in_the_merchants_time() {
        let volume =
            |per, zone: &str| Volume { currency: "JPY".to_owned(), amount_minor: 1, per, time_zone: zone.to_owned() };
        let now = millis("2026-11-30T15:00:00Z");
        assert_eq!(volume(Per::Day, "UTC").period(now), "2026-11-30");
        assert_eq!(volume(Per::Day, "Asia/Tokyo").period(now), "2026-12-01");
        assert_eq!(volume(Per::Month, "Asia/Tokyo").period(now), "2026-12");
        assert_eq!(volume(Per::Month, "UTC").period(now), "2026-11");
    }

    #[test]
    fn what_stands_in_the_database_is_read_again() {
        for spec in [
            Spec::IpBlock,
            Spec::CardCountry { countries: vec!["KP".to_owned()] },
            Spec::MaxAmount { currency: "JPY".to_owned(), amount_minor: 9_007_199_254_740_993 },
            Spec::CardVelocity(Velocity { limit: 5, window: 1, unit: Unit::Months }),
            Spec::CardTesting(Testing::default()),
        ] {
            let text = serde_json::to_string(&spec).unwrap();
            assert!(text.contains(spec.kind()), "{text}");
            assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
        }
    }
}
