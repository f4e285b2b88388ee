//! `fuda rule test`: what the rules in force would have refused of the charges that are stored. What a charge's row still
//! tells is asked again; what it does not (the whole number, a count at that moment) is known from what the rule noted then.

use crate::cli::keys::time_ms;
use crate::cli::store::Store;
use crate::error::Error;
use crate::pay::store as rows;
use crate::pay::transaction::Transaction;
use crate::risk::{self, Basis, Rule};
use clap::Args;
use serde::Serialize;

/// Charges read at once.
const PAGE: i64 = 500;

/// Rows stand nearly in the order of their time: so far back the first of them is looked for, milliseconds.
const OUT_OF_ORDER_MS: i64 = 3_600_000;

/// How many transactions are named of each rule.
const NAMED: usize = 20;

#[derive(Args)]
pub struct TestRules {
    /// How far back: 7d, 36h, 90m
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: String,
    /// One rule; all by default
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Found {
    rule: String,
    kind: &'static str,
    effect: &'static str,
    /// How it is known: see [`Basis`].
    basis: &'static str,
    /// Charges that it concerns.
    charges: u64,
    would_refuse: u64,
    /// The first of them.
    transactions: Vec<String>,
}

pub async fn test(store: &Store, args: &TestRules) -> Result<(), Error> {
    let since_ms = since_ms(&args.since)?;
    let all = risk::stored_with_lists(&store.db).await?;
    if args.rule.as_ref().is_some_and(|id| all.iter().all(|rule| rule.id != *id)) {
        return Err(Error::internal("there is no such rule in force: fuda rule list shows them"));
    }
    let tested = |rule: &&Rule| rule.code().is_some() && args.rule.as_ref().is_none_or(|id| rule.id == *id);
    let rules: Vec<&Rule> = all.iter().filter(tested).collect();
    let mut found: Vec<Found> = rules.iter().map(|rule| Found::none(rule)).collect();
    let now = store.clock.now();
    let (mut after, mut read) = (rows::before(&store.db, now - since_ms - OUT_OF_ORDER_MS).await?, 0_u64);
    loop {
        let page = rows::page(&store.db, after, now - since_ms, i64::MAX, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.reference;
        for transaction in &page {
            read += 1;
            for (rule, found) in rules.iter().zip(&mut found) {
                found.look(rule, &all, transaction);
            }
        }
    }
    if args.json {
        println!("{}", serde_json::json!({"since": args.since, "transactions": read, "rules": found}));
    } else {
        print(&args.since, read, &found);
    }
    Ok(())
}

fn since_ms(text: &str) -> Result<i64, Error> {
    time_ms(text).filter(|ms| *ms > 0).ok_or_else(|| Error::internal("--since takes a time such as 7d, 36h or 90m"))
}

impl Found {
    fn none(rule: &Rule) -> Found {
        Found {
            rule: rule.id.clone(),
            kind: rule.spec.kind(),
            effect: rule.effect.name(),
            basis: rule.basis().name(),
            charges: 0,
            would_refuse: 0,
            transactions: Vec::new(),
        }
    }

    fn look(&mut self, rule: &Rule, all: &[Rule], transaction: &Transaction) {
        let concerned = transaction.caller == rule.caller
            && rule.concerns(&transaction.merchant_id)
            && rule.is_of_charges() == transaction.is_charge();
        if !concerned {
            return;
        }
        self.charges += 1;
        let noted = transaction.details.risk.iter().flat_map(|note| &note.fired).any(|fired| fired.rule == rule.id);
        let fires = noted
            || rule.basis() != Basis::Noted
                && rule.would_fire(
                    all,
                    &risk::Stored {
                        money: transaction.money,
                        first_six: transaction.masked.get(..6).unwrap_or_default(),
                        ip: risk::public_ip(transaction.details.customer_ip.as_deref()),
                    },
                );
        if fires {
            self.would_refuse += 1;
            if self.transactions.len() < NAMED {
                self.transactions.push(transaction.id.to_string());
            }
        }
    }
}

fn print(since: &str, read: u64, found: &[Found]) {
    println!("{read} transactions of the last {since}.");
    for one in found {
        let Found { rule, kind, effect, basis, charges, would_refuse, .. } = one;
        println!("{rule}  {kind} {effect}: would have refused {would_refuse} of {charges}; {basis}");
        for id in &one.transactions {
            println!("  {id}");
        }
    }
    if found.is_empty() {
        println!("No rule to test. Add one that only watches: fuda rule add KIND --effect shadow …");
    }
}
