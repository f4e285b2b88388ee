//! May it go on? Rules of the entity and its merchants, asked after the idempotency look-up and before the intent. What a rule
//! looks at stands in memory; what it counts stands in the database and is taken by a guard in the intent's own write, so
//! that races have exact winners and all processes share one count.

mod again;
pub mod asked;
mod book;
pub mod change;
mod lists;
mod rule;
mod volumes;
mod windows;

#[cfg(test)]
mod tests;

pub use again::{Basis, Stored};
pub use book::{all_stored, owner, stored, stored_with_lists};
pub use lists::List;
pub use rule::{Effect, Per, Rule, Spec, Testing, Unit, Velocity};
pub use volumes::Taken;

use crate::address;
use crate::card::Pan;
use crate::clock::Millis;
use crate::codes::Code;
use crate::db::{Db, Stmt};
use crate::directory::Caller;
use crate::error::Error;
use crate::money::Money;
use book::{Book, Rules};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use windows::Owner;

/// The rules in force; a clone sees the same.
#[derive(Clone, Default)]
pub struct Risk(Arc<RwLock<Arc<Book>>>);

/// What a charge is judged by.
pub struct Charge<'a> {
    pub caller: Caller,
    pub merchant_id: &'a str,
    /// Zero: a verification, which has no amount to judge.
    pub money: Money,
    /// `None`: an account in a wallet, which no rule about cards concerns.
    pub card: Option<Carded<'a>>,
    /// The customer's public address; see [`public_ip`].
    pub ip: Option<IpAddr>,
    /// ISO 3166-1 alpha-2, of the card's range; unknown ones fire no rule.
    pub country: Option<&'a str>,
    pub issuer_country: Option<&'a str>,
    /// The database's time: all processes count by one clock.
    pub now: Millis,
}

/// A card, for the rules about cards.
#[derive(Clone, Copy)]
pub struct Carded<'a> {
    pub pan: &'a Pan,
    /// As the vault knows it: 32 hexadecimal digits.
    pub fingerprint: &'a str,
}

/// One rule that fired, as the transaction's row keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    pub rule: String,
    /// `deny`, `shadow` or `score`.
    pub effect: String,
    /// What the rule refuses with, or would.
    pub code: String,
}

/// What a transaction keeps of its judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// 0 to 100; `None` where the entity has no rule that scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fired: Vec<Fired>,
    /// What a refund has taken of its merchant's volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Taken>,
    /// The windows that a charge stands in. In memory alone: a row keeps no fingerprint, and only who sends learns that nothing
    /// was sent.
    #[serde(skip)]
    windows: Vec<windows::Key>,
}

impl Note {
    fn fire(&mut self, rule: &Rule) {
        let code = rule.code().map_or("", Code::name).to_owned();
        self.fired.push(Fired { rule: rule.id.clone(), effect: rule.effect.name().to_owned(), code });
        if let Some(score) = &mut self.score {
            *score = (*score + rule.score).min(100);
        }
    }

    /// `None` when there is nothing to keep.
    pub fn kept(&self) -> Option<Note> {
        (*self != Note::default()).then(|| self.clone())
    }

    /// Part of the write that ends a refund without money: what it took of its volumes is free again.
    pub fn give_back(&self, money: Money) -> Vec<Stmt> {
        self.volumes.iter().map(|taken| volumes::moved(taken, -money.minor)).collect()
    }

    /// Part of the write that ends a charge that was never sent: it does not count.
    pub fn uncount(&self) -> Vec<Stmt> {
        self.windows.iter().map(windows::uncounted).collect()
    }

    /// Part of the write that takes such an end back.
    pub fn take_again(&self, money: Money) -> Vec<Stmt> {
        self.volumes.iter().map(|taken| volumes::moved(taken, money.minor)).collect()
    }
}

/// A part of the intent's write that counts for a rule.
struct Count {
    rule: Arc<Rule>,
    write: Stmt,
}

#[derive(Default)]
pub struct Verdict {
    /// The refusal, when a rule denies.
    pub code: Option<Code>,
    pub note: Note,
    counts: Vec<Count>,
}

impl Verdict {
    /// Part of the intent's write.
    pub fn writes(&self) -> impl Iterator<Item = Stmt> + '_ {
        self.counts.iter().map(|count| count.write.clone())
    }

    /// The verdict once the guard of one of [`Verdict::writes`], by its place, did not hold. `None`: no guard of ours.
    pub fn refused_at(self, at: usize) -> Option<(Code, Note)> {
        let rule = &self.counts.get(at)?.rule;
        let mut note = Note { volumes: Vec::new(), windows: Vec::new(), ..self.note };
        note.fire(rule);
        Some((rule.code()?, note))
    }
}

/// A customer's address as rules see it: only a public one. Real shops send 127.0.0.1 for every buyer (contract 2).
pub fn public_ip(customer_ip: Option<&str>) -> Option<IpAddr> {
    let ip = customer_ip?.parse::<IpAddr>().ok()?.to_canonical();
    address::is_public(ip).then_some(ip)
}

impl Risk {
    pub async fn load(db: &Db) -> Result<Risk, Error> {
        let risk = Risk::default();
        risk.read(db).await?;
        Ok(risk)
    }

    /// Reads the rules again if the version says that something changed.
    pub async fn refresh(&self, db: &Db) -> Result<(), Error> {
        if book::version(db).await? == self.book().version { Ok(()) } else { self.read(db).await }
    }

    /// After a change that stands: what keeps this process from reading it now does not keep it from reading it within a second.
    pub async fn follow(&self, db: &Db) {
        if let Err(error) = self.refresh(db).await {
            tracing::warn!(cause = error.cause(), "the risk rules are changed, but could not be read again yet");
        }
    }

    async fn read(&self, db: &Db) -> Result<(), Error> {
        let book = Book::read(db, &self.book()).await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
        Ok(())
    }

    fn book(&self) -> Arc<Book> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rules(&self, caller: Caller) -> Option<Arc<Rules>> {
        self.book().rules(caller).cloned()
    }

    /// Whether anything would be asked of a charge: then its fingerprint and its range's countries are needed.
    pub fn judges(&self, caller: Caller) -> bool {
        self.rules(caller).is_some()
    }

    /// All rules, in the order of judgement. Reads the database only for velocity rules, one row each.
    pub async fn assess(&self, db: &Db, charge: &Charge<'_>) -> Result<Verdict, Error> {
        let Some(rules) = self.rules(charge.caller) else { return Ok(Verdict::default()) };
        let mut verdict = Verdict::default();
        verdict.note.score = rules.scored.then_some(0);
        for rule in rules.all.iter().filter(|rule| rule.concerns(charge.merchant_id)) {
            if let Some((velocity, subject)) = velocity(rule, charge) {
                // A charge that is refused already is not counted.
                if verdict.code.is_none() {
                    count(db, &mut verdict, rule, velocity, &subject, charge.now).await?;
                }
            } else if fires(rule, charge) && !is_allowed(rules.all.iter().map(Arc::as_ref), rule, charge.ip) {
                match rule.effect {
                    Effect::Deny if verdict.code.is_some() => continue,
                    Effect::Deny => verdict.code = rule.code(),
                    Effect::Shadow | Effect::Score => {}
                }
                verdict.note.fire(rule);
            }
        }
        Ok(verdict)
    }

    /// A refund against its merchant's volumes.
    pub async fn assess_refund(
        &self,
        db: &Db,
        caller: Caller,
        merchant_id: &str,
        money: Money,
        now: Millis,
    ) -> Result<Verdict, Error> {
        let Some(rules) = self.rules(caller) else { return Ok(Verdict::default()) };
        let mut verdict = Verdict::default();
        for rule in rules.all.iter().filter(|rule| rule.concerns(merchant_id)) {
            let Spec::RefundVolume(volume) = &rule.spec else { continue };
            if volume.currency != money.currency.code() {
                continue;
            }
            let period = volume.period(now);
            let full = volumes::used_minor(db, rule, &period).await? > volume.amount_minor - money.minor;
            if full {
                verdict.note.fire(rule);
            }
            let write = match rule.effect {
                Effect::Deny if full => {
                    verdict.code = rule.code();
                    verdict.note.volumes.clear();
                    return Ok(verdict);
                }
                Effect::Deny => volumes::guarded(rule, volume, money.minor, now),
                Effect::Shadow | Effect::Score => volumes::counted(rule, volume, money.minor, now),
            };
            verdict.note.volumes.push(Taken { rule_number: rule.number, period });
            verdict.counts.push(Count { rule: rule.clone(), write });
        }
        Ok(verdict)
    }

    fn testing(&self, caller: Caller) -> Testing {
        self.rules(caller).map_or_else(Testing::default, |rules| rules.testing.clone())
    }

    /// Card testing: many declines from one address, or on one BIN, slow that source down. Seconds until it may try again.
    pub async fn slowed(
        &self,
        db: &Db,
        caller: Caller,
        pan: &Pan,
        ip: Option<IpAddr>,
        now: Millis,
    ) -> Result<Option<u64>, Error> {
        let testing = self.testing(caller);
        if testing.off {
            return Ok(None);
        }
        let bin = windows::decline_key(Owner::DeclinesOfBin, caller, pan.first8().as_bytes());
        let ip = ip.map(|ip| windows::decline_key(Owner::DeclinesOfIp, caller, &windows::ip_subject(ip)));
        let slowed = windows::slowed(db, &testing, ip.as_ref(), &bin, now).await?;
        Ok(slowed.map(|(source, seconds)| {
            metrics::counter!("fuda_slowed_down_total", "source" => source).increment(1);
            tracing::info!(entity = %caller.entity, live = caller.live, source, seconds, "card testing: a charge is slowed down");
            seconds
        }))
    }

    /// Part of a decline's write: it counts against its source.
    pub fn declined(&self, caller: Caller, pan: &Pan, ip: Option<IpAddr>, now: Millis) -> Vec<Stmt> {
        let testing = self.testing(caller);
        if testing.off {
            return Vec::new();
        }
        let end = now + testing.minutes * 60_000;
        let bin = windows::decline_key(Owner::DeclinesOfBin, caller, pan.first8().as_bytes());
        let mut writes = vec![windows::counted(bin, testing.bin_declines, now, end)];
        if let Some(ip) = ip {
            let key = windows::decline_key(Owner::DeclinesOfIp, caller, &windows::ip_subject(ip));
            writes.push(windows::counted(key, testing.ip_declines, now, end));
        }
        writes
    }
}

/// A velocity rule and what it counts of this charge.
fn velocity<'r>(rule: &'r Rule, charge: &Charge<'_>) -> Option<(&'r Velocity, Vec<u8>)> {
    match &rule.spec {
        Spec::CardVelocity(velocity) => {
            let card = lists::fingerprint_of(charge.card?.fingerprint);
            Some((velocity, card.unwrap_or_default().to_vec()))
        }
        Spec::IpVelocity(velocity) => charge.ip.map(|ip| (velocity, windows::ip_subject(ip))),
        _ => None,
    }
}

async fn count(
    db: &Db,
    verdict: &mut Verdict,
    rule: &Arc<Rule>,
    velocity: &Velocity,
    subject: &[u8],
    now: Millis,
) -> Result<(), Error> {
    let key = windows::rule_key(rule, subject);
    let full = windows::is_full(db, &key, velocity, now).await?;
    if full {
        verdict.note.fire(rule);
    }
    verdict.note.windows.push(key.clone());
    let write = match rule.effect {
        // Known without a write: the guard is for races alone, since one that fails costs others their common write.
        Effect::Deny if full => {
            verdict.code = rule.code();
            verdict.note.windows.clear();
            return Ok(());
        }
        Effect::Deny => windows::guarded(key, velocity, now),
        Effect::Shadow | Effect::Score => windows::counted(key, velocity.limit, now, velocity.expires_at(now)),
    };
    verdict.counts.push(Count { rule: rule.clone(), write });
    Ok(())
}

/// Rules that only look. One that cannot know (no public address, no known country, another currency) does not fire.
fn fires(rule: &Rule, charge: &Charge<'_>) -> bool {
    let among =
        |countries: &[String], country: Option<&str>| country.is_some_and(|one| countries.iter().any(|c| c == one));
    match &rule.spec {
        Spec::CardCountry { countries } => among(countries, charge.country),
        Spec::IssuingCountry { countries } => among(countries, charge.issuer_country),
        Spec::PanBlock => {
            let card = charge.card.and_then(|card| lists::fingerprint_of(card.fingerprint));
            card.is_some_and(|card| rule.list.has_card(&card))
        }
        _ => looked_at(rule, charge.money, charge.ip, charge.card.map_or("", |card| card.pan.first8())),
    }
}

/// Whether an `ip_allow` rule has a companion that allows the address: two lists of a merchant allow what either holds.
fn is_allowed<'r>(mut rules: impl Iterator<Item = &'r Rule>, rule: &Rule, ip: Option<IpAddr>) -> bool {
    let companion =
        |one: &Rule| one.caller == rule.caller && one.merchant == rule.merchant && one.effect == rule.effect;
    let allows = |one: &Rule, ip| matches!(one.spec, Spec::IpAllow) && companion(one) && one.list.has_ip(ip);
    matches!(rule.spec, Spec::IpAllow) && ip.is_some_and(|ip| rules.any(|one| allows(one, ip)))
}

/// What can be asked of a stored row as well. `digits`: of the card, as many as are known.
fn looked_at(rule: &Rule, money: Money, ip: Option<IpAddr>, digits: &str) -> bool {
    let of_amount = |currency: &str| money.minor > 0 && money.currency.code() == currency;
    match &rule.spec {
        Spec::IpBlock => ip.is_some_and(|ip| rule.list.has_ip(ip)),
        Spec::IpAllow => ip.is_some_and(|ip| !rule.list.has_ip(ip)),
        Spec::BinBlock => rule.list.has_bin(digits),
        Spec::MaxAmount { currency, amount_minor } => of_amount(currency) && money.minor > *amount_minor,
        Spec::MinAmount { currency, amount_minor } => of_amount(currency) && money.minor < *amount_minor,
        _ => false,
    }
}
