//! `fuda rule`: the risk rules of an entity, beside a running gateway, which follows within a second. The command line takes
//! long lists from a file.

mod test;

use super::books::operator;
use super::store::Store;
use crate::config::Config;
use crate::directory::Caller;
use crate::error::Error;
use crate::http::rules::{RuleView, settings};
use crate::id::EntityId;
use crate::risk::asked::{self, Asked};
use crate::risk::change::{self, Added, Author};
use crate::risk::{self, Rule, Spec, Testing};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub enum RuleCommand {
    /// Add a rule; in force everywhere within a second
    #[command(after_help = "Kinds: card_country issuing_country ip_block ip_allow bin_block pan_block max_amount \
        min_amount card_velocity ip_velocity refund_volume card_testing\n\nExamples:\n  \
        fuda rule add card_country --countries KP,IR\n  \
        fuda rule add ip_block --entries-file blocked.txt\n  \
        fuda rule add max_amount --merchant JP00000001 --currency JPY --amount 300000\n  \
        fuda rule add card_velocity --merchant JP00000001 --limit 5 --window 10 --unit minutes --effect shadow\n  \
        fuda rule add refund_volume --merchant JP00000001 --currency JPY --amount 100000 --per day --time-zone Asia/Tokyo\n  \
        fuda rule add card_testing --ip-declines 10 --minutes 30")]
    Add(Box<AddRule>),
    /// List the rules in force
    #[command(after_help = "Example:\n  fuda rule list --json")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a rule; out of force everywhere within a second
    #[command(after_help = "Example:\n  fuda rule remove rule_5f0e2d4c6b7a8b1a0193626c")]
    Remove {
        /// As `fuda rule list` shows it
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tell what the rules would have refused of the charges that are stored
    #[command(after_help = "Example:\n  fuda rule test --since 7d --rule rule_5f0e2d4c6b7a8b1a0193626c")]
    Test(test::TestRules),
}

#[derive(Args)]
pub struct AddRule {
    /// What the rule looks at
    kind: String,
    /// The merchant that it concerns; its entity is the rule's
    #[arg(long, value_name = "ID")]
    merchant: Option<String>,
    /// The entity; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// A rule for live money, not for tests
    #[arg(long)]
    live: bool,
    /// deny, shadow (only notes what it would refuse) or score [default: deny]
    #[arg(long)]
    effect: Option<String>,
    /// What a rule with the effect score adds, 1 to 100
    #[arg(long)]
    score: Option<String>,
    /// Two letters each, separated by commas
    #[arg(long, value_delimiter = ',')]
    countries: Vec<String>,
    /// Addresses, CIDR blocks, BINs, fingerprints, separated by commas. A card number does not belong on a command line:
    /// put it in a file
    #[arg(long, value_delimiter = ',')]
    entries: Vec<String>,
    /// One entry a line, up to 2,000,000; empty lines and what follows a # are left out
    #[arg(long, value_name = "FILE")]
    entries_file: Option<PathBuf>,
    /// ISO 4217
    #[arg(long)]
    currency: Option<String>,
    /// Major units
    #[arg(long)]
    amount: Option<String>,
    /// At most so many ...
    #[arg(long)]
    limit: Option<String>,
    /// ... in so many ...
    #[arg(long)]
    window: Option<String>,
    /// ... minutes, hours, days or months
    #[arg(long)]
    unit: Option<String>,
    /// day or month
    #[arg(long)]
    per: Option<String>,
    /// Whose day or month; UTC by default
    #[arg(long)]
    time_zone: Option<String>,
    /// card_testing: no defence for this entity
    #[arg(long)]
    off: bool,
    /// card_testing: declines of one address
    #[arg(long)]
    ip_declines: Option<String>,
    /// card_testing: declines on one BIN
    #[arg(long)]
    bin_declines: Option<String>,
    /// card_testing: within so many minutes
    #[arg(long)]
    minutes: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn rule(config: &Config, command: RuleCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        RuleCommand::Add(args) => add(&store, &args).await,
        RuleCommand::List { json } => list(&store, json).await,
        RuleCommand::Remove { id, json } => remove(&store, &id, json).await,
        RuleCommand::Test(args) => test::test(&store, &args).await,
    };
    store.db.close().await;
    done
}

async fn add(store: &Store, args: &AddRule) -> Result<(), Error> {
    let caller = Caller { entity: entity(store, args).await?, live: args.live };
    // A file may hold card numbers: its text is zeroed when it is dropped.
    let file = match &args.entries_file {
        Some(path) => {
            let read = std::fs::read_to_string(path).map(Zeroizing::new);
            read.map_err(|error| Error::internal(format!("cannot read {}: {error}", path.display())))?
        }
        None => Zeroizing::default(),
    };
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let entries = args.entries.iter().map(|entry| entry.trim()).chain(lines).filter(|entry| !entry.is_empty());
    let value = |name, text: &'_ Option<String>| text.clone().map(|text| (name, text));
    let values: Vec<(&'static str, String)> = [
        value("effect", &args.effect),
        value("score", &args.score),
        value("currency", &args.currency),
        value("amount", &args.amount),
        value("limit", &args.limit),
        value("window", &args.window),
        value("unit", &args.unit),
        value("per", &args.per),
        value("time_zone", &args.time_zone),
        args.off.then(|| ("off", "true".to_owned())),
        value("ip_declines", &args.ip_declines),
        value("bin_declines", &args.bin_declines),
        value("minutes", &args.minutes),
    ]
    .into_iter()
    .flatten()
    .collect();
    let asked = Asked {
        kind: &args.kind,
        merchant: args.merchant.as_deref(),
        values: values.iter().map(|(name, text)| (*name, text.as_str())).collect(),
        countries: args.countries.iter().map(|text| text.trim()).collect(),
        entries: entries.collect(),
    };
    let draft = asked::draft(&asked, &|pan| store.vault.fingerprint(caller.entity, caller.live, pan));
    let draft = draft.map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
        Error::internal(format!("this is no rule:\n  {}\nfuda rule add --help shows examples", lines.join("\n  ")))
    })?;
    let author = Author { who: &operator(), caller, now: store.clock.now() };
    let added = change::add(&store.db, &store.random, &author, draft, |_| (vec![], vec![])).await;
    let Added::Rule(rule) = added.map_err(said)? else { return Err(Error::internal("the rule was not added")) };
    if args.json {
        println!("{}", serde_json::json!({ "rule": RuleView::of(&rule) }));
    } else {
        println!("Rule {} is added: {}.", rule.id, line(&rule));
        println!("In force within a second. To end it: fuda rule remove {}", rule.id);
    }
    Ok(())
}

/// A wrong field in words for the command line.
fn said(error: Error) -> Error {
    match error.fields.first() {
        Some(field) => Error::internal(&field.message),
        None => error,
    }
}

async fn entity(store: &Store, args: &AddRule) -> Result<EntityId, Error> {
    let merchants = store.directory.merchants().await?;
    let named = match &args.entity {
        Some(text) => {
            let known = EntityId::parse(text).filter(|id| merchants.iter().any(|merchant| merchant.entity == *id));
            let unknown = || Error::internal("there is no such entity: fuda merchant list shows them");
            Some(known.ok_or_else(unknown)?)
        }
        None => None,
    };
    if let Some(id) = &args.merchant {
        let merchant = merchants.iter().find(|merchant| merchant.id == *id);
        let merchant = merchant.filter(|merchant| named.is_none_or(|entity| entity == merchant.entity));
        let unknown = || Error::internal("there is no such merchant: fuda merchant list shows them");
        return merchant.map(|merchant| merchant.entity).ok_or_else(unknown);
    }
    let first = merchants.first().map(|merchant| merchant.entity);
    let only = first.filter(|first| merchants.iter().all(|merchant| merchant.entity == *first));
    named
        .or(only)
        .ok_or_else(|| Error::internal("say whose rule it is: --entity ID, or --merchant ID for one merchant's"))
}

fn line(rule: &Rule) -> String {
    let view = RuleView::of(rule);
    let mode = if rule.caller.live { "live" } else { "test" };
    let whom = view.merchant_id.as_deref().unwrap_or("all merchants");
    let score = view.score.map_or_else(String::new, |score| format!(" {score}"));
    let entries = view.entries.map_or_else(String::new, |count| format!(" of {count} entries"));
    let settings = if view.entries.is_some() { String::new() } else { format!(" {}", view.settings) };
    format!("{} {}{score}, {whom} of {}, {mode}{entries}{settings}", view.kind, view.effect, rule.caller.entity)
}

async fn list(store: &Store, json: bool) -> Result<(), Error> {
    let (mut rules, mut unreadable) = (Vec::new(), Vec::new());
    for one in risk::all_stored(&store.db).await? {
        match one {
            Ok(rule) => rules.push(rule),
            Err(id) => unreadable.push(id),
        }
    }
    if json {
        let rows: Result<Vec<_>, _> = rules
            .iter()
            .map(|rule| {
                let mut row = serde_json::to_value(RuleView::of(rule))?;
                row["entity_id"] = serde_json::to_value(rule.caller.entity)?;
                row["is_live"] = rule.caller.live.into();
                Ok::<_, serde_json::Error>(row)
            })
            .collect();
        let rows = rows.map_err(Error::internal)?;
        let defence = settings(&Spec::CardTesting(Testing::default()));
        println!("{}", serde_json::json!({"rules": rows, "card_testing_default": defence, "unreadable": unreadable}));
        return Ok(());
    }
    if rules.is_empty() && unreadable.is_empty() {
        println!("No rule yet: fuda rule add --help shows examples. Card testing is slowed down without one.");
    }
    for rule in &rules {
        println!("{}  {}", rule.id, line(rule));
    }
    for id in &unreadable {
        println!("{id}  NOT in force: this version cannot read it. Remove it and add it again.");
    }
    let Testing { ip_declines, bin_declines, minutes, .. } = Testing::default();
    println!(
        "Card testing, where no rule above says otherwise: slowed down after {ip_declines} declines of an address or \
         {bin_declines} on a BIN in {minutes} minutes."
    );
    for rule in &rules {
        if let Spec::CardTesting(Testing { off: true, .. }) = &rule.spec {
            let mode = if rule.caller.live { "live" } else { "test" };
            println!("Card testing of {}, {mode}: NOT slowed down, by {}.", rule.caller.entity, rule.id);
        }
    }
    Ok(())
}

async fn remove(store: &Store, id: &str, json: bool) -> Result<(), Error> {
    let unknown = || Error::internal("there is no such rule in force: fuda rule list shows them");
    let caller = risk::owner(&store.db, id).await?.ok_or_else(unknown)?;
    let author = Author { who: &operator(), caller, now: store.clock.now() };
    if !change::remove(&store.db, &author, id).await? {
        return Err(unknown());
    }
    if json {
        println!("{}", serde_json::json!({"id": id, "removed": true}));
    } else {
        println!("Rule {id} is removed.");
    }
    Ok(())
}
