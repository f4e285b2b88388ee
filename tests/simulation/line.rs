//! The line to the bank that delays, drops, repeats and reorders.

use crate::bank::{Bank, DEADLINE_MS, Message};
use crate::weather::{Dice, Life};
use fuda::acquirer::updater::Updater;
use fuda::acquirer::{Abilities, Acquirer, Initiator, Late, News, Operation, Outcome, Reason, Trace};
use fuda::card::{Card, Expiry};
use fuda::clock::{Clock, Millis};
use fuda::db::Wait;
use fuda::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// One process's line to the bank: as the bank that goes by our references, or as one of the hosts that go by trace numbers.
pub struct Line {
    pub name: &'static str,
    pub traces: Option<Arc<AtomicI64>>,
    /// Where answers go that nobody waits for any more.
    pub news: Option<mpsc::Sender<News>>,
    pub bank: Arc<Mutex<Bank>>,
    pub life: Arc<Life>,
    pub dice: Dice,
    pub clock: Clock,
}

impl Acquirer for Line {
    fn name(&self) -> &str {
        self.name
    }

    fn live(&self) -> bool {
        false
    }

    fn trace(&self, sent_at: Millis) -> Wait<'_, Result<Option<Trace>, Error>> {
        Box::pin(async move {
            self.life.step().await;
            let next = self.traces.as_ref().map(|traces| traces.fetch_add(1, Ordering::Relaxed));
            Ok(next.map(|stan| Trace { stan, rrn: format!("{stan:012}"), sent_at }))
        })
    }

    fn abilities(&self) -> Abilities {
        Abilities { names_cards: self.traces.is_some(), ..self.bank.lock().unwrap().abilities() }
    }

    fn send<'a>(&'a self, operation: Operation<'a>) -> Wait<'a, Outcome> {
        let message = Message::of(&operation);
        if let Operation::Purchase(ask) = &operation
            && let Some(stored) = ask.stored_credential.filter(|stored| stored.initiator == Initiator::Merchant)
        {
            // Only renewals are the merchant's here: each names the charge in which the cardholder agreed.
            let named =
                stored.network_transaction_id.is_some() && stored.from_vault && stored.reason == Reason::Recurring;
            if !named {
                self.bank.lock().unwrap().odd.push(format!("{} does not say what it follows", ask.reference));
            }
        }
        Box::pin(async move {
            self.life.step().await;
            let refused = if self.traces.is_some() { 150 } else { 40 };
            if !self.life.is_calm() && self.dice.chance(refused) {
                return Outcome::NotSent { why: "connection refused" };
            }
            self.bank.lock().unwrap().names.look(self.name, &operation);
            if self.life.is_calm() {
                return self.bank.lock().unwrap().act(&message);
            }
            let limit = {
                let mut bank = self.bank.lock().unwrap();
                if let Message::Charge { reference, .. } = &message {
                    *bank.sent.entry(reference.clone()).or_default() += 1;
                }
                bank.lateness_ms
            };
            let delivered = self.deliver(&operation, limit);
            if self.dice.chance(40) {
                drop(self.deliver(&operation, limit));
            }
            let outcome = match delivered.await {
                Ok(outcome) => outcome,
                // It never arrived.
                Err(_) => std::future::pending().await,
            };
            match self.dice.below(100) {
                0..=4 => std::future::pending().await,
                5..=8 => return Outcome::Unknown { why: "cut in half" },
                9..=12 => self.clock.sleep(self.dice.below(2 * DEADLINE_MS)).await,
                _ => self.clock.sleep(self.dice.below(40)).await,
            }
            self.life.step().await;
            outcome
        })
    }
}

/// Every card was made anew.
impl Updater for Line {
    fn deadline_ms(&self) -> u64 {
        DEADLINE_MS
    }

    fn newer<'a>(&'a self, card: &'a Card) -> Wait<'a, Result<Option<Expiry>, Error>> {
        Box::pin(async move {
            self.life.step().await;
            if !self.life.is_calm() {
                match self.dice.below(100) {
                    0..=4 => std::future::pending().await,
                    5..=8 => return Err(Error::internal("the updater is away")),
                    9..=20 => return Ok(None),
                    _ => self.clock.sleep(self.dice.below(40)).await,
                }
            }
            Ok(Some(Expiry { year: card.expiry.year + 5, ..card.expiry }))
        })
    }
}

impl Line {
    /// What an answer would be called that comes too late; half of them are lost.
    fn late_of(&self, operation: &Operation<'_>) -> Option<(mpsc::Sender<News>, Late)> {
        let news = self.news.clone().filter(|_| self.dice.chance(500))?;
        let (named, reversal) = match operation {
            Operation::Authorize(ask) | Operation::Purchase(ask) | Operation::Verify(ask) => (ask.named, false),
            Operation::Capture(one) | Operation::Refund(one) | Operation::Void(one) | Operation::Release(one) => {
                (one.named, false)
            }
            Operation::Reverse(one) => (one.named, true),
            Operation::Inquire { .. } => return None,
        };
        let trace = named?.trace.clone();
        let outcome = Outcome::Unknown { why: "not answered yet" };
        Some((news, Late { stan: trace.stan, rrn: trace.rrn, reversal: Some(reversal), outcome }))
    }

    /// On its way, whatever becomes of the sender.
    fn deliver(&self, operation: &Operation<'_>, limit: u64) -> tokio::sync::oneshot::Receiver<Outcome> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let message = Message::of(operation);
        let way_ms = match self.dice.below(100) {
            0..=4 => return receiver,
            5..=12 => self.dice.below(limit),
            13..=30 => self.dice.below(500),
            _ => self.dice.below(20),
        };
        let (bank, clock, late) = (self.bank.clone(), self.clock.clone(), self.late_of(operation));
        bank.lock().unwrap().on_the_way += 1;
        tokio::spawn(async move {
            clock.sleep(way_ms).await;
            let mut bank = bank.lock().unwrap();
            bank.on_the_way -= 1;
            // Whoever asked has given up, or died.
            if let (Err(outcome), Some((news, late))) = (sender.send(bank.act(&message)), late) {
                bank.names.told_late(late.stan, matches!(outcome, Outcome::Approved(_)));
                news.try_send(News::Late(Late { outcome, ..late })).ok();
            }
        });
        receiver
    }
}
