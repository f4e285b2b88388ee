//! Subscriptions (contract section 7): what was agreed, how far one has come, and what the end of a charge means for it. Here
//! are values, dates and rows; who charges, and when, is the payment's own (`pay/renew.rs`).

pub mod calendar;
pub mod rows;

use crate::clock::Millis;
use crate::directory::Caller;
use crate::id::{SubscriptionId, TokenId, TransactionId};
use crate::money::Money;
use calendar::{Schedule, Unit};
use serde::{Deserialize, Serialize};

/// The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its first charge has no result yet: nobody sees it, and it goes when that one fails.
    Starting = 0,
    Active = 1,
    Paused = 2,
    /// The due cycle was declined, and is tried again.
    PastDue = 3,
    Cancelled = 4,
    /// All cycles are done.
    Expired = 5,
}

const STATUSES: [Status; 6] =
    [Status::Starting, Status::Active, Status::Paused, Status::PastDue, Status::Cancelled, Status::Expired];

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Starting => "STARTING",
            Status::Active => "ACTIVE",
            Status::Paused => "PAUSED",
            Status::PastDue => "PAST_DUE",
            Status::Cancelled => "CANCELLED",
            Status::Expired => "EXPIRED",
        }
    }

    /// One that callers may name.
    pub fn parse(name: &str) -> Option<Status> {
        STATUSES[1..].iter().copied().find(|status| status.name() == name)
    }

    pub fn from_id(id: i64) -> Option<Status> {
        STATUSES.into_iter().find(|status| *status as i64 == id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// After so many paid cycles.
    Cycles(i64),
    Forever,
    /// No date behind it is charged.
    Until(Millis),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub unit: Unit,
    pub length: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// 1 to 100.
    pub percentage: i64,
    /// Of the first cycles.
    pub cycles: i64,
}

/// What was agreed. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub plan_name: String,
    pub plan_desc: Option<String>,
    pub unit: Unit,
    pub interval: i64,
    pub end: End,
    pub trial: Option<Trial>,
    pub discount: Option<Discount>,
    /// IANA; UTC when there is none. Dates keep its wall-clock time.
    pub time_zone: Option<String>,
    pub merchant_txn_ref: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Subscription {
    /// Grows with each subscription of the whole store; 0 before it is written.
    pub number: i64,
    pub id: SubscriptionId,
    pub caller: Caller,
    pub merchant_id: String,
    pub status: Status,
    pub created_at: Millis,
    /// Of a cycle without discount.
    pub money: Money,
    pub terms: Terms,
    /// The payment's own: what each charge repeats.
    pub details: String,
    pub token: TokenId,
    /// The token was stored for this subscription alone.
    pub owned: bool,
    pub first: TransactionId,
    pub anchor_at: Millis,
    /// Of the date that stands next.
    pub period: i64,
    pub completed: i64,
    /// When there is something to do; in the entity's time.
    pub due_at: Option<Millis>,
    pub failures: i64,
    pub failed_at: Option<Millis>,
    pub hopeless: bool,
    pub delays: i64,
    pub last_paid: Option<bool>,
    pub running: Option<TransactionId>,
}

/// What a charge is to its subscription, kept with the charge: whoever ends it, in whatever process, knows from it what that
/// end means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub id: SubscriptionId,
    /// The charge that it began with, of another than that one: all that happens to a subscription is told in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<TransactionId>,
    /// Its token belongs to the subscription alone: it is never told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owned: bool,
    pub part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// With its approval the subscription begins; without it there is none.
    Begins {
        anchor: Millis,
        /// 1, or 0 of a trial's verification.
        completed: i64,
        period: i64,
        /// The next date; none: it ends with its first cycle.
        due: Option<Millis>,
    },
    Renews {
        cycle: i64,
        at: Millis,
        /// Approved: the next date; none: this was the last cycle.
        period: i64,
        due: Option<Millis>,
        /// Declined: the next try; none: they are used up.
        again: Option<Millis>,
        /// It is made for a new card, before the day of the next try: a decline of it uses none up.
        extra: bool,
        /// Declined for good: how long a new card is waited for.
        last_day: Millis,
        /// Without a result that counts as a try.
        later: Millis,
    },
    /// A verification of the card that takes the old one's place; what is past due is tried again at once.
    Changes { at: Millis },
}

const DAY_MS: Millis = 24 * 60 * 60 * 1000;
const HOUR_MS: Millis = 60 * 60 * 1000;

impl Subscription {
    /// One that has not begun: its card, its first charge and its dates are known when that charge is.
    pub fn new(id: SubscriptionId, caller: Caller, merchant_id: &str, money: Money, terms: Terms) -> Subscription {
        Subscription {
            number: 0,
            id,
            caller,
            merchant_id: merchant_id.to_owned(),
            status: Status::Starting,
            created_at: 0,
            money,
            terms,
            details: String::new(),
            token: TokenId::from_array([0; 16]),
            owned: false,
            first: TransactionId::from_array([0; 16]),
            anchor_at: 0,
            period: 0,
            completed: 0,
            due_at: None,
            failures: 0,
            failed_at: None,
            hopeless: false,
            delays: 0,
            last_paid: None,
            running: None,
        }
    }

    fn schedule(&self) -> Schedule<'_> {
        Schedule {
            anchor: self.anchor_at,
            unit: self.terms.unit,
            interval: self.terms.interval,
            time_zone: self.terms.time_zone.as_deref(),
        }
    }

    /// The next one to be paid; dates that were skipped are not counted.
    pub fn cycle(&self) -> i64 {
        self.completed + 1
    }

    /// Amount x (100 - percentage) / 100, rounded half up to the minor unit (contract section 7).
    pub fn price(&self, cycle: i64) -> Money {
        let discount = self.terms.discount.filter(|discount| cycle <= discount.cycles);
        let percentage = discount.map_or(0, |discount| discount.percentage);
        // An amount has at most ten characters: a hundred times it fits.
        Money { minor: (self.money.minor * (100 - percentage) + 50) / 100, ..self.money }
    }

    /// The period and its date, unless the subscription ends before it.
    fn planned(&self, completed: i64, found: Option<(i64, Millis)>) -> Option<(i64, Millis)> {
        found.filter(|(_, date)| match self.terms.end {
            End::Cycles(most) => completed < most,
            End::Forever => true,
            End::Until(end) => *date <= end,
        })
    }

    /// Sets where it stands after a first charge at `at`, before its result is known; what its approval means.
    ///
    /// `None`: there is no such date, or the end lies before the first cycle.
    pub fn begin(&mut self, at: Millis) -> Option<Share> {
        let zone = self.terms.time_zone.as_deref();
        let (anchor, completed) = match self.terms.trial {
            Some(Trial { unit, length }) => {
                let trial = Schedule { anchor: at, unit, interval: length, time_zone: zone };
                (trial.date(1)?, 0)
            }
            None => (at, 1),
        };
        self.anchor_at = anchor;
        // The first cycle has to be possible.
        if matches!(self.terms.end, End::Until(end) if anchor > end) {
            return None;
        }
        let next = self.schedule().date(completed).map(|date| (completed, date));
        let next = self.planned(completed, next);
        if completed == 0 && next.is_none() {
            return None;
        }
        let (period, due) = (completed, next.map(|(_, date)| date));
        let part = Part::Begins { anchor, completed, period, due };
        Some(Share { id: self.id, first: None, owned: self.owned, part })
    }

    /// As the approval of its first charge leaves it.
    #[must_use]
    pub fn begun(&self, share: &Share) -> Subscription {
        let Part::Begins { anchor, completed, period, due } = share.part else { return self.clone() };
        Subscription {
            status: if due.is_some() { Status::Active } else { Status::Expired },
            anchor_at: anchor,
            completed,
            period,
            due_at: due,
            last_paid: (completed > 0).then_some(true),
            running: None,
            ..self.clone()
        }
    }

    /// What the end of a charge of the due cycle means, begun at `at`. `retry_days`: after the first failure.
    pub fn renew(&self, at: Millis, retry_days: &[i64]) -> Share {
        let from = self.period + 1;
        // What fell due while an earlier cycle was unpaid is skipped; after a stop of the machines nothing is.
        let next = match self.failed_at {
            Some(_) => self.schedule().next_after(from, at),
            None => self.schedule().date(from).map(|date| (from, date)),
        };
        let next = self.planned(self.completed + 1, next);
        let failed_at = self.failed_at.unwrap_or(at);
        let last_day = failed_at + retry_days.last().copied().unwrap_or(0) * DAY_MS;
        let day = usize::try_from(self.failures - 1).ok().and_then(|place| retry_days.get(place));
        let planned = day.map(|day| failed_at + day * DAY_MS).filter(|planned| at < *planned);
        let part = Part::Renews {
            cycle: self.cycle(),
            at,
            period: next.map_or(from, |(period, _)| period),
            due: next.map(|(_, date)| date),
            again: planned.or_else(|| self.next_try(failed_at, at, retry_days)),
            extra: planned.is_some(),
            last_day: last_day.max(at),
            later: at + (HOUR_MS << self.delays.clamp(0, 5)).min(DAY_MS),
        };
        Share { id: self.id, first: Some(self.first), owned: self.owned, part }
    }

    /// When the due cycle is tried again if the try at `at` is declined. A try that comes late keeps its distance from the next.
    fn next_try(&self, failed_at: Millis, at: Millis, retry_days: &[i64]) -> Option<Millis> {
        let place = usize::try_from(self.failures).ok()?;
        let day = *retry_days.get(place)?;
        let before = place.checked_sub(1).and_then(|place| retry_days.get(place)).copied().unwrap_or(0);
        let planned = failed_at + day * DAY_MS;
        Some(if planned > at { planned } else { at + (day - before) * DAY_MS })
    }

    /// Where a pause's end at `now` leaves the schedule: of the dates that fell due meanwhile the last one stands for all.
    pub fn resumed(&self, now: Millis) -> (i64, Option<Millis>) {
        let until = match self.terms.end {
            End::Until(end) => now.min(end),
            _ => now,
        };
        match self.schedule().last_before(self.period, until) {
            Some((period, _)) => (period, Some(now)),
            None => (self.period, self.schedule().date(self.period)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::EntityId;
    use crate::money::Currency;

    const NOON: Millis = 1_795_521_600_000; // 2026-11-24

    fn subscription(end: End, trial: Option<Trial>, discount: Option<Discount>) -> Subscription {
        let caller = Caller { entity: EntityId::from_bytes(&[2; 16]).unwrap(), live: false };
        let terms = Terms {
            plan_name: String::new(),
            plan_desc: None,
            unit: Unit::Days,
            interval: 10,
            end,
            trial,
            discount,
            time_zone: None,
            merchant_txn_ref: None,
        };
        let money = Money { minor: 1_000, currency: Currency::parse("JPY").unwrap() };
        Subscription::new(SubscriptionId::from_array([1; 16]), caller, "JP00000001", money, terms)
    }

    fn begun(end: End, trial: Option<Trial>) -> Option<Subscription> {
        let mut new = subscription(end, trial, None);
        let share = new.begin(NOON)?;
        Some(new.begun(&share))
    }

    #[test]
    fn a_discount_rounds_half_up() {
        let price = |minor, percentage, cycle| {
            let discount = Some(Discount { percentage, cycles: 2 });
            let mut one = subscription(End::Forever, None, discount);
            one.money.minor = minor;
            one.price(cycle).minor
        };
        assert_eq!([1, 2, 3].map(|cycle| price(1_000, 10, cycle)), [900, 900, 1_000]);
        assert_eq!([price(5, 10, 1), price(15, 10, 1), price(14, 10, 1), price(1, 100, 1)], [5, 14, 13, 0]);
        assert_eq!(price(9_999_999_999_000, 1, 1), 9_899_999_999_010);
    }

    #[test]
    fn the_first_charge_sets_the_dates() {
        let day = |one: &Subscription| one.due_at.map(|due| (due - NOON) / DAY_MS);
        let one = begun(End::Cycles(2), None).unwrap();
        assert_eq!((one.status, one.completed, one.period, day(&one)), (Status::Active, 1, 1, Some(10)));
        let one = begun(End::Cycles(1), None).unwrap();
        assert_eq!((one.status, one.completed, day(&one)), (Status::Expired, 1, None));
        let trial = Some(Trial { unit: Unit::Days, length: 3 });
        let one = begun(End::Cycles(1), trial).unwrap();
        assert_eq!((one.status, one.completed, one.period, day(&one)), (Status::Active, 0, 0, Some(3)));
        assert!(begun(End::Until(NOON + 2 * DAY_MS), trial).is_none(), "it would end before its first cycle");
        assert_eq!(begun(End::Until(NOON + 9 * DAY_MS), None).unwrap().status, Status::Expired);
    }

    #[test]
    fn what_a_renewal_means() {
        let days = |share: &Share| {
            let Part::Renews { cycle, at, period, due, again, last_day, later, .. } = share.part else { panic!() };
            let day = |at: Millis| (at - NOON) / DAY_MS;
            (cycle, period, due.map(day), again.map(day), day(last_day), (later - at) / HOUR_MS)
        };
        let mut one = begun(End::Cycles(3), None).unwrap();
        let at = |day: i64| NOON + day * DAY_MS;
        assert_eq!(days(&one.renew(at(10), &[1, 3, 5])), (2, 2, Some(20), Some(11), 15, 1));
        // Late by more than a period: nothing is skipped.
        assert_eq!(days(&one.renew(at(35), &[1, 3, 5])).2, Some(20));
        // The third try of an unpaid cycle, long after its time: it keeps its distance, and paid dates are not looked for.
        (one.failures, one.failed_at, one.delays) = (2, Some(at(10)), 9);
        assert_eq!(days(&one.renew(at(13), &[1, 3, 5])), (2, 2, Some(20), Some(15), 15, 24));
        assert_eq!(days(&one.renew(at(41), &[1, 3, 5])), (2, 5, Some(50), Some(43), 41, 24));
        // A new card, tried before the day of the next try: that day stays.
        assert_eq!(days(&one.renew(at(12), &[1, 3, 5])).3, Some(13));
        one.failures = 3;
        assert_eq!(days(&one.renew(at(15), &[1, 3, 5])).3, None);
        assert_eq!(days(&one.renew(at(15), &[])).3, None);
        // The last cycle.
        one.completed = 2;
        assert_eq!(days(&one.renew(at(20), &[1, 3, 5])).2, None);
    }

    #[test]
    fn a_pause_leaves_one_of_the_missed_dates() {
        let at = |day: i64| NOON + day * DAY_MS;
        let one = begun(End::Forever, None).unwrap();
        assert_eq!(one.resumed(at(9)), (1, Some(at(10))));
        assert_eq!(one.resumed(at(10)), (1, Some(at(10))));
        assert_eq!(one.resumed(at(25)), (2, Some(at(25))));
        let one = begun(End::Until(at(12)), None).unwrap();
        assert_eq!(one.resumed(at(25)), (1, Some(at(25))));
    }
}
