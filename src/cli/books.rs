//! `fuda transactions`, `fuda ledger` and `fuda reconcile`: is the money where the books say? They work while gateways run.

use super::store::Store;
use super::{reconcile, serve::make_app};
use crate::acquirer::sandbox::Sandbox;
use crate::acquirer::{Acquirers, Trace};
use crate::app::App;
use crate::clock::timestamp;
use crate::config::Config;
use crate::error::Error;
use crate::id::TransactionId;
use crate::ledger::{self, chain};
use crate::pay::attempts;
use crate::pay::books::{self, Checked};
use crate::pay::recover::{self, Verdict};
use crate::pay::store;
use crate::pay::transaction::Transaction;
use clap::{Args, Subcommand, ValueEnum};
use std::io::IsTerminal as _;

/// The most transactions that one list shows; the oldest first, so what is settled makes room.
const LISTED: i64 = 1_000;

#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  fuda transactions --unresolved --json\n  \
    fuda transactions resolve 0199…-… --as reversed --reason 'bank statement of 24 November, no such charge'"
)]
pub struct TransactionsArgs {
    /// List what has no known result
    #[arg(long)]
    unresolved: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<TransactionsCommand>,
}

#[derive(Subcommand)]
pub enum TransactionsCommand {
    /// Settle by hand what no bank will answer; kept in the audit log
    Resolve(Resolve),
}

#[derive(Args)]
pub struct Resolve {
    /// As `fuda transactions --unresolved` shows it
    id: String,
    /// What stands at the bank: nothing, or the capture, refund or void
    #[arg(long = "as", value_enum)]
    verdict: AsVerdict,
    /// How you know
    #[arg(long)]
    reason: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum AsVerdict {
    Reversed,
    Approved,
}

#[derive(Subcommand)]
pub enum LedgerCommand {
    /// Recompute everything; exit 1 with the first row that is wrong
    #[command(
        after_help = "Checks, in this order: each transaction's balances and ledger entries, the chain of seals over \
        the entries, and, where there is a sandbox bank, its record."
    )]
    Verify {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// The balance of every account, from its entries
    Balances {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub async fn transactions(config: &Config, args: TransactionsArgs) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    match args.command {
        Some(TransactionsCommand::Resolve(resolve)) => {
            let app = asking_app(config, store).await?;
            let done = settle(&app, resolve).await;
            app.db.close().await;
            done
        }
        None if args.unresolved => {
            let done = list(&store, args.json).await;
            store.db.close().await;
            done
        }
        None => Err(Error::internal("say what to do: --unresolved lists, resolve ID settles; --help tells more")),
    }
}

/// What a command that does a flow's work is given. A mistyped path must not become an empty bank.
pub async fn asking_app(config: &Config, store: Store) -> Result<App, Error> {
    if !config.sandbox_bank.exists() {
        let path = config.sandbox_bank.display();
        return Err(Error::internal(format!("there is no sandbox bank at {path}: name it by --sandbox-bank")));
    }
    make_app(config, store, "", Acquirers::default()).await
}

async fn list(store: &Store, json: bool) -> Result<(), Error> {
    let now = store.db.now().await?;
    let found = store::unresolved(&store.db, now, LISTED).await?;
    let mut rows = Vec::new();
    for one in &found {
        let asked = attempts::asked(&store.db, one.id).await?;
        if json {
            rows.push(row(one, asked, now));
            continue;
        }
        let (id, kind, state) = (one.id, one.kind.name(), one.state.name());
        let (amount, currency) = (one.money.major(), one.money.currency.code());
        let at = match asked {
            Some((acquirer, Some(Trace { stan, rrn, .. }))) => format!("  {acquirer} (STAN {stan:06}, RRN {rrn})"),
            Some((acquirer, None)) => format!("  {acquirer}"),
            None => String::new(),
        };
        let age = (now - one.id.made_at()) / 1000;
        println!("{id}  {kind}  {state}  {amount} {currency}  {}{at}  {age} s old", one.merchant_id);
    }
    if json {
        println!("{}", serde_json::json!({ "transactions": rows }));
        return Ok(());
    }
    if found.is_empty() {
        println!("Every transaction has a known result.");
    }
    if !found.is_empty() {
        println!("Recovery goes on by itself. What the bank will never answer: fuda transactions resolve ID --as …");
    }
    Ok(())
}

fn row(one: &Transaction, asked: Option<(String, Option<Trace>)>, now: i64) -> serde_json::Value {
    let (acquirer, trace) = asked.unzip();
    let trace = trace.flatten();
    serde_json::json!({
        "acquirer": acquirer, "stan": trace.as_ref().map(|trace| trace.stan), "rrn": trace.map(|trace| trace.rrn),
        "id": one.id, "ref": one.reference, "merchant_id": one.merchant_id, "is_live": one.caller.live,
        "transaction_type": one.kind.name(), "state": one.state.name(), "amount": one.money,
        "currency": one.money.currency.code(), "parent_id": one.parent, "timestamp": timestamp(one.created_at),
        "age_s": (now - one.id.made_at()) / 1000,
    })
}

async fn settle(app: &App, args: Resolve) -> Result<(), Error> {
    let id = TransactionId::parse(&args.id).ok_or_else(|| Error::internal("ID takes a transaction's id"))?;
    let reason = reason_given(&args.reason)?;
    let verdict = match args.verdict {
        AsVerdict::Reversed => Verdict::Reversed,
        AsVerdict::Approved => Verdict::Approved,
    };
    let state = recover::resolve(app, id, verdict, &operator(), reason).await?;
    if args.json {
        println!("{}", serde_json::json!({"id": id, "state": state.name()}));
    } else {
        println!("{id} is {} now. This is in the audit log.", state.name());
    }
    Ok(())
}

/// A `--reason` as the audit log takes it.
pub fn reason_given(text: &str) -> Result<&str, Error> {
    let reason = text.trim();
    let wrong = reason.is_empty() || reason.chars().count() > 255 || crate::card::contains_any_number(reason);
    if wrong || reason.chars().any(char::is_control) {
        return Err(Error::internal("--reason takes 1 to 255 characters, and no card number"));
    }
    Ok(reason)
}

/// Who sits at the command line, for the audit log: the login behind sudo if there is one, and the user's number.
pub fn operator() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    format!("{name} (uid {})", rustix::process::getuid().as_raw())
}

pub async fn ledger(config: &Config, command: LedgerCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        LedgerCommand::Verify { json } => verify(config, &store, json).await,
        LedgerCommand::Balances { json } => balances(&store, json).await,
    };
    store.db.close().await;
    done
}

async fn verify(config: &Config, store: &Store, json: bool) -> Result<(), Error> {
    let loud = !json && std::io::stderr().is_terminal();
    let mut checked = Checked::default();
    let mut fault = books::verify(&store.db, &mut checked, &mut |so_far| {
        if loud {
            eprint!("\rchecked {} transactions, {} entries", so_far.transactions, so_far.entries);
        }
    })
    .await?;
    let mut sealed = 0;
    if fault.is_none() {
        fault = chain::verify(&store.db, &store.vault, &mut |entries| sealed += entries).await?;
    }
    if loud {
        eprintln!();
    }
    // Only the bank can tell that the whole database is an older one.
    if fault.is_none() && config.sandbox_bank.exists() {
        let bank = Sandbox::open(&config.sandbox_bank, &store.clock, &store.random).await?;
        let compared =
            reconcile::compare(&store.db, &reconcile::Record::Bank(bank), &reconcile::Span::default()).await?;
        fault = compared.first_fault();
    }
    let Checked { transactions, entries } = checked;
    if json {
        let line =
            serde_json::json!({"transactions": transactions, "entries": entries, "sealed": sealed, "fault": fault});
        println!("{line}");
    } else if fault.is_none() {
        println!("The ledger is whole: {transactions} transactions, {entries} entries, {sealed} of them sealed.");
    }
    match fault {
        Some(fault) => Err(Error::internal(format!("the ledger is wrong: {fault}"))),
        None => Ok(()),
    }
}

async fn balances(store: &Store, json: bool) -> Result<(), Error> {
    let balances = ledger::balances(&store.db).await?;
    if json {
        println!("{}", serde_json::json!({ "balances": balances }));
        return Ok(());
    }
    if balances.is_empty() {
        println!("No money has moved yet.");
    }
    for one in balances {
        let currency = crate::money::Currency::parse(&one.currency);
        let amount = currency.map(|currency| crate::money::Money { minor: one.balance_minor, currency }.major());
        let mode = if one.is_live { "live" } else { "test" };
        let amount = amount.unwrap_or_else(|| one.balance_minor.to_string());
        println!("{}  {mode}  {:<10}  {amount:>14} {}", one.merchant_id, one.account, one.currency);
    }
    Ok(())
}
