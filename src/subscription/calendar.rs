//! When a subscription's cycles are due (contract section 7). Each date is counted from the anchor and none from the date
//! before it, so a month's end that was cut short in February comes back in March. No I/O and no clock.

use crate::clock::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// `cycle_type` and `trial_period_duration_type` of a request (contract section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "DAYS")]
    Days,
    #[serde(rename = "WEEKLY")]
    Weeks,
    #[serde(rename = "MONTHLY")]
    Months,
    #[serde(rename = "YEARLY")]
    Years,
}

impl Unit {
    pub fn parse(word: &str) -> Option<Unit> {
        [Unit::Days, Unit::Weeks, Unit::Months, Unit::Years].into_iter().find(|unit| unit.name() == word)
    }

    pub fn name(self) -> &'static str {
        match self {
            Unit::Days => "DAYS",
            Unit::Weeks => "WEEKLY",
            Unit::Months => "MONTHLY",
            Unit::Years => "YEARLY",
        }
    }
}

/// Dates at equal distances on the calendar and the clock of a place. They never go back as periods grow, and two are the
/// same only where a place left out a whole day (Apia had no 30 December 2011).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule<'a> {
    /// The date of period 0.
    pub anchor: Millis,
    pub unit: Unit,
    /// Units in a period, at least 1.
    pub interval: i64,
    /// An IANA name; UTC when missing.
    pub time_zone: Option<&'a str>,
}

impl Schedule<'_> {
    /// The date `periods` periods after the anchor, at the anchor's time of day, to the millisecond. A day that its month
    /// does not have is the month's last. A time that the clocks leave out is later by as much as they do (as in RFC 5545,
    /// section 3.3.5); of a time that they show twice it is the first, but period 0 is the anchor itself.
    ///
    /// `None` beyond the year 9999, for periods below 0, an interval below 1, and a time zone that is not known.
    pub fn date(&self, periods: i64) -> Option<Millis> {
        self.date_in(&self.zone()?, periods)
    }

    /// The first period from `from` on (at least 0) whose date is after `now`, and that date. `None` as for [`Schedule::date`].
    pub fn next_after(&self, from: i64, now: Millis) -> Option<(i64, Millis)> {
        let zone = self.zone()?;
        let period = self.first_after(&zone, from, now);
        Some((period, self.date_in(&zone, period)?))
    }

    /// The last period from `from` on (at least 0) whose date is not after `now`, and that date. `None` when the date of
    /// `from` is after `now`, and as for [`Schedule::date`].
    pub fn last_before(&self, from: i64, now: Millis) -> Option<(i64, Millis)> {
        let zone = self.zone()?;
        let after = self.first_after(&zone, from, now);
        let period = after.checked_sub(1).filter(|period| *period >= from)?;
        Some((period, self.date_in(&zone, period)?))
    }

    fn zone(&self) -> Option<TimeZone> {
        self.time_zone.map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())
    }

    fn date_in(&self, zone: &TimeZone, periods: i64) -> Option<Millis> {
        let anchor = Timestamp::from_millisecond(self.anchor).ok()?;
        if periods < 0 || self.interval < 1 {
            return None;
        }
        if periods == 0 {
            // Its time of day may be the second of two, which the way over the calendar cannot tell.
            return Some(self.anchor);
        }
        let local = self.later(zone.to_datetime(anchor), periods.checked_mul(self.interval)?)?;
        zone.to_timestamp(local).ok().map(Timestamp::as_millisecond)
    }

    fn later(&self, local: DateTime, units: i64) -> Option<DateTime> {
        let span = jiff::Span::new();
        let span = match self.unit {
            Unit::Days => span.try_days(units),
            Unit::Weeks => span.try_weeks(units),
            Unit::Months => span.try_months(units),
            Unit::Years => span.try_years(units),
        };
        local.checked_add(span.ok()?).ok()
    }

    /// The first period from `from` on that has no date or one after `now`. Most callers look for the next period or the
    /// one behind it; so ever longer steps lead beyond `now`, and halves of the last step back: a dozen dates in a century.
    fn first_after(&self, zone: &TimeZone, from: i64, now: Millis) -> i64 {
        let is_after = |period| self.date_in(zone, period).is_none_or(|date| date > now);
        if is_after(from) {
            return from;
        }
        // The date of `before` is not after `now`. Sums cannot overflow: both are periods of the calendar, or twice that.
        let (mut before, mut step) = (from, 1);
        while !is_after(before + step) {
            before += step;
            step *= 2;
        }
        let mut after = before + step;
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if is_after(middle) {
                after = middle;
            } else {
                before = middle;
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timestamp;
    use proptest::prelude::*;

    const HOUR: Millis = 3_600_000;
    const DAY: Millis = 24 * HOUR;

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn schedule<'a>(anchor: &str, unit: Unit, interval: i64, time_zone: &'a str) -> Schedule<'a> {
        Schedule { anchor: at(anchor), unit, interval, time_zone: Some(time_zone) }
    }

    fn dates(schedule: Schedule, periods: impl IntoIterator<Item = i64>) -> Vec<String> {
        periods.into_iter().map(|period| timestamp(schedule.date(period).unwrap())).collect()
    }

    #[test]
    fn words_are_the_contracts() {
        for unit in [Unit::Days, Unit::Weeks, Unit::Months, Unit::Years] {
            assert_eq!(Unit::parse(unit.name()), Some(unit));
            assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{}\"", unit.name()));
        }
        assert_eq!(["DAYS", "WEEKLY", "MONTHLY", "YEARLY"].map(Unit::parse).map(|unit| unit.is_some()), [true; 4]);
        assert_eq!(["days", "DAY", "WEEKS", "", "MONTHLY "].map(Unit::parse), [None; 5]);
    }

    #[test]
    fn days_and_weeks() {
        let two = Schedule { time_zone: None, ..schedule("2026-11-26T01:31:29.123Z", Unit::Days, 2, "") };
        assert_eq!(dates(two, 0..2), ["2026-11-26T01:31:29.123Z", "2026-11-28T01:31:29.123Z"]);
        assert_eq!(dates(two, [18]), ["2027-01-01T01:31:29.123Z"]);
        let weeks = schedule("2026-11-26T01:31:29Z", Unit::Weeks, 2, "Asia/Tokyo");
        assert_eq!(dates(weeks, 1..3), ["2026-12-10T01:31:29.000Z", "2026-12-24T01:31:29.000Z"]);
    }

    #[test]
    fn months_ends_come_back() {
        let monthly = schedule("2027-01-31T09:00:00Z", Unit::Months, 1, "UTC");
        let days: Vec<String> = dates(monthly, 1..14).iter().map(|date| date[..10].to_owned()).collect();
        assert_eq!(days[..4], ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]);
        assert_eq!(days[11..], ["2028-01-31", "2028-02-29"]);
        // The 31st of Tokyo, where it is the 30th in UTC.
        let tokyo = schedule("2027-01-30T15:00:00Z", Unit::Months, 1, "Asia/Tokyo");
        assert_eq!(dates(tokyo, 1..3), ["2027-02-27T15:00:00.000Z", "2027-03-30T15:00:00.000Z"]);
        let fortnights = schedule("2026-12-31T00:00:00Z", Unit::Months, 2, "UTC");
        assert_eq!(dates(fortnights, 1..3), ["2027-02-28T00:00:00.000Z", "2027-04-30T00:00:00.000Z"]);
    }

    #[test]
    fn the_29th_of_february_comes_back() {
        let yearly = schedule("2096-02-29T12:00:00Z", Unit::Years, 1, "UTC");
        let days: Vec<String> = dates(yearly, [1, 4, 8]).iter().map(|date| date[..10].to_owned()).collect();
        // 2100 is no leap year.
        assert_eq!(days, ["2097-02-28", "2100-02-28", "2104-02-29"]);
    }

    #[test]
    fn new_yorks_clocks() {
        // 02:30 does not exist on 14 March 2027: 03:30 in summer time. The day after it is 02:30 again.
        let gap = schedule("2027-03-13T07:30:00.001Z", Unit::Days, 1, "America/New_York");
        assert_eq!(dates(gap, 1..3), ["2027-03-14T07:30:00.001Z", "2027-03-15T06:30:00.001Z"]);
        // 01:30 comes twice on 7 November 2027: the first, in summer time.
        let fold = schedule("2027-11-06T05:30:00Z", Unit::Days, 1, "America/New_York");
        assert_eq!(dates(fold, 1..3), ["2027-11-07T05:30:00.000Z", "2027-11-08T06:30:00.000Z"]);
        // An anchor in the second 01:30 stays there; what follows it is counted from 01:30.
        let second = schedule("2027-11-07T06:30:00Z", Unit::Years, 1, "America/New_York");
        assert_eq!(dates(second, 0..2), ["2027-11-07T06:30:00.000Z", "2028-11-07T06:30:00.000Z"]);
        // In 2032 it is the day of the change again.
        assert_eq!(dates(second, [5]), ["2032-11-07T05:30:00.000Z"]);
    }

    #[test]
    fn other_clocks() {
        // Half an hour is left out, not a whole one: 02:15 is 02:45, at +11.
        let lord_howe = schedule("2027-10-01T15:45:00Z", Unit::Days, 1, "Australia/Lord_Howe");
        assert_eq!(
            dates(lord_howe, 0..3),
            ["2027-10-01T15:45:00.000Z", "2027-10-02T15:45:00.000Z", "2027-10-03T15:15:00.000Z"]
        );
        // Midnight does not exist on 4 November 2018: 01:00.
        let sao_paulo = schedule("2018-11-03T03:00:00Z", Unit::Days, 1, "America/Sao_Paulo");
        assert_eq!(dates(sao_paulo, 1..3), ["2018-11-04T03:00:00.000Z", "2018-11-05T02:00:00.000Z"]);
        // The day that Apia left out is the next: the only dates that do not grow.
        let apia = schedule("2011-12-29T20:00:00Z", Unit::Days, 1, "Pacific/Apia");
        assert_eq!(
            dates(apia, 0..4),
            [
                "2011-12-29T20:00:00.000Z",
                "2011-12-30T20:00:00.000Z",
                "2011-12-30T20:00:00.000Z",
                "2011-12-31T20:00:00.000Z"
            ]
        );
        assert_eq!(apia.next_after(1, at("2011-12-30T20:00:00Z")).unwrap().0, 3);
        assert_eq!(apia.last_before(0, at("2011-12-30T20:00:00Z")).unwrap().0, 2);
    }

    #[test]
    fn what_has_no_date() {
        let daily = schedule("2026-11-26T01:31:29Z", Unit::Days, 1, "UTC");
        let none = |schedule: Schedule, period| {
            assert_eq!(schedule.date(period), None, "{schedule:?}");
            assert_eq!(schedule.next_after(period, at("2026-11-26T01:31:29Z")), None, "{schedule:?}");
            assert_eq!(schedule.last_before(period, at("2026-11-26T01:31:29Z")), None, "{schedule:?}");
        };
        none(daily, -1);
        none(daily, i64::MIN);
        none(daily, i64::MAX);
        none(Schedule { interval: 365, ..daily }, i64::MAX / 2);
        for interval in [0, -1, i64::MIN] {
            none(Schedule { interval, ..daily }, 1);
        }
        for unit in [Unit::Days, Unit::Weeks, Unit::Months, Unit::Years] {
            none(Schedule { unit, interval: i64::MAX, ..daily }, 1);
            none(Schedule { unit, ..daily }, 3_000_000);
        }
        for zone in ["Mars/Olympus", "", "Asia/Tokyo ", "東京"] {
            none(Schedule { time_zone: Some(zone), ..daily }, 0);
        }
        for anchor in [i64::MAX, i64::MIN] {
            none(Schedule { anchor, ..daily }, 0);
        }
        // The calendar's end: the last date is found, and nothing behind it.
        let (last, end) = daily.last_before(0, i64::MAX).unwrap();
        assert_eq!((timestamp(end).as_str(), daily.date(last + 1)), ("9999-12-30T01:31:29.000Z", None));
        assert_eq!((daily.next_after(0, end - 1), daily.next_after(0, end)), (Some((last, end)), None));
        assert_eq!(daily.next_after(0, i64::MIN), Some((0, daily.anchor)));
        assert_eq!(daily.last_before(0, daily.anchor - 1), None);
    }

    #[test]
    fn a_millennium_of_days_is_not_walked() {
        let daily = schedule("2026-11-26T01:31:29Z", Unit::Days, 1, "America/New_York");
        let stopwatch = crate::clock::Stopwatch::start();
        for year in 0..1_000 {
            let (period, date) = daily.next_after(1, at("3026-11-26T01:31:29Z") + year * 365 * DAY).unwrap();
            assert_eq!(daily.date(period), Some(date));
        }
        // A walk would look at some 500 million dates.
        assert!(stopwatch.elapsed() < std::time::Duration::from_secs(10), "{:?}", stopwatch.elapsed());
    }

    /// The same dates, slowly: days are stepped one by one, months counted on fingers, and of the time zone only its offset
    /// at an instant is asked.
    mod by_hand {
        use super::*;

        #[derive(Clone, Copy, Debug, PartialEq)]
        struct Day {
            year: i64,
            month: i64,
            day: i64,
            /// Days since 1970-01-01.
            number: i64,
        }

        fn length(year: i64, month: i64) -> i64 {
            let leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
            match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            }
        }

        impl Day {
            fn tomorrow(self) -> Day {
                let number = self.number + 1;
                if self.day < length(self.year, self.month) {
                    Day { day: self.day + 1, number, ..self }
                } else if self.month < 12 {
                    Day { month: self.month + 1, day: 1, number, ..self }
                } else {
                    Day { year: self.year + 1, month: 1, day: 1, number }
                }
            }

            fn until(mut self, stop: impl Fn(Day) -> bool) -> Day {
                while !stop(self) {
                    self = self.tomorrow();
                }
                self
            }
        }

        fn months_later(from: Day, months: i64) -> Day {
            let (mut year, mut month) = (from.year, from.month);
            for _ in 0..months {
                month += 1;
                if month == 13 {
                    (year, month) = (year + 1, 1);
                }
            }
            let day = from.day.min(length(year, month));
            from.until(|at| (at.year, at.month, at.day) == (year, month, day))
        }

        pub fn offset(zone: &TimeZone, at: Millis) -> Millis {
            i64::from(zone.to_offset(Timestamp::from_millisecond(at).unwrap()).seconds()) * 1_000
        }

        /// `wall` is milliseconds since midnight of 1970-01-01 on the place's own clock.
        fn instant(zone: &TimeZone, wall: Millis) -> Millis {
            let around: Vec<Millis> = (-96..=96).map(|step| wall + step * HOUR / 2).collect();
            let shown = around.iter().map(|at| wall - offset(zone, *at));
            let first = shown.filter(|at| at + offset(zone, *at) == wall).min();
            first.unwrap_or_else(|| {
                // Left out: by the clock as it was before that.
                let before = around.iter().filter(|at| **at + offset(zone, **at) <= wall).max().unwrap();
                wall - offset(zone, *before)
            })
        }

        pub fn date(schedule: &Schedule, periods: i64) -> Millis {
            let zone = TimeZone::get(schedule.time_zone.unwrap_or("UTC")).unwrap();
            if periods == 0 {
                return schedule.anchor;
            }
            let wall = schedule.anchor + offset(&zone, schedule.anchor);
            let first = Day { year: 1970, month: 1, day: 1, number: 0 }.until(|day| day.number == wall / DAY);
            let units = periods * schedule.interval;
            let day = match schedule.unit {
                Unit::Days => first.until(|day| day.number == first.number + units),
                Unit::Weeks => first.until(|day| day.number == first.number + 7 * units),
                Unit::Months => months_later(first, units),
                Unit::Years => months_later(first, 12 * units),
            };
            instant(&zone, day.number * DAY + wall % DAY)
        }
    }

    const ZONES: [&str; 8] = [
        "UTC",
        "Asia/Tokyo",
        "America/New_York",
        "Europe/London",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/Sao_Paulo",
    ];

    fn units() -> impl Strategy<Value = Unit> {
        prop::sample::select(vec![Unit::Days, Unit::Weeks, Unit::Months, Unit::Years])
    }

    /// Any schedule with an anchor in 1990 to 2060, more often than not at a month's end.
    fn schedules() -> impl Strategy<Value = Schedule<'static>> {
        let month_end =
            (1990_i16..2060, prop::sample::select(vec![(1_i8, 31_i8), (1, 30), (2, 28), (8, 31), (12, 31)]));
        let days = prop_oneof![
            (7_305_i64..32_872).prop_map(|day| day * DAY),
            month_end.prop_map(|(year, (month, day))| at(&format!("{year}-{month:02}-{day:02}T00:00:00Z"))),
            (1992_i16..2060).prop_map(|year| at(&format!("{:04}-02-29T00:00:00Z", year / 4 * 4))),
        ];
        (days, 0..DAY, units(), 1_i64..=14, prop::sample::select(ZONES.to_vec())).prop_map(
            |(day, time, unit, interval, zone)| Schedule { anchor: day + time, unit, interval, time_zone: Some(zone) },
        )
    }

    /// Hours in which a zone's clock is changed, 2005 to 2040: `(zone, begin of the hour)`.
    fn changes() -> Vec<(&'static str, Millis)> {
        let mut found = Vec::new();
        for name in ZONES {
            let zone = TimeZone::get(name).unwrap();
            let offset = |at| by_hand::offset(&zone, at);
            for day in 12_784_i64..25_567 {
                let hour = (day * 24..day * 24 + 24).map(|hour| hour * HOUR);
                if offset(day * DAY) != offset((day + 1) * DAY) {
                    found.extend(hour.filter(|at| offset(*at) != offset(at + HOUR)).map(|at| (name, at)));
                }
            }
        }
        found
    }

    /// A schedule and a period of it whose date is within hours of a change of the clocks.
    fn near_changes() -> impl Strategy<Value = (Schedule<'static>, i64)> {
        let weekly = prop_oneof![Just((Unit::Days, 1)), Just((Unit::Weeks, 7))];
        // A whole day can be left out.
        let off = prop_oneof![3 => -2 * HOUR..2 * HOUR, 1 => -30 * HOUR..30 * HOUR];
        let near = (prop::sample::select(changes()), off, weekly, 1_i64..=9, 0_i64..60);
        near.prop_map(|((zone, change), off, (unit, days), interval, periods)| {
            let anchor = change + off - periods * interval * days * DAY;
            (Schedule { anchor, unit, interval, time_zone: Some(zone) }, periods)
        })
    }

    proptest! {
        #[test]
        fn dates_are_those_by_hand(schedule in schedules(), periods in 0_i64..40) {
            prop_assert_eq!(schedule.date(periods), Some(by_hand::date(&schedule, periods)));
        }

        #[test]
        fn dates_near_changes_are_those_by_hand((schedule, periods) in near_changes()) {
            prop_assert_eq!(schedule.date(periods), Some(by_hand::date(&schedule, periods)));
        }

        #[test]
        fn dates_grow((schedule, near) in near_changes(), any in schedules(), periods in 0_i64..200) {
            for (schedule, from) in [(any, periods), (schedule, (near - 3).max(0))] {
                for period in from..from + 6 {
                    let (date, next) = (schedule.date(period).unwrap(), schedule.date(period + 1).unwrap());
                    let left_out = schedule.time_zone == Some("Pacific/Apia") && timestamp(date).starts_with("2011-12-3");
                    prop_assert!(date < next || (left_out && date == next), "{:?} {}", schedule, period);
                }
            }
        }

        #[test]
        fn searches_find_what_a_walk_finds(
            (near, _) in near_changes(), any in schedules(), is_near in any::<bool>(),
            from in 0_i64..8, periods in 0_i64..90, off in prop_oneof![-1_i64..=1, -40 * DAY..40 * DAY]
        ) {
            let schedule = if is_near { near } else { any };
            let now = schedule.date(periods).unwrap() + off;
            // As many dates as there can be before `now`, and one after it.
            let walk = (from..200).map(|period| (period, schedule.date(period).unwrap()));
            prop_assert_eq!(schedule.next_after(from, now), walk.clone().find(|(_, date)| *date > now));
            prop_assert_eq!(schedule.last_before(from, now), walk.take_while(|(_, date)| *date <= now).last());
        }
    }
}
