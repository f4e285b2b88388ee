//! `fuda reconcile`: the gateway's books against the acquirer's own record, transaction by transaction. The sandbox bank
//! gives its record itself; any other acquirer's comes as a CSV file.

mod record;

use super::store::Store;
use crate::acceptor::SANDBOX;
use crate::acquirer::sandbox::{RecordKind, Sandbox};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::error::Error;
use crate::id::TransactionId;
use crate::ledger;
use crate::pay::transaction::{Kind, State, Transaction};
use crate::pay::{attempts, store};
use clap::Args;
pub use record::Record;
use serde::Serialize;
use std::path::PathBuf;

/// Transactions compared at once.
const PAGE: i64 = 500;

/// What does not match is looked at again after this, milliseconds, so many times: on a gateway that serves, the other
/// side may just not be written yet.
const AGAIN_MS: u64 = 1_000;
const LOOKS: usize = 5;

/// The most differences that are looked at again; a wrong file needs no more to be known as one.
const DOUBTED: usize = 10_000;

/// The most differences that are told; a file of the wrong month would have millions.
const TOLD: usize = 1_000;

#[derive(Args)]
#[command(
    after_help = "The CSV file has a header and these columns: reference (our transaction id), kind (AUTHORIZATION, \
    PURCHASE, VERIFICATION, CAPTURE, REFUND or VOID), amount (major units), currency. It lists what stands: no declines, \
    nothing that was reversed. With --acquirer a reference may also be the acquirer's own retrieval reference number \
    (ISO 8583, field 37).\n\nExamples:\n  fuda reconcile --json\n  \
    fuda reconcile --acquirer acme --sandbox-bank host.db\n  \
    fuda reconcile --from 2026-11-01 --to 2026-12-01 --live --file november.csv"
)]
pub struct ReconcileArgs {
    /// Only what began at or after this: 2026-11-01 or 2026-11-01T09:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only what began before this
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The acquirer's record as a CSV file instead of the sandbox bank's
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only what went to this acquirer [default: sandbox; with --file all]
    #[arg(long, value_name = "NAME")]
    acquirer: Option<String>,
    /// Compare live transactions, not test ones; needs --file
    #[arg(long, requires = "file")]
    live: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Which transactions are compared.
pub struct Span {
    /// Epoch milliseconds, `from` included and `to` not.
    pub from: i64,
    pub to: i64,
    pub live: bool,
    /// `None`: wherever they went.
    pub acquirer: Option<String>,
}

impl Default for Span {
    fn default() -> Span {
        Span { from: i64::MIN, to: i64::MAX, live: false, acquirer: Some(SANDBOX.to_owned()) }
    }
}

#[derive(Default, Serialize)]
pub struct Compared {
    pub matched: i64,
    /// The acquirer has it, we do not.
    pub missing_here: Vec<Difference>,
    /// We have it, the acquirer does not.
    pub missing_there: Vec<Difference>,
    pub different: Vec<Difference>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<Side>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub kind: &'static str,
    pub amount_minor: i64,
    pub currency: String,
    /// What the ledger has booked, where that is another amount: then the two books of ours differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_minor: Option<i64>,
}

impl Compared {
    fn clean(&self) -> bool {
        self.missing_here.is_empty() && self.missing_there.is_empty() && self.different.is_empty()
    }

    /// The first difference in words.
    pub fn first_fault(&self) -> Option<String> {
        let say = |what: &str, one: &Difference| format!("transaction {} {what} the acquirer's record", one.id);
        let first = |list: &[Difference], what: &str| list.first().map(|one| say(what, one));
        first(&self.missing_here, "is missing here and stands in")
            .or_else(|| first(&self.missing_there, "is missing in"))
            .or_else(|| first(&self.different, "differs from"))
    }
}

pub async fn reconcile(config: &Config, args: ReconcileArgs) -> Result<(), Error> {
    let acquirer = args.acquirer.clone().or_else(|| args.file.is_none().then(|| SANDBOX.to_owned()));
    let span = Span {
        acquirer: acquirer.clone(),
        from: args.from.as_deref().map_or(Ok(i64::MIN), instant)?,
        to: args.to.as_deref().map_or(Ok(i64::MAX), instant)?,
        live: args.live,
    };
    let store = Store::open_existing(config).await?;
    let record = match &args.file {
        Some(path) => record::of_file(&store.db, args.acquirer.as_deref(), path).await?,
        None if config.sandbox_bank.exists() => {
            let bank = Sandbox::open(&config.sandbox_bank, &store.clock, &store.random).await?;
            match args.acquirer.as_deref().filter(|name| *name != SANDBOX) {
                Some(name) => record::of_host(&store.db, name, &bank, &span).await?,
                None => Record::Bank(bank),
            }
        }
        None => {
            let path = config.sandbox_bank.display();
            return Err(Error::internal(format!("there is no sandbox bank at {path}: --sandbox-bank or --file")));
        }
    };
    let compared = compare(&store.db, &record, &span).await?;
    let unknown = match args.acquirer.as_deref().filter(|name| *name != SANDBOX && compared.matched == 0) {
        Some(name) if !attempts::ever(&store.db, name).await? => {
            format!(": nothing here ever went to an acquirer {name}")
        }
        _ => String::new(),
    };
    store.db.close().await;
    if args.json {
        println!("{}", serde_json::to_string(&compared).map_err(Error::internal)?);
    } else {
        print(&compared);
    }
    if compared.clean() { Ok(()) } else { Err(Error::internal(format!("the books differ{unknown}"))) }
}

fn instant(text: &str) -> Result<i64, Error> {
    let midnight = text.parse::<jiff::civil::Date>().ok();
    let midnight = midnight.and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok());
    let at = text.parse::<jiff::Timestamp>().ok().or(midnight);
    at.map(jiff::Timestamp::as_millisecond)
        .ok_or_else(|| Error::internal("a time is written 2026-11-01 or 2026-11-01T09:00:00Z"))
}

fn print(compared: &Compared) {
    println!("{} transactions match.", compared.matched);
    let lists = [
        ("missing here, though the acquirer has it", &compared.missing_here),
        ("missing at the acquirer", &compared.missing_there),
        ("different", &compared.different),
    ];
    for (what, list) in lists {
        for one in list {
            let side = |side: &Option<Side>| match side {
                Some(side) => format!("{} {} {} (minor units)", side.kind, side.amount_minor, side.currency),
                None => "-".to_owned(),
            };
            println!("{}  {what}: here {}, there {}", one.id, side(&one.here), side(&one.there));
        }
    }
}

/// Ours first, then theirs: every approval of ours was theirs before, so only what comes between is looked at again.
pub async fn compare(db: &Db, record: &Record, span: &Span) -> Result<Compared, Error> {
    let mut compared = Compared::default();
    let mut doubtful = Vec::new();
    let mut after = 0;
    loop {
        let page = store::page(db, after, span.from, span.to, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.reference;
        for one in page.iter().filter(|one| one.caller.live == span.live && one.state.succeeded()) {
            let there = record.find(&one.id.to_string()).await?;
            if there == here(db, one, span).await? {
                compared.matched += i64::from(there.is_some());
            } else if doubtful.len() < DOUBTED {
                doubtful.push(one.id.to_string());
            }
        }
    }
    doubtful.extend(only_there(db, record, span).await?);
    settle_doubts(db, record, span, doubtful, &mut compared).await?;
    Ok(compared)
}

/// The acquirer's operations that we have no approval for.
async fn only_there(db: &Db, record: &Record, span: &Span) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    match record {
        Record::File(operations) => {
            for reference in operations.keys() {
                if found.len() < DOUBTED && !stands_here(db, reference, span).await? {
                    found.push(reference.clone());
                }
            }
            found.sort();
        }
        Record::Bank(bank) => {
            let mut after = 0;
            loop {
                let (page, last) = bank.records(after, span.from, span.to).await?;
                let Some(last) = last else { break };
                after = last;
                for operation in page {
                    if found.len() < DOUBTED && !stands_here(db, &operation.reference, span).await? {
                        found.push(operation.reference);
                    }
                }
            }
        }
    }
    Ok(found)
}

async fn stands_here(db: &Db, reference: &str, span: &Span) -> Result<bool, Error> {
    let Some(one) = find_here(db, reference, span).await? else { return Ok(false) };
    Ok(here(db, &one, span).await?.is_some())
}

/// What this acquirer should have of it: nothing of what did not succeed, and nothing of what went to another.
async fn here(db: &Db, one: &Transaction, span: &Span) -> Result<Option<Side>, Error> {
    if !one.state.succeeded() {
        return Ok(None);
    }
    if let Some(name) = &span.acquirer
        && attempts::asked(db, one.id).await?.is_none_or(|(acquirer, _)| acquirer != *name)
    {
        return Ok(None);
    }
    side_of(db, one).await
}

async fn find_here(db: &Db, reference: &str, span: &Span) -> Result<Option<Transaction>, Error> {
    let Some(id) = TransactionId::parse(reference) else { return Ok(None) };
    Ok(store::reread(db, id).await?.filter(|one| one.caller.live == span.live))
}

/// Looks again at what did not match, until it does, or is known to be without a result, or time is up.
async fn settle_doubts(
    db: &Db,
    record: &Record,
    span: &Span,
    mut doubtful: Vec<String>,
    compared: &mut Compared,
) -> Result<(), Error> {
    let clock = Clock::system();
    for look in 1..=LOOKS {
        let mut left = Vec::new();
        for reference in doubtful {
            let (one, there) = (find_here(db, &reference, span).await?, record.find(&reference).await?);
            // Without a known result neither side can be held to it; recovery will say.
            if one.as_ref().is_some_and(|one| matches!(one.state, State::Pending | State::Unknown)) {
                continue;
            }
            let here = match &one {
                Some(one) => here(db, one, span).await?,
                None => None,
            };
            match (&here, &there) {
                _ if here == there => compared.matched += i64::from(here.is_some()),
                _ if look < LOOKS => left.push(reference),
                _ => compared.note(Difference { id: reference, here, there }),
            }
        }
        doubtful = left;
        if doubtful.is_empty() {
            break;
        }
        clock.sleep(AGAIN_MS).await;
    }
    Ok(())
}

impl Compared {
    fn note(&mut self, one: Difference) {
        let list = match (&one.here, &one.there) {
            (None, _) => &mut self.missing_here,
            (_, None) => &mut self.missing_there,
            _ => &mut self.different,
        };
        if list.len() < TOLD {
            list.push(one);
        }
    }
}

/// What we say of one transaction: its row, and what the ledger has booked for it, which must be the same money. Nothing of a
/// subscription's cycle that costs nothing: the bank was not asked.
async fn side_of(db: &Db, one: &Transaction) -> Result<Option<Side>, Error> {
    if one.kind == Kind::Capture && one.is_charge() && one.money.minor == 0 {
        return Ok(None);
    }
    let kind = match (one.kind, one.is_charge()) {
        (Kind::PreAuth, _) if one.money.minor == 0 => RecordKind::Verification,
        (Kind::PreAuth, _) => RecordKind::Authorization,
        (Kind::Capture, true) => RecordKind::Purchase,
        (Kind::Capture, false) => RecordKind::Capture,
        (Kind::Refund, _) => RecordKind::Refund,
        (Kind::Void, _) => RecordKind::Void,
    };
    let entries = ledger::of_transaction(db, one.id).await?;
    // The last transfer is the transaction's own; a capture's first one empties its hold.
    let booked = entries.last().map_or(0, |entry| entry.amount_minor);
    let currency = entries.last().map_or(one.money.currency.code(), |entry| entry.currency.as_str());
    let ledger_minor = Some(booked).filter(|booked| *booked != one.money.minor);
    Ok(Some(Side { kind: kind.name(), amount_minor: one.money.minor, currency: currency.to_owned(), ledger_minor }))
}
