//! What one subscription has come through: its charges, its changes of state, and what was asked of it; whether they fit.

use crate::client::Told;
use crate::merchant::{Asked, DAY_MS, Wish};
use crate::renewals::Done;
use fuda::pay::transaction::{State, Transaction};
use fuda::response_codes::{self, Retry};
use fuda::subscription::{End, Part, Status, Subscription};

/// A cycle that is declined is tried again so many days after the first time.
const RETRY_DAYS: [i64; 3] = [1, 3, 5];

/// One charge of a cycle.
pub struct Charge<'a> {
    pub one: &'a Transaction,
    pub cycle: i64,
    /// When its intent was about to be written, and its end.
    pub began: i64,
    pub ended: i64,
}

/// A change of state that no charge brought.
#[derive(Clone)]
pub struct Step {
    pub status: i64,
    pub at: i64,
}

/// What is known of one subscription.
pub struct Story<'a> {
    pub one: &'a Subscription,
    /// In their order, the first one too.
    pub charges: Vec<Charge<'a>>,
    pub steps: Vec<Step>,
    pub asked: Vec<&'a Asked>,
}

impl Charge<'_> {
    fn paid(&self) -> bool {
        self.one.state == State::Approved
    }

    fn declined(&self) -> bool {
        self.one.state == State::Declined
    }

    /// A decline that uses up a day: not one of a try that was made for a new card before its day.
    fn counts(&self) -> bool {
        let part = self.one.details.subscription.as_ref().map(|share| &share.part);
        self.declined() && !matches!(part, Some(Part::Renews { extra: true, .. }))
    }

    /// Declined for good.
    fn hopeless(&self) -> bool {
        let row = self.one.response_code.and_then(response_codes::find);
        self.declined() && row.is_some_and(|row| row.retry == Retry::Never)
    }
}

impl Story<'_> {
    pub fn check(&self, told: &[Told], now: i64) -> Result<(), &'static str> {
        self.cycles()?;
        self.schedule(now)?;
        self.tries()?;
        self.quiet(told)
    }

    /// When its cycle's date is.
    fn date(&self, period: i64) -> i64 {
        self.one.anchor_at + period * self.one.terms.interval * DAY_MS
    }

    /// Whether it was asked for, in this time or at all.
    fn asked(&self, by: i64, wish: impl Fn(&Wish) -> bool) -> bool {
        self.asked.iter().any(|asked| asked.at <= by && wish(&asked.wish))
    }

    /// One after another, each paid once, at its price, and none before its date.
    fn cycles(&self) -> Result<(), &'static str> {
        let mut paid = 0;
        for (place, charge) in self.charges.iter().enumerate() {
            if charge.cycle != paid + 1 {
                return Err("a charge is not of the cycle that was due");
            }
            let next = self.charges.get(place + 1);
            if next.is_some_and(|next| next.began < charge.ended) {
                return Err("two charges at once");
            }
            let discount = self.one.terms.discount.filter(|discount| charge.cycle <= discount.cycles);
            let percentage = discount.map_or(0, |discount| discount.percentage);
            if charge.one.money.minor != (self.one.money.minor * (100 - percentage) + 50) / 100 {
                return Err("a cycle has another price");
            }
            if charge.one.created_at < self.date(charge.cycle - 1) && charge.one.id != self.one.first {
                return Err("a cycle was charged before its date");
            }
            paid += i64::from(charge.paid());
        }
        if paid == self.one.completed { Ok(()) } else { Err("the completed cycles are not the paid ones") }
    }

    fn declined_since_paid(&self) -> Vec<&Charge<'_>> {
        let paid = self.charges.iter().rposition(Charge::paid).map_or(0, |place| place + 1);
        self.charges[paid..].iter().filter(|charge| charge.declined()).collect()
    }

    /// What stands next, now that nothing is left to do.
    fn schedule(&self, now: i64) -> Result<(), &'static str> {
        let one = self.one;
        let declined = self.declined_since_paid();
        let counted = declined.iter().filter(|charge| charge.counts()).count();
        if one.failures != i64::try_from(counted).unwrap() {
            return Err("its failures are not the declines since the last success");
        }
        let last = self.charges.iter().rposition(|charge| charge.paid() || charge.declined());
        let undone = self.charges.len() - last.map_or(0, |last| last + 1);
        if one.delays != i64::try_from(undone).unwrap() {
            return Err("its delays are not the charges without a result");
        }
        let most = if let End::Cycles(most) = one.terms.end { most } else { i64::MAX };
        let all = one.completed == most;
        let fits = match one.status {
            Status::Active => !all && one.failures == 0 && one.due_at.is_some_and(|due| due > now),
            Status::PastDue => !all && one.failures > 0 && one.due_at.is_some_and(|due| due > now),
            Status::Paused => !all,
            Status::Expired => all && one.due_at.is_none(),
            Status::Cancelled => one.due_at.is_none(),
            Status::Starting => false,
        };
        if !fits {
            return Err("its state does not fit");
        }
        if one.status == Status::Active && one.delays == 0 && one.due_at != Some(self.date(one.period)) {
            return Err("the next date is not one of the schedule");
        }
        let skips = self.asked(i64::MAX, |wish| matches!(wish, Wish::Pause(_)))
            || self.charges.iter().any(|charge| charge.declined());
        if !skips && one.status != Status::Cancelled && one.period != one.completed {
            return Err("dates were skipped");
        }
        Ok(())
    }

    /// A declined cycle is tried again on its days; a paid one leaves what fell due meanwhile out.
    fn tries(&self) -> Result<(), &'static str> {
        let mut failed: Vec<&Charge<'_>> = Vec::new();
        for (place, charge) in self.charges.iter().enumerate() {
            let at = charge.one.created_at;
            let changed = |wish: &Wish| matches!(wish, Wish::Card(_) | Wish::Resume(_));
            let card = |wish: &Wish| matches!(wish, Wish::Card(_));
            if let (Some(first), Some(last)) = (failed.first(), failed.last()) {
                if last.hopeless() && !self.asked(at, card) {
                    return Err("a card was tried again that will never be charged");
                }
                let day = RETRY_DAYS.get(failed.iter().filter(|charge| charge.counts()).count() - 1);
                let in_time = day.is_some_and(|day| at >= first.one.created_at + day * DAY_MS);
                if !in_time && !self.asked(at, changed) {
                    return Err("a declined cycle was tried again before its day, or too often");
                }
            }
            if charge.declined() {
                failed.push(charge);
            } else if charge.paid() {
                let next = self.charges.get(place + 1).filter(|next| !self.asked(next.began, changed));
                if let Some(next) = next
                    && !failed.is_empty()
                {
                    // The first date behind the success.
                    let period = (charge.cycle..).find(|period| self.date(*period) > at).unwrap_or(0);
                    if next.one.created_at < self.date(period) {
                        return Err("a date that fell due while another was unpaid was charged");
                    }
                }
                failed.clear();
            }
        }
        Ok(())
    }

    /// Nothing is charged after the answer to a pause, until somebody asks for its end, and after the answer to a cancel.
    fn quiet(&self, told: &[Told]) -> Result<(), &'static str> {
        for asked in &self.asked {
            let answer = told.iter().find(|told| told.mark == asked.mark && told.code == "INFO3000");
            let Some(answered) = answer.map(|told| told.at) else { continue };
            for charge in self.charges.iter().filter(|charge| charge.began > answered) {
                match asked.wish {
                    Wish::Cancel(_) => return Err("a cancelled subscription was charged"),
                    // A resume that was over before the pause was asked for does not end it.
                    Wish::Pause(_) if !self.resumed(told, asked.at, charge.began) => {
                        return Err("a paused subscription was charged");
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn resumed(&self, told: &[Told], from: i64, until: i64) -> bool {
        self.asked.iter().filter(|asked| matches!(asked.wish, Wish::Resume(_)) && asked.at <= until).any(|asked| {
            let answer = told.iter().find(|told| told.mark == asked.mark && told.code == "INFO3000");
            answer.is_none_or(|answer| answer.at >= from)
        })
    }

    /// Each change of state has its event, and an end its reason.
    pub fn ended(&self, deleted: bool) -> Result<(), &'static str> {
        let one = self.one;
        let mut paused = false;
        for (place, step) in self.steps.iter().enumerate() {
            let fits = match Status::from_id(step.status) {
                Some(Status::Paused) => !paused,
                Some(Status::Active | Status::PastDue) => paused,
                Some(Status::Cancelled) => place + 1 == self.steps.len(),
                _ => false,
            };
            if !fits {
                return Err("its events do not follow each other");
            }
            paused = step.status == Status::Paused as i64;
        }
        let cancelled = self.steps.last().filter(|step| step.status == Status::Cancelled as i64);
        let fits = match one.status {
            Status::Paused => paused,
            Status::Cancelled => true,
            Status::Expired => cancelled.is_none(),
            _ => !paused && cancelled.is_none(),
        };
        if !fits {
            return Err("its last event is not its state");
        }
        if one.status != Status::Cancelled {
            return Ok(());
        }
        let wished = deleted || self.asked(i64::MAX, |wish| matches!(wish, Wish::Cancel(_)));
        let declined = self.declined_since_paid();
        match (cancelled, declined.first(), declined.last()) {
            (Some(_), _, _) if wished => Ok(()),
            // No new card came in time.
            (Some(step), Some(first), Some(last)) => {
                let waited = step.at >= first.one.created_at + RETRY_DAYS[2] * DAY_MS;
                if last.hopeless() && waited { Ok(()) } else { Err("it was given up too soon") }
            }
            (None, Some(_), Some(last)) if declined.len() > RETRY_DAYS.len() && !last.hopeless() => Ok(()),
            _ => Err("it was cancelled without a reason"),
        }
    }

    pub fn count(&self, done: &mut Done) {
        done.charges += self.charges.len() as u64;
        done.ended[usize::try_from(self.one.status as i64).unwrap()] += 1;
        done.declined += self.charges.iter().filter(|charge| charge.declined()).count() as u64;
        done.undone += self.charges.iter().filter(|charge| !charge.paid() && !charge.declined()).count() as u64;
        let after = self.charges.windows(2).filter(|two| two[0].declined() && two[1].paid());
        done.past_due_paid += after.count() as u64;
    }

    /// For the report of a fault.
    pub fn show(&self, asked: &[Asked], told: &[Told]) -> String {
        let mut lines = vec![format!("{:?}", self.one)];
        for charge in &self.charges {
            let (id, state, code) = (charge.one.id, charge.one.state, charge.one.response_code);
            let times = (charge.one.created_at, charge.began, charge.ended);
            lines.push(format!("cycle {} {id} {state:?} {code:?} {times:?}", charge.cycle));
        }
        lines.extend(self.steps.iter().map(|step| format!("state {} at {}", step.status, step.at)));
        let delete = |asked: &&Asked| asked.wish == Wish::Delete(self.one.token.to_string());
        for asked in self.asked.iter().copied().chain(asked.iter().filter(delete)) {
            let answers: Vec<_> =
                told.iter().filter(|told| told.mark == asked.mark).map(|told| (&told.code, told.at)).collect();
            lines.push(format!("{asked:?} {answers:?}"));
        }
        lines.join("\n")
    }
}
