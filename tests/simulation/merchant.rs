//! What merchants do with subscriptions: create them, pause, resume and cancel them, change their cards, delete those; and the
//! days after that, in which cycles fall due.

use crate::client::{Client, Plan, card, pause};
use crate::weather::Dice;
use crate::world::World;
use crate::{cardholder, checks};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a subscription is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Pause(String),
    Resume(String),
    Cancel(String),
    Card(String),
    /// This token, and all subscriptions that charge it.
    Delete(String),
}

impl Wish {
    pub fn of(&self, subscription: &str) -> bool {
        match self {
            Wish::Pause(id) | Wish::Resume(id) | Wish::Cancel(id) | Wish::Card(id) => id == subscription,
            Wish::Delete(_) => false,
        }
    }
}

/// A wish that was sent, perhaps without an answer.
#[derive(Clone, Debug)]
pub struct Asked {
    pub wish: Wish,
    /// The plan's mark, which its answers name too.
    pub mark: String,
    /// When it was sent for the first time.
    pub at: i64,
}

impl Client {
    /// Before it is sent.
    pub fn wished(&self, plan: &Plan) {
        if let Some(wish) = plan.wish.clone() {
            let asked = Asked { wish, mark: plan.mark.clone(), at: self.world.clock.now() };
            self.world.asked.lock().unwrap().push(asked);
        }
    }

    /// A new one: short cycles, so that the days of one seed see several.
    pub fn subscribe(&self, mark: String, amount: u64) -> Option<Plan> {
        let mut body = self.charged(&mark, amount)?;
        body["return_url"]["success_url"] = json!(cardholder::PAID);
        body["return_url"]["decline_url"] = json!(cardholder::FAILED);
        let mut plan = json!({"plan_name": "梅", "cycle_type": "DAYS", "cycle_interval": 1 + self.dice.below(3)});
        if self.dice.chance(500) {
            plan["subscription_end_type"] = json!("FOREVER");
        } else {
            plan["subscription_end_type"] = json!("CYCLE");
            plan["max_cycle_count"] = json!(1 + self.dice.below(6));
        }
        let trial = self.dice.chance(300);
        if trial {
            plan["has_trial_period"] = json!(true);
            plan["trial_period_duration_type"] = json!("DAYS");
            plan["trial_period_duration"] = json!(1 + self.dice.below(3));
        }
        let mut percentage = 0;
        if self.dice.chance(400) {
            percentage = *self.dice.pick(&[1, 10, 33, 50, 100, 100])?;
            plan["has_discount"] = json!(true);
            plan["discount_percentage"] = json!(percentage);
            plan["discount_duration"] = json!(1 + self.dice.below(3));
        }
        body["subscription"] = plan;
        let first = if trial { 0 } else { (amount * (100 - percentage) + 50) / 100 };
        let steer = match self.dice.below(20) {
            0..=3 => Some("challenge"),
            4 => Some("frictionless"),
            5 => self.dice.pick(&["rejected", "unavailable", "silent"]).copied(),
            _ => None,
        };
        let key = self.dice.chance(800);
        Some(Plan { steer, ..Plan::post("subscription/payment", mark, key, first, body) })
    }

    /// Of one that is known.
    pub fn change(&self, mark: String) -> Option<Plan> {
        let known = self.world.subscriptions.lock().unwrap().clone();
        let id = self.dice.pick(&known)?.clone();
        let (what, wish, body) = match self.dice.below(20) {
            0..=5 => ("pause", Wish::Pause(id.clone()), Value::Null),
            6..=11 => ("resume", Wish::Resume(id.clone()), Value::Null),
            12 => ("cancel", Wish::Cancel(id.clone()), Value::Null),
            13..=18 => ("payment-method", Wish::Card(id.clone()), self.method()?),
            _ => return self.delete(mark),
        };
        let plan = Plan::post("subscription", mark, self.dice.chance(700), 0, body);
        Some(Plan { tail: format!("/{id}/{what}"), wish: Some(wish), ..plan })
    }

    fn method(&self) -> Option<Value> {
        let tokens = self.world.tokens.lock().unwrap().clone();
        if self.dice.chance(400) {
            return Some(json!({"payment_method": {"stored_payment_method_id": self.dice.pick(&tokens)?}}));
        }
        Some(json!({"card": card(), "payment_method": {"store_payment_method": self.dice.chance(500)}}))
    }

    /// A few changes, around the time when cycles are due.
    async fn manage(self, due: i64) {
        if self.dice.chance(300) {
            return self.hesitate(due).await;
        }
        for number in 0..1 + self.dice.below(2) {
            if self.dice.chance(500) {
                self.when_due(due).await;
            } else {
                self.world.clock.sleep(self.dice.below(5_000)).await;
            }
            if let Some(plan) = self.change(format!("c{}-{number}", self.name)) {
                self.carry_out(&plan).await;
            }
        }
    }

    /// Pauses one, and resumes it just when it is due.
    async fn hesitate(&self, due: i64) {
        let known = self.world.subscriptions.lock().unwrap().clone();
        let Some(id) = self.dice.pick(&known) else { return };
        for (number, what, wish) in [(0, "pause", Wish::Pause(id.clone())), (1, "resume", Wish::Resume(id.clone()))] {
            let plan = Plan::post("subscription", format!("c{}-{number}", self.name), true, 0, Value::Null);
            self.carry_out(&Plan { tail: format!("/{id}/{what}"), wish: Some(wish), ..plan }).await;
            self.when_due(due).await;
        }
    }

    /// In the second in which the job is taken.
    async fn when_due(&self, due: i64) {
        let wait = due - self.world.clock.now() + i64::try_from(self.dice.below(1_300)).unwrap();
        self.world.clock.sleep(u64::try_from(wait).unwrap_or(0).min(10_000)).await;
    }
}

/// Days go by: to the next due date, with merchants that change things around it, or several at once, asleep or dead. Some
/// days are quiet; on others the bank declines most.
pub async fn live_on(world: &Arc<World>, dice: &Dice) -> Result<(), String> {
    let usual = world.bank.lock().unwrap().declined_of_100;
    for season in 0..2 + dice.below(4) {
        let Some(due) = know_all(world).await? else { break };
        world.calm.store(dice.chance(250), Ordering::Relaxed);
        world.bank.lock().unwrap().declined_of_100 = if dice.chance(350) { 80 } else { usual };
        let now = world.clock.now();
        let some = i64::try_from(dice.below(4_000)).unwrap();
        let until = match dice.below(10) {
            0..=5 => (due - some).max(now),
            6..=7 => now + DAY_MS + 1_000 * some,
            _ => now + 3 * DAY_MS,
        };
        if dice.chance(250) {
            world.stop_all();
        }
        world.leap(until).await;
        let mut merchants = tokio::task::JoinSet::new();
        for number in 0..dice.below(3) {
            let name = 100 + 10 * season + number;
            let client = Client { world: world.clone(), name, dice: Dice::new(dice.below(u64::MAX)) };
            merchants.spawn(client.manage(due));
        }
        while merchants.join_next().await.is_some() {}
        pause(6_000 + dice.below(12_000)).await;
    }
    world.wait_for(&world.prompt).await?;
    world.bank.lock().unwrap().declined_of_100 = usual;
    Ok(())
}

/// Merchants look at their lists. When the next cycle is due; `None` when nothing is left to happen.
async fn know_all(world: &World) -> Result<Option<i64>, String> {
    let db = world.calm_db();
    let read = |error| format!("{error:?}");
    let known = "SELECT id FROM subscriptions WHERE status IN (1, 2, 3)";
    let rows = db.rows(known, vec![]).await.map_err(read)?;
    let ids = rows.iter().filter_map(|row| fuda::id::SubscriptionId::from_bytes(row.bytes(0).unwrap()));
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    let alive = !ids.is_empty();
    *world.subscriptions.lock().unwrap() = ids;
    let due = "SELECT CAST(COALESCE(MIN(due_at), 0) AS BIGINT) FROM subscriptions WHERE status IN (1, 3)";
    let due = checks::count(&db, due, vec![]).await;
    Ok(alive.then_some(due))
}
