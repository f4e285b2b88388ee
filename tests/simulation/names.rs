//! Where messages went and by which trace number: what no gateway may mix up. Looked at when a message leaves, before the weather.

use fuda::acquirer::{Funding, Named, Operation, Original, Trace};
use std::collections::{BTreeMap, BTreeSet};

/// The acquirer, and the trace number with the second in which it went, where it has such.
type Name = (&'static str, Option<(i64, i64)>);

fn name(at: &'static str, trace: Option<&Trace>) -> Name {
    (at, trace.map(|trace| (trace.stan, trace.sent_at / 1_000)))
}

#[derive(Default)]
pub struct Names {
    by_reference: BTreeMap<String, Name>,
    by_stan: BTreeMap<i64, String>,
    /// What was paid with a card, not with an account, and what captured it.
    cards: BTreeSet<String>,
    /// Of the messages whose answers were told to a process that no longer waited for them; whether one approved.
    late: BTreeMap<i64, bool>,
    /// Of the reversals on which a host has acted.
    pub reversals_answered: BTreeSet<i64>,
    /// In words.
    pub odd: Vec<String>,
}

impl Names {
    pub fn look(&mut self, at: &'static str, operation: &Operation<'_>) {
        match operation {
            Operation::Authorize(ask) | Operation::Purchase(ask) | Operation::Verify(ask) => {
                self.sent(at, ask.reference, ask.named, false);
                if matches!(ask.funding, Funding::Card { .. }) {
                    self.cards.insert(ask.reference.to_owned());
                }
            }
            Operation::Capture(one) | Operation::Refund(one) | Operation::Void(one) | Operation::Release(one) => {
                let repeats = self.by_reference.contains_key(one.reference);
                self.sent(at, one.reference, one.named, repeats);
                self.about(at, &one.original);
                if self.cards.contains(one.original.reference) {
                    self.cards.insert(one.reference.to_owned());
                }
                if one.named.is_some() && one.original.card.is_none() && self.cards.contains(one.reference) {
                    self.odd.push(format!("{} does not name the card", one.reference));
                }
            }
            Operation::Reverse(one) => {
                let reference = format!("{}-r", one.original.reference);
                // Behind one that was answered goes a new one; until then it is the same.
                let now = name(at, one.named.map(|named| named.trace));
                let answered =
                    |before: &Name| before.1.is_some_and(|(stan, _)| self.reversals_answered.contains(&stan));
                if self.by_reference.get(&reference).is_some_and(|before| *before != now && answered(before)) {
                    self.by_reference.remove(&reference);
                }
                let repeats = self.by_reference.contains_key(&reference);
                self.sent(at, &reference, one.named, repeats);
                self.about(at, &one.original);
            }
            Operation::Inquire { reference } => {
                if self.by_reference.get(*reference).is_some_and(|(before, _)| *before != at) {
                    self.odd.push(format!("{reference} went elsewhere than to {at}"));
                }
            }
        }
    }

    pub fn told_late(&mut self, stan: i64, approved: bool) {
        *self.late.entry(stan).or_default() |= approved;
    }

    pub fn late(&self) -> BTreeSet<i64> {
        self.late.keys().copied().collect()
    }

    /// What was asked for, whose approval was told late.
    pub fn approved_late(&self) -> BTreeSet<String> {
        let approved = self.late.iter().filter(|(_, approved)| **approved);
        approved.filter_map(|(stan, _)| self.by_stan.get(stan)).cloned().collect()
    }

    /// One message has one name for ever, and no two have the same.
    fn sent(&mut self, at: &'static str, reference: &str, named: Option<Named<'_>>, repeats: bool) {
        let name = name(at, named.map(|named| named.trace));
        if repeats && named.is_some_and(|named| named.tries == 0) {
            self.odd.push(format!("a repeat of {reference} does not say that it is one"));
        }
        let before = *self.by_reference.entry(reference.to_owned()).or_insert(name);
        if before != name {
            self.odd.push(format!("{reference} went as {before:?} and as {name:?}"));
        }
        if let Some((stan, _)) = name.1 {
            let whose = self.by_stan.entry(stan).or_insert_with(|| reference.to_owned());
            if whose != reference {
                self.odd.push(format!("trace number {stan} names {whose} and {reference}"));
            }
        }
    }

    /// What is followed or undone goes where it went, by its name there. One that was never sent has no name to compare.
    fn about(&mut self, at: &'static str, original: &Original<'_>) {
        let name = name(at, original.trace);
        if let Some(before) = self.by_reference.get(original.reference).filter(|before| **before != name) {
            self.odd.push(format!("{} went as {before:?} and is called {name:?}", original.reference));
        }
    }
}
