//! What can go wrong between gateway and bank, on request: a merchant's own tests steer the sandbox for one call by the
//! header `Fuda-Sandbox-Fault`, and see what their retry code does.

use super::{
    Abilities, Acquirer, Ask, Authentication, BoxFuture, Follow, Funding, Initiator, Operation, Original, Outcome,
    Reason, StoredCredential, Trace,
};
use crate::card::{Expiry, Pan, Scheme};
use crate::clock::{Clock, Millis};
use crate::error::Error;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How long after the gateway's deadline a late message reaches the bank, milliseconds: the reversal or the repeat is
/// there first.
const LATE_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The bank never hears of it, and nobody answers.
    TimeoutBefore,
    /// The bank acts; its answer is lost.
    TimeoutAfter,
    /// The message arrives twice.
    Duplicate,
    /// The message arrives after the gateway has given up.
    Late,
    /// The connection is refused.
    Refused,
    /// The bank acts; its answer breaks off in the middle.
    Cut,
}

/// The header's words, in the order in which the documents list them.
pub const FAULTS: [(&str, Fault); 6] = [
    ("timeout-before", Fault::TimeoutBefore),
    ("timeout-after", Fault::TimeoutAfter),
    ("duplicate", Fault::Duplicate),
    ("late", Fault::Late),
    ("refused", Fault::Refused),
    ("cut", Fault::Cut),
];

impl Fault {
    /// `None` for a word that is not in [`FAULTS`].
    pub fn parse(word: &str) -> Option<Fault> {
        FAULTS.iter().find(|(name, _)| *name == word).map(|(_, fault)| *fault)
    }
}

/// The sandbox behind a line that fails once. What recovery sends later goes by the good line.
pub struct Faulty {
    pub inner: Arc<dyn Acquirer>,
    pub fault: Fault,
    pub clock: Clock,
}

impl Acquirer for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn live(&self) -> bool {
        self.inner.live()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn trace(&self, now: Millis) -> BoxFuture<'_, Result<Option<Trace>, Error>> {
        self.inner.trace(now)
    }

    fn send<'a>(&'a self, operation: Operation<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.fault {
                Fault::Refused => return Outcome::NotSent { why: "connection refused" },
                Fault::TimeoutBefore => {}
                Fault::TimeoutAfter => drop(self.inner.send(operation).await),
                Fault::Late => self.send_late(operation),
                Fault::Duplicate => {
                    self.inner.send(operation).await;
                    return self.inner.send(operation).await;
                }
                Fault::Cut => {
                    self.inner.send(operation).await;
                    return Outcome::Unknown { why: "the answer broke off in the middle" };
                }
            }
            // The caller's deadline ends this.
            std::future::pending().await
        })
    }
}

impl Faulty {
    fn send_late(&self, operation: Operation<'_>) {
        let Some(kept) = Kept::of(operation) else { return };
        let (inner, clock) = (self.inner.clone(), self.clock.clone());
        tokio::spawn(async move {
            let operation = kept.operation();
            clock.sleep(inner.abilities().deadline_ms(&operation) + LATE_MS).await;
            inner.send(operation).await;
        });
    }
}

/// A message that outlives the call that sent it; without the cvc, which belongs to that call alone.
enum Kept {
    Charge {
        kind: Kind,
        reference: String,
        money: Money,
        means: KeptMeans,
        stored: Option<Stored>,
        proof: Option<Authentication>,
    },
    Follow {
        kind: Kind,
        reference: String,
        original: String,
        money: Money,
    },
}

enum KeptMeans {
    Card(Pan, Expiry),
    Account(Scheme, String),
}

#[derive(Clone, Copy)]
enum Kind {
    Authorize,
    Purchase,
    Verify,
    Capture,
    Refund,
    Void,
}

#[derive(Clone, Copy)]
struct Stored {
    initiator: Initiator,
    reason: Reason,
    from_vault: bool,
    authenticated: bool,
}

impl Kept {
    /// `None` for what only recovery sends.
    fn of(operation: Operation<'_>) -> Option<Kept> {
        let charge = |kind, ask: Ask<'_>| Kept::Charge {
            kind,
            reference: ask.reference.to_owned(),
            money: ask.money,
            means: match ask.funding {
                Funding::Card { pan, expiry, .. } => KeptMeans::Card(pan.clone(), expiry),
                Funding::Account { wallet, agreement } => KeptMeans::Account(wallet, agreement.to_owned()),
            },
            stored: ask.stored_credential.map(|stored| Stored {
                initiator: stored.initiator,
                reason: stored.reason,
                from_vault: stored.from_vault,
                authenticated: stored.authenticated,
            }),
            proof: ask.authentication.cloned(),
        };
        let follow = |kind, follow: Follow<'_>| Kept::Follow {
            kind,
            reference: follow.reference.to_owned(),
            original: follow.original.reference.to_owned(),
            money: follow.money,
        };
        Some(match operation {
            Operation::Authorize(ask) => charge(Kind::Authorize, ask),
            Operation::Purchase(ask) => charge(Kind::Purchase, ask),
            Operation::Verify(ask) => charge(Kind::Verify, ask),
            Operation::Capture(one) => follow(Kind::Capture, one),
            Operation::Refund(one) => follow(Kind::Refund, one),
            Operation::Void(one) => follow(Kind::Void, one),
            Operation::Release(_) | Operation::Reverse(_) | Operation::Inquire { .. } => return None,
        })
    }

    fn operation(&self) -> Operation<'_> {
        match self {
            Kept::Charge { kind, reference, money, means, stored, proof } => {
                let stored_credential = stored.map(|stored| StoredCredential {
                    initiator: stored.initiator,
                    reason: stored.reason,
                    network_transaction_id: None,
                    from_vault: stored.from_vault,
                    authenticated: stored.authenticated,
                });
                let (money, authentication) = (*money, proof.as_ref());
                let funding = match means {
                    KeptMeans::Card(pan, expiry) => Funding::Card { pan, expiry: *expiry, cvc: None },
                    KeptMeans::Account(wallet, agreement) => Funding::Account { wallet: *wallet, agreement },
                };
                let device = None;
                let ask = Ask { reference, named: None, money, funding, device, stored_credential, authentication };
                match kind {
                    Kind::Authorize => Operation::Authorize(ask),
                    Kind::Verify => Operation::Verify(ask),
                    _ => Operation::Purchase(ask),
                }
            }
            Kept::Follow { kind, reference, original, money } => {
                let original = Original::known_as(original, *money);
                let follow = Follow { reference, named: None, original, money: *money };
                match kind {
                    Kind::Capture => Operation::Capture(follow),
                    Kind::Refund => Operation::Refund(follow),
                    _ => Operation::Void(follow),
                }
            }
        }
    }
}
