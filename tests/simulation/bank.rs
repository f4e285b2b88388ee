//! The bank of a simulation. It is idempotent by reference; what else it can do differs from seed to seed.

use crate::names::Names;
use crate::weather::Dice;
use fuda::acquirer::{Abilities, Approval, Follow, Operation, Outcome, Settling};
use std::collections::BTreeMap;

pub const DEADLINE_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hold,
    Purchase,
    Verification,
    Capture,
    Refund,
    Void,
    Release,
    /// A reversal that came before its charge, at a bank that remembers such.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Approved,
    Declined,
    Reversed,
    Voided,
}

#[derive(Clone, Debug)]
pub struct Op {
    pub kind: Kind,
    pub state: State,
    pub amount: i64,
    pub captured: i64,
    pub released: i64,
    pub refunded: i64,
    /// Why it was declined.
    pub code: i64,
}

/// Soft ones, which are tried again, and hard ones.
const DECLINES: [i64; 5] = [5, 51, 51, 41, 43];

impl Op {
    pub fn stands(&self) -> bool {
        matches!(self.state, State::Approved | State::Voided) && self.kind != Kind::Release
    }
}

/// A message on the wire: it does not need its sender any more.
#[derive(Clone, Debug)]
pub enum Message {
    Charge {
        kind: Kind,
        reference: String,
        amount: i64,
    },
    Follow {
        kind: Kind,
        reference: String,
        original: String,
        amount: i64,
    },
    /// The trace number is the reversal's own.
    Reverse {
        original: String,
        stan: Option<i64>,
    },
    Inquire {
        reference: String,
    },
}

impl Message {
    pub fn of(operation: &Operation<'_>) -> Message {
        let charge = |kind, ask: &fuda::acquirer::Ask<'_>| Message::Charge {
            kind,
            reference: ask.reference.to_owned(),
            amount: ask.money.minor,
        };
        let follow = |kind, follow: &Follow<'_>| Message::Follow {
            kind,
            reference: follow.reference.to_owned(),
            original: follow.original.reference.to_owned(),
            amount: follow.money.minor,
        };
        match operation {
            Operation::Authorize(ask) => charge(Kind::Hold, ask),
            Operation::Purchase(ask) => charge(Kind::Purchase, ask),
            Operation::Verify(ask) => charge(Kind::Verification, ask),
            Operation::Capture(one) => follow(Kind::Capture, one),
            Operation::Refund(one) => follow(Kind::Refund, one),
            Operation::Void(one) => follow(Kind::Void, one),
            Operation::Release(one) => follow(Kind::Release, one),
            Operation::Reverse(one) => {
                let stan = one.named.map(|named| named.trace.stan);
                Message::Reverse { original: one.original.reference.to_owned(), stan }
            }
            Operation::Inquire { reference } => Message::Inquire { reference: (*reference).to_owned() },
        }
    }
}

pub struct Bank {
    pub ops: BTreeMap<String, Op>,
    /// What was said to reversals, by their trace numbers.
    reversals: BTreeMap<i64, Outcome>,
    /// What no gateway should send, in words.
    pub odd: Vec<String>,
    /// How often a charge was sent, by its reference; what the line repeats by itself is not counted.
    pub sent: BTreeMap<String, u32>,
    /// Messages that have not arrived yet.
    pub on_the_way: usize,
    /// Whether a reversal of what has not come yet is remembered. A bank that forgets acts on the late message, but never
    /// later than `lateness_ms`.
    remembers: bool,
    pub lateness_ms: u64,
    settling: Settling,
    inquire: bool,
    releases: bool,
    pub declined_of_100: u64,
    grumbles_of_100: u64,
    forgets_reversals: bool,
    pub names: Names,
}

impl Bank {
    pub fn new(dice: &Dice) -> Bank {
        let remembers = dice.chance(500);
        let settling = match dice.below(20) {
            0..=10 => Settling::Repeat,
            11..=17 => Settling::Inquire,
            _ => Settling::Operator,
        };
        Bank {
            ops: BTreeMap::new(),
            reversals: BTreeMap::new(),
            odd: Vec::new(),
            sent: BTreeMap::new(),
            on_the_way: 0,
            remembers,
            lateness_ms: 3_000 + dice.below(20_000),
            settling,
            inquire: dice.chance(700),
            releases: dice.chance(300),
            declined_of_100: dice.below(25),
            grumbles_of_100: dice.below(30),
            forgets_reversals: dice.chance(500),
            names: Names::default(),
        }
    }

    pub fn abilities(&self) -> Abilities {
        let lateness = if self.remembers { 0 } else { self.lateness_ms };
        // A host that cannot be repeated to may act on a late message too.
        let lateness = if self.settling == Settling::Repeat { lateness } else { self.lateness_ms };
        Abilities {
            charge_ms: DEADLINE_MS,
            follow_ms: DEADLINE_MS,
            reversal_ms: DEADLINE_MS,
            greatest_lateness_ms: i64::try_from(lateness).unwrap(),
            remembers_ms: i64::MAX,
            capture: self.settling,
            refund: self.settling,
            void: self.settling,
            inquire: self.inquire || self.settling == Settling::Inquire,
            releases_remainder: self.releases,
            names_cards: false,
            accounts: true,
        }
    }

    pub fn releases(&self) -> bool {
        self.releases
    }

    pub fn act(&mut self, message: &Message) -> Outcome {
        match message {
            Message::Charge { kind, reference, amount } => self.charge(*kind, reference, *amount),
            Message::Follow { kind, reference, original, amount } => self.follow(*kind, reference, original, *amount),
            Message::Reverse { original, stan: None } => self.reverse(original),
            // A host that goes by trace numbers says its first answer to a repeat, whatever has happened since.
            Message::Reverse { original, stan: Some(stan) } => match self.reversals.get(stan) {
                Some(said) => said.clone(),
                None => {
                    let said = self.reverse_by_trace(original, *stan);
                    self.names.reversals_answered.insert(*stan);
                    self.reversals.insert(*stan, said.clone());
                    said
                }
            },
            Message::Inquire { reference } => match self.ops.get(reference) {
                Some(op) => answer(op),
                None => Outcome::Declined { response_code: 25 },
            },
        }
    }

    fn charge(&mut self, kind: Kind, reference: &str, amount: i64) -> Outcome {
        if let Some(op) = self.ops.get(reference) {
            return answer(op);
        }
        // The same for a repeat: by the reference's own letters.
        let mark = reference.bytes().map(u64::from).sum::<u64>() % 100;
        let state = if mark < self.declined_of_100 { State::Declined } else { State::Approved };
        let said = self.enter(kind, state, reference, amount);
        match (self.ops.get_mut(reference), said) {
            (Some(op), Outcome::Declined { .. }) => {
                op.code = DECLINES[usize::try_from(mark).unwrap() % DECLINES.len()];
                answer(op)
            }
            (_, said) => said,
        }
    }

    fn follow(&mut self, kind: Kind, reference: &str, original: &str, amount: i64) -> Outcome {
        if let Some(op) = self.ops.get(reference) {
            return answer(op);
        }
        let mark = reference.bytes().map(u64::from).sum::<u64>() % 100;
        let willing = kind == Kind::Release || mark >= self.declined_of_100 / 2;
        let fits = willing && self.fits(kind, original, amount);
        let state = if fits { State::Approved } else { State::Declined };
        self.enter(kind, state, reference, amount)
    }

    fn fits(&mut self, kind: Kind, original: &str, amount: i64) -> bool {
        let Some(op) = self.ops.get_mut(original).filter(|op| op.state == State::Approved) else { return false };
        let hold = op.kind == Kind::Hold;
        match kind {
            Kind::Capture if hold && op.captured == 0 && amount <= op.amount => op.captured = amount,
            Kind::Void if hold && op.captured == 0 && amount == op.amount => op.state = State::Voided,
            Kind::Release if hold && op.captured > 0 && op.released == 0 && op.captured + amount <= op.amount => {
                op.released = amount;
            }
            Kind::Refund if matches!(op.kind, Kind::Purchase | Kind::Capture) && op.refunded + amount <= op.amount => {
                op.refunded += amount;
            }
            _ => return false,
        }
        true
    }

    /// As hosts are: some do not know any more what they have reversed, and some are out of order, or say that they had this before.
    fn reverse_by_trace(&mut self, original: &str, stan: i64) -> Outcome {
        let mark = u64::try_from(stan).unwrap() % 100;
        if mark * 7 % 100 < self.grumbles_of_100 {
            return Outcome::Declined { response_code: [91, 94][usize::try_from(mark % 2).unwrap()] };
        }
        match self.reverse(original) {
            Outcome::Declined { response_code: 79 } if self.forgets_reversals => {
                Outcome::Declined { response_code: 25 }
            }
            said => said,
        }
    }

    fn reverse(&mut self, original: &str) -> Outcome {
        match self.ops.get_mut(original) {
            Some(op) if op.state == State::Approved => {
                op.state = State::Reversed;
                approved()
            }
            Some(op) if op.state == State::Reversed => Outcome::Declined { response_code: 79 },
            Some(_) => Outcome::Declined { response_code: 25 },
            None => {
                if self.remembers {
                    self.enter(Kind::Nothing, State::Reversed, original, 0);
                }
                Outcome::Declined { response_code: 25 }
            }
        }
    }

    fn enter(&mut self, kind: Kind, state: State, reference: &str, amount: i64) -> Outcome {
        let op = Op { kind, state, amount, captured: 0, released: 0, refunded: 0, code: 5 };
        let said = answer(&op);
        self.ops.insert(reference.to_owned(), op);
        said
    }
}

fn approved() -> Outcome {
    let auth_code = Some("123456".to_owned());
    Outcome::Approved(Approval { response_code: 0, auth_code, network_transaction_id: Some("n".to_owned()) })
}

fn answer(op: &Op) -> Outcome {
    match op.state {
        State::Approved | State::Voided => approved(),
        State::Declined => Outcome::Declined { response_code: op.code },
        State::Reversed => Outcome::Declined { response_code: 79 },
    }
}
