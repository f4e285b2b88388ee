//! `fuda subscriptions`: what is charged again and again, and an end to it. Works while gateways run.

use super::books::{asking_app, operator, reason_given};
use super::store::Store;
use crate::app::App;
use crate::clock::timestamp;
use crate::config::Config;
use crate::error::Error;
use crate::id::SubscriptionId;
use crate::pay::plan::{self, Charged};
use crate::pay::subscribed;
use crate::pay::subscriptions;
use crate::subscription::calendar::Unit;
use crate::subscription::{Discount, End, Status, Subscription, rows};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// The most that one list shows, and the most charges of one.
const MOST: i64 = 1_000;

#[derive(Subcommand)]
pub enum SubscriptionsCommand {
    /// List subscriptions, the newest first
    #[command(after_help = "Examples:\n  fuda subscriptions list --status PAST_DUE\n  \
        fuda subscriptions list --merchant JP00000001 --limit 1000 --json")]
    List(ListArgs),
    /// Show one: its plan, its dates, its charges
    #[command(after_help = "Example:\n  fuda subscriptions show 0199…-…")]
    Show {
        /// As `fuda subscriptions list` shows it
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Cancel one at once, for good; kept in the audit log
    #[command(
        after_help = "The merchant is told by webhook. A charge that is on its way is not stopped; none follows it.\n\n\
        Example:\n  fuda subscriptions cancel 0199…-… --reason 'the shop has closed, ticket 1234'"
    )]
    Cancel {
        /// As `fuda subscriptions list` shows it
        id: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct ListArgs {
    /// ACTIVE, PAUSED, PAST_DUE, CANCELLED or EXPIRED
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<Status>,
    /// Of one merchant
    #[arg(long, value_name = "ID")]
    merchant: Option<String>,
    /// At most so many, up to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=MOST))]
    limit: i64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn status(text: &str) -> Result<Status, String> {
    Status::parse(&text.to_ascii_uppercase().replace('-', "_"))
        .ok_or_else(|| "take ACTIVE, PAUSED, PAST_DUE, CANCELLED or EXPIRED".to_owned())
}

pub async fn subscriptions(config: &Config, command: SubscriptionsCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        SubscriptionsCommand::List(args) => list(&store, &args).await,
        SubscriptionsCommand::Show { id, json } => show(&store, &id, json).await,
        SubscriptionsCommand::Cancel { id, reason, json } => {
            let app = asking_app(config, store).await?;
            let done = cancel(&app, &id, &reason, json).await;
            app.db.close().await;
            return done;
        }
    };
    store.db.close().await;
    done
}

async fn list(store: &Store, args: &ListArgs) -> Result<(), Error> {
    let merchant = args.merchant.as_deref().unwrap_or_default();
    let known = store.directory.merchants().await?;
    if args.merchant.is_some() && !known.iter().any(|known| known.id == merchant) {
        return Err(Error::internal("there is no such merchant: fuda merchant list shows them"));
    }
    // One more tells whether there are more.
    let mut found = rows::page(&store.db, merchant, args.status, i64::MAX, args.limit + 1).await?;
    let more = found.len() > usize::try_from(args.limit).map_err(Error::internal)?;
    found.truncate(usize::try_from(args.limit).map_err(Error::internal)?);
    if args.json {
        let rows = found.iter().map(|one| row(one, None)).collect::<Result<Vec<_>, _>>()?;
        println!("{}", json!({"subscriptions": rows, "more": more}));
        return Ok(());
    }
    for one in &found {
        let (id, state, plan) = (one.id, one.status.name(), &one.terms.plan_name);
        let (amount, currency) = (one.money.major(), one.money.currency.code());
        let (every, next) = (every(one.terms.unit, one.terms.interval), next(one));
        println!("{id}  {state:9}  {}  {amount} {currency} {every}  {next}  {plan}", one.merchant_id);
    }
    match found.len() {
        0 => println!("No such subscriptions."),
        count if more => println!("The newest {count}; --limit shows more, --status and --merchant fewer."),
        _ => println!("One of them with its charges: fuda subscriptions show ID"),
    }
    Ok(())
}

async fn find(db: &crate::db::Db, id: &str) -> Result<Subscription, Error> {
    let unknown = || Error::internal("there is no such subscription: fuda subscriptions list shows them");
    let found = rows::find_any(db, SubscriptionId::parse(id).ok_or_else(unknown)?).await?;
    // Without the approval of its first charge there is none.
    found.filter(|one| one.status != Status::Starting).ok_or_else(unknown)
}

async fn show(store: &Store, id: &str, json: bool) -> Result<(), Error> {
    let one = find(&store.db, id).await?;
    let charges = subscribed::charges(&store.db, one.id, MOST).await?;
    if json {
        println!("{}", row(&one, Some(&charges))?);
        return Ok(());
    }
    println!("{}  {}  {}", one.id, one.status.name(), one.terms.plan_name);
    for (name, text) in lines(&one) {
        println!("  {name:<9} {text}");
    }
    if charges.is_empty() {
        println!("No charges yet.");
    }
    for charge in &charges {
        let (amount, currency) = (charge.money.major(), charge.money.currency.code());
        let how = if charge.paid { "paid" } else { "not paid" };
        println!("  cycle {:<3} {}  {amount} {currency}  {how:8}  {}", charge.cycle, timestamp(charge.at), charge.id);
    }
    if matches!(one.status, Status::Active | Status::Paused | Status::PastDue) {
        println!("To end it at once: fuda subscriptions cancel {} --reason …", one.id);
    }
    Ok(())
}

/// What is said of one, each line with its name.
fn lines(one: &Subscription) -> Vec<(&'static str, String)> {
    let terms = &one.terms;
    let mode = if one.caller.live { "live" } else { "test" };
    let mut price = format!("{} {}", one.money.major(), one.money.currency.code());
    price += &format!(" {}", every(terms.unit, terms.interval));
    if let Some(Discount { percentage, cycles }) = terms.discount {
        price += &format!(", {percentage} % less in the first {cycles} cycle(s)");
    }
    let end = match terms.end {
        End::Cycles(most) => format!("after {most} paid cycle(s)"),
        End::Forever => "never by itself".to_owned(),
        End::Until(date) => format!("after {}", timestamp(date)),
    };
    let card = if one.owned { "stored for this subscription alone" } else { "a stored card of the entity" };
    let mut lines = vec![("merchant", format!("{} ({mode}), entity {}", one.merchant_id, one.caller.entity))];
    lines.extend(terms.plan_desc.clone().map(|text| ("plan", text)));
    lines.push(("price", price));
    lines.extend(terms.trial.map(|trial| ("trial", format!("{} {}", trial.length, units(trial.unit, trial.length)))));
    lines.push(("time zone", terms.time_zone.clone().unwrap_or_else(|| "UTC".to_owned())));
    lines.push(("created", timestamp(one.created_at)));
    lines.push(("ends", end));
    lines.push(("paid", format!("{} cycle(s)", one.completed)));
    lines.push(("next", next(one)));
    lines.extend(one.failed_at.map(|at| ("declined", format!("{} time(s) since {}", one.failures, timestamp(at)))));
    lines.push(("card", format!("{}, {card}", one.token)));
    lines.extend(one.running.map(|id| ("running", format!("charge {id} has no result yet"))));
    lines
}

/// What happens next, and when.
fn next(one: &Subscription) -> String {
    let Some(due) = one.due_at.map(timestamp) else { return "no charge follows".to_owned() };
    match one.status {
        Status::Active => format!("cycle {} on {due}", one.cycle()),
        Status::Paused => format!("cycle {} of {due} waits for the resume", one.cycle()),
        Status::PastDue if one.hopeless => format!("cancelled on {due} unless the card is changed"),
        Status::PastDue => format!("cycle {} is tried again on {due}", one.cycle()),
        Status::Starting | Status::Cancelled | Status::Expired => "no charge follows".to_owned(),
    }
}

fn units(unit: Unit, count: i64) -> &'static str {
    match (unit, count) {
        (Unit::Days, 1) => "day",
        (Unit::Days, _) => "days",
        (Unit::Weeks, 1) => "week",
        (Unit::Weeks, _) => "weeks",
        (Unit::Months, 1) => "month",
        (Unit::Months, _) => "months",
        (Unit::Years, 1) => "year",
        (Unit::Years, _) => "years",
    }
}

fn every(unit: Unit, interval: i64) -> String {
    match interval {
        1 => format!("every {}", units(unit, 1)),
        _ => format!("every {interval} {}", units(unit, interval)),
    }
}

/// As callers of the API see it (contract section 7), and whose it is. Without charges in a list.
fn row(one: &Subscription, charges: Option<&[Charged]>) -> Result<Value, Error> {
    let mut row = serde_json::to_value(plan::details(one, charges.unwrap_or_default())).map_err(Error::internal)?;
    let Some(fields) = row.as_object_mut() else { return Err(Error::internal("a subscription is no object")) };
    if charges.is_none() {
        fields.remove("subscription_transaction_details");
    }
    fields.insert("merchant_id".to_owned(), json!(one.merchant_id));
    fields.insert("entity_id".to_owned(), json!(one.caller.entity));
    fields.insert("is_live".to_owned(), json!(one.caller.live));
    fields.insert("created".to_owned(), json!(timestamp(one.created_at)));
    fields.insert("token_id".to_owned(), json!(one.token));
    fields.insert("declines".to_owned(), json!(one.failures));
    Ok(row)
}

async fn cancel(app: &App, id: &str, reason: &str, json: bool) -> Result<(), Error> {
    let reason = reason_given(reason)?;
    let id = find(&app.db, id).await?.id;
    let after = subscriptions::cancel_by_hand(app, id, &operator(), reason).await?;
    if json {
        println!("{}", json!({"id": id, "status": after.status.name()}));
    } else {
        println!("{id} is {} now. This is in the audit log.", after.status.name());
        if let Some(charge) = after.running {
            println!("Charge {charge} was on its way: if it is approved, refund it through the API.");
        }
    }
    Ok(())
}
