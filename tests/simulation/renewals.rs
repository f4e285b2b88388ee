//! What must hold of subscriptions after every seed: no cycle charged twice or skipped, none charged while it was not to be, and
//! the rows, the cards, the events and the answers agree.

use crate::merchant::Wish;
use crate::story::{Charge, Step, Story};
use crate::world::World;
use fuda::db::{Db, Row, Value};
use fuda::id::{SubscriptionId, TransactionId};
use fuda::pay::store;
use fuda::pay::transaction::Transaction;
use fuda::subscription::{Part, Status, Subscription, rows};
use fuda::webhook;
use std::collections::{BTreeMap, BTreeSet};

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
            steps: times.steps.get(&one.id).cloned().unwrap_or_default(),
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
            match event.subscription.zip(event.stood.map(|stood| stood.status)) {
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
