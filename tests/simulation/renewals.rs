//! What must hold of subscriptions after every seed: no cycle charged twice or skipped, none charged while it was not to be, and
//! the rows, the cards, the events and the answers agree.

use crate::client::Told;
use crate::merchant::{Asked, Wish};
use crate::world::World;
use fuda::db::{Db, Row, Value};
use fuda::id::{SubscriptionId, TransactionId};
use fuda::pay::store;
use fuda::pay::transaction::{State, Transaction};
use fuda::response_codes::{self, Retry};
use fuda::subscription::{End, Part, Status, Subscription, rows};
use fuda::webhook;
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A cycle that is declined is tried again so many days after the first time.
const RETRY_DAYS: [i64; 3] = [1, 3, 5];

/// What a seed saw of it, for the sum of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub subscriptions: u64,
    pub charges: u64,
    pub declined: u64,
    pub undone: u64,
    pub past_due_paid: u64,
    pub ended: [u64; 6],
}

impl Done {
    pub fn add(&mut self, one: Done) {
        self.subscriptions += one.subscriptions;
        self.charges += one.charges;
        self.declined += one.declined;
        self.undone += one.undone;
        self.past_due_paid += one.past_due_paid;
        for (sum, one) in self.ended.iter_mut().zip(one.ended) {
            *sum += one;
        }
    }
}

/// One charge of a cycle.
struct Charge<'a> {
    one: &'a Transaction,
    cycle: i64,
    /// When its intent was about to be written, and its end.
    began: i64,
    ended: i64,
}

/// A change of state that no charge brought.
struct Step {
    status: i64,
    at: i64,
}

/// What is known of one subscription.
struct Story<'a> {
    one: &'a Subscription,
    /// In their order, the first one too.
    charges: Vec<Charge<'a>>,
    steps: Vec<Step>,
    asked: Vec<&'a Asked>,
}

pub async fn check(world: &World) -> Result<Done, String> {
    let db = world.calm_db();
    let all = store::page(&db, 0, i64::MIN, i64::MAX, 100_000).await.map_err(say)?;
    let mine: Vec<&Transaction> = all.iter().filter(|one| one.details.subscription.is_some()).collect();
    let found = rows::page(&db, "", None, i64::MAX, 100_000).await.map_err(say)?;
    begun(&mine, &found)?;
    let open = "SELECT COUNT(*) FROM subscriptions WHERE status = 0 OR running IS NOT NULL";
    if crate::checks::count(&db, open, vec![]).await > 0 {
        return Err("a subscription's charge has no end".to_owned());
    }
    let jobless = "SELECT COUNT(*) FROM subscriptions s WHERE status IN (1, 3) AND NOT EXISTS \
                   (SELECT 1 FROM jobs j WHERE j.kind = 6 AND j.subject = s.id AND j.run_at <= s.due_at)";
    if crate::checks::count(&db, jobless, vec![]).await > 0 {
        return Err("nobody will look at a subscription when it is due".to_owned());
    }
    told(world, &mine)?;
    let times = Times::read(&db).await?;
    let (asked, told) = (world.asked.lock().unwrap().clone(), world.told.lock().unwrap().clone());
    let mut done = Done { subscriptions: found.len() as u64, ..Done::default() };
    for one in &found {
        let story = Story {
            one,
            charges: charges(&db, one, &mine, &times).await?,
            steps: times.steps.get(&one.id).map(Vec::as_slice).unwrap_or_default().iter().map(Step::copy).collect(),
            asked: asked.iter().filter(|asked| asked.wish.of(&one.id.to_string())).collect(),
        };
        let now = world.clock.now();
        story.check(&told, now).map_err(|what| format!("{what}: {}", story.show(&asked, &told)))?;
        kept(&db, one).await.map_err(|what| format!("{what}: {}", story.show(&asked, &told)))?;
        let deleted = asked.iter().any(|asked| asked.wish == Wish::Delete(one.token.to_string()));
        story.ended(deleted).map_err(|what| format!("{what}: {}", story.show(&asked, &told)))?;
        story.count(&mut done);
    }
    Ok(done)
}

fn say(error: fuda::error::Error) -> String {
    format!("{error:?}")
}

/// A subscription begins with its first charge's approval, and never otherwise.
fn begun(mine: &[&Transaction], found: &[Subscription]) -> Result<(), String> {
    let firsts: BTreeMap<SubscriptionId, TransactionId> = found.iter().map(|one| (one.id, one.first)).collect();
    let mut begun = BTreeSet::new();
    for one in mine {
        let share = one.details.subscription.as_ref().ok_or("no share")?;
        if matches!(share.part, Part::Begins { .. }) {
            let there = firsts.get(&share.id) == Some(&one.id);
            if there != one.state.succeeded() {
                return Err(format!("a subscription is there: {there}, and its first charge {one:?}"));
            }
            begun.insert(share.id);
        }
    }
    match firsts.keys().find(|id| !begun.contains(id)) {
        Some(id) => Err(format!("the subscription {id} has no first charge")),
        None => Ok(()),
    }
}

/// What a creation was answered; what answers say of subscriptions.
fn told(world: &World, mine: &[&Transaction]) -> Result<(), String> {
    for told in world.told.lock().unwrap().iter() {
        let first = told.id.as_ref().and_then(|id| mine.iter().find(|one| one.id.to_string() == *id));
        let share = first.and_then(|one| one.details.subscription.as_ref());
        let holds = match (told.path, told.code.as_str()) {
            ("subscription/payment", "INFO0000") => {
                let hidden = share.is_some_and(|share| share.owned) == told.token.is_none();
                share.is_some_and(|share| told.subscription == Some(share.id.to_string())) && hidden
            }
            ("subscription/payment", _) => !told.success && told.subscription.is_none() || told.redirect.is_some(),
            ("subscription", "INFO3000") => told.success && told.subscription.is_some(),
            ("subscription", _) => !told.success,
            _ => told.subscription.is_none(),
        };
        if !holds {
            return Err(format!("of a subscription was told {told:?}"));
        }
    }
    Ok(())
}

/// When things were written.
struct Times {
    /// A charge's message and its answer.
    sent: BTreeMap<TransactionId, (i64, Option<i64>)>,
    /// A charge's first event.
    events: BTreeMap<TransactionId, i64>,
    steps: BTreeMap<SubscriptionId, Vec<Step>>,
}

impl Times {
    async fn read(db: &Db) -> Result<Times, String> {
        let sql = "SELECT transaction_id, sent_at, answered_at FROM attempts WHERE number = 1";
        let sent = db.rows(sql, Vec::<Value>::new()).await.map_err(say)?;
        let sent = sent.iter().map(|row| (transaction(row), (row.int(1).unwrap(), row.opt_int(2).unwrap()))).collect();
        let mut times = Times { sent, events: BTreeMap::new(), steps: BTreeMap::new() };
        for event in webhook::page(db, 0, i64::MIN, 100_000).await.map_err(say)? {
            match event.subscription.zip(event.subscription_status) {
                Some((id, status)) => times.steps.entry(id).or_default().push(Step { status, at: event.created_at }),
                None => drop(times.events.entry(event.transaction).or_insert(event.created_at)),
            }
        }
        Ok(times)
    }
}

fn transaction(row: &Row) -> TransactionId {
    TransactionId::from_bytes(row.bytes(0).unwrap()).unwrap()
}

/// In the order of their intents: the list of the subscription's own, which names each of its charges once.
async fn charges<'a>(
    db: &Db,
    one: &Subscription,
    mine: &[&'a Transaction],
    times: &Times,
) -> Result<Vec<Charge<'a>>, String> {
    let sql = "SELECT transaction_id, cycle FROM subscription_charges WHERE subscription_id = $1";
    let listed = db.rows(sql, vec![one.id.into()]).await.map_err(say)?;
    let listed: BTreeMap<TransactionId, i64> =
        listed.iter().map(|row| (transaction(row), row.int(1).unwrap())).collect();
    let mut charges = Vec::new();
    for charge in mine {
        let Some(share) = charge.details.subscription.as_ref().filter(|share| share.id == one.id) else { continue };
        let cycle = match share.part {
            Part::Begins { completed: 1, .. } => Some(1),
            Part::Renews { cycle, .. } => Some(cycle),
            _ => None,
        };
        if listed.get(&charge.id).copied() != cycle {
            return Err(format!("a charge of cycle {cycle:?} is listed otherwise: {charge:?}"));
        }
        let Some(cycle) = cycle else { continue };
        let (sent, answered) = times.sent.get(&charge.id).copied().unwrap_or((charge.created_at, None));
        let ended = times.events.get(&charge.id).copied().or(answered);
        let ended = ended.ok_or_else(|| format!("a charge has no end: {charge:?}"))?;
        charges.push(Charge { one: charge, cycle, began: sent, ended });
    }
    if listed.len() == charges.len() {
        Ok(charges)
    } else {
        Err(format!("a charge is listed that is not there: {one:?}"))
    }
}

/// The card that it charges is there, and no other of its own; none after its end.
async fn kept(db: &Db, one: &Subscription) -> Result<(), &'static str> {
    let lives = one.due_at.is_some() || one.status == Status::Paused;
    let own = "SELECT COUNT(*) FROM tokens WHERE owner = $1";
    let own = crate::checks::count(db, own, vec![one.id.into()]).await;
    let used = "SELECT COUNT(*) FROM tokens WHERE id = $1 AND (owner = $2) IS NOT FALSE";
    let used = crate::checks::count(db, used, vec![one.token.into(), one.id.into()]).await;
    if own != i64::from(lives && one.owned) {
        return Err("a card of its own is there that it does not use, or is not there");
    }
    if lives && used != 1 { Err("it has no card") } else { Ok(()) }
}

impl Step {
    fn copy(&self) -> Step {
        Step { status: self.status, at: self.at }
    }
}

impl Charge<'_> {
    fn paid(&self) -> bool {
        self.one.state == State::Approved
    }

    fn declined(&self) -> bool {
        self.one.state == State::Declined
    }

    /// Declined for good.
    fn hopeless(&self) -> bool {
        let row = self.one.response_code.and_then(response_codes::find);
        self.declined() && row.is_some_and(|row| row.retry == Retry::Never)
    }
}

impl Story<'_> {
    fn check(&self, told: &[Told], now: i64) -> Result<(), &'static str> {
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
        if one.failures != i64::try_from(declined.len()).unwrap() {
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
                let day = RETRY_DAYS.get(failed.len() - 1);
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
    fn ended(&self, deleted: bool) -> Result<(), &'static str> {
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

    fn count(&self, done: &mut Done) {
        done.charges += self.charges.len() as u64;
        done.ended[usize::try_from(self.one.status as i64).unwrap()] += 1;
        done.declined += self.charges.iter().filter(|charge| charge.declined()).count() as u64;
        done.undone += self.charges.iter().filter(|charge| !charge.paid() && !charge.declined()).count() as u64;
        let after = self.charges.windows(2).filter(|two| two[0].declined() && two[1].paid());
        done.past_due_paid += after.count() as u64;
    }

    /// For the report of a fault.
    fn show(&self, asked: &[Asked], told: &[Told]) -> String {
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
