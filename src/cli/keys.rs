//! `fuda merchant` and `fuda key`: they work while a gateway runs on the same store, which sees the change in a second.

use super::books::operator;
use super::store::Store;
use super::three_ds::{self, ThreeDsArgs};
use crate::clock::timestamp;
use crate::config::Config;
use crate::directory::MerchantSpec;
use crate::error::Error;
use crate::id::EntityId;
use crate::money::Currency;
use crate::rate::{Limit, MOST};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum MerchantCommand {
    /// Add a merchant, and with it an entity unless --entity names one
    #[command(
        after_help = "Example:\n  fuda merchant add --legal-name 'アイベック株式会社' --country JP --currency JPY,USD"
    )]
    Add(AddMerchant),
    /// Say when a merchant's charges are authenticated by 3-D Secure
    #[command(after_help = "Examples:\n  fuda merchant three-ds JP00000001 --when always\n  \
        fuda merchant three-ds JP00000001 --when above:JPY=10000 --unavailable continue")]
    ThreeDs(ThreeDsArgs),
    /// Say how many days after its first failure a declined renewal is tried again
    #[command(
        after_help = "Counted from the first failure; when all are used up, the subscription is cancelled.\n\nExamples:\n  \
        fuda merchant retries JP00000001\n  fuda merchant retries JP00000001 --days 1,3,5\n  \
        fuda merchant retries JP00000001 --days none"
    )]
    Retries(super::retries::RetriesArgs),
    /// Set how a merchant's payment pages look, and who may frame them; in force within a second
    #[command(after_help = "An empty value takes the setting away.\n\nExamples:\n  \
        fuda merchant page JP00000001 --accent '#0a7d5a' --logo logo.png\n  \
        fuda merchant page JP00000001 --frame-ancestors https://shop.example,https://www.shop.example\n  \
        fuda merchant page JP00000001 --logo ''")]
    Page(super::look::PageArgs),
    /// List all merchants
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct AddMerchant {
    /// The company's name, as answers show it
    #[arg(long)]
    legal_name: String,
    /// Two letters, ISO 3166-1 alpha-2
    #[arg(long)]
    country: String,
    /// Currencies that it takes, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    currency: Vec<String>,
    /// An entity that exists: the new merchant shares its tokens and keys
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// How long an authorization holds the money, from 1s to 31d: then it lapses
    #[arg(long, value_name = "TIME", default_value = "7d")]
    hold: String,
    /// Make live keys, not test keys
    #[arg(long)]
    live: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make one more key pair for an entity
    #[command(after_help = "Example:\n  fuda key new --entity 6f1c…-…")]
    New {
        #[arg(long, value_name = "ID")]
        entity: String,
        /// Make a live key pair, not a test one
        #[arg(long)]
        live: bool,
        #[arg(long)]
        json: bool,
    },
    /// List key pairs; the keys themselves are never shown again
    List {
        #[arg(long)]
        json: bool,
    },
    /// Limit how often a key pair may call; each gateway process counts by itself, and obeys within a second
    #[command(after_help = "What is above the limit is answered 429 (VAL0007) with Retry-After.\n\nExamples:\n  \
        fuda key limit key_… --per-second 50 --burst 200\n  fuda key limit key_… --off")]
    Limit(LimitArgs),
    /// Revoke a key pair; in force everywhere within a second
    Revoke {
        /// As `fuda key list` shows it
        id: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct LimitArgs {
    /// As `fuda key list` shows it
    id: String,
    /// Requests a second that it may go on with
    #[arg(long, value_name = "N", required_unless_present = "off", value_parser = clap::value_parser!(i64).range(1..=i64::from(MOST)))]
    per_second: Option<i64>,
    /// Requests that it may send at once after a pause [default: as --per-second]
    #[arg(long, value_name = "N", requires = "per_second", value_parser = clap::value_parser!(i64).range(1..=i64::from(MOST)))]
    burst: Option<i64>,
    /// No limit
    #[arg(long, conflicts_with = "per_second")]
    off: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn merchant(config: &Config, command: MerchantCommand) -> Result<(), Error> {
    // A merchant may be the first thing in a store; a change or a look is not.
    let store = match command {
        MerchantCommand::Add(_) => Store::open(config).await?,
        _ => Store::open_existing(config).await?,
    };
    let done = match command {
        MerchantCommand::Add(args) => add_merchant(config, &store, args).await,
        MerchantCommand::ThreeDs(args) => three_ds::set(&store, args).await,
        MerchantCommand::Retries(args) => super::retries::retries(&store, args).await,
        MerchantCommand::Page(args) => super::look::page(&store, args).await,
        MerchantCommand::List { json } => list_merchants(&store, json).await,
    };
    store.db.close().await;
    done
}

async fn add_merchant(config: &Config, store: &Store, args: AddMerchant) -> Result<(), Error> {
    let spec = MerchantSpec {
        legal_name: legal_name(&args.legal_name)?,
        country: country(&args.country)?,
        currencies: currencies(&args.currency)?,
        entity: match &args.entity {
            Some(text) => Some(existing_entity(store, text).await?),
            None => None,
        },
        live: args.live,
        hold_ms: hold_ms(&args.hold)?,
    };
    store.check_live(config, args.live).await?;
    let made = store.directory.add_merchant(spec, &store.clock, &store.random).await?;
    if args.json {
        println!("{}", serde_json::to_string(&made).map_err(Error::internal)?);
        return Ok(());
    }
    println!("Merchant {} of entity {} is added.", made.merchant_id, made.entity_id);
    match (&made.api_key, &made.secret_key, &made.webhook_secret) {
        (Some(api_key), Some(secret_key), Some(webhook)) => {
            println!("  x-api-key:      {api_key}\n  secret key:     {secret_key}\n  webhook secret: {webhook}");
            println!("Keep them now: they are not shown again.");
        }
        _ => println!("It uses its entity's keys. For one more pair: fuda key new --entity {}", made.entity_id),
    }
    Ok(())
}

fn legal_name(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 255 || text.chars().any(char::is_control) {
        return Err(Error::internal("--legal-name takes 1 to 255 characters"));
    }
    Ok(text.to_owned())
}

fn country(text: &str) -> Result<String, Error> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(Error::internal("--country takes two letters, such as JP"))
    }
}

fn hold_ms(text: &str) -> Result<i64, Error> {
    time_ms(text)
        .filter(|ms| (1_000..=31 * 24 * 60 * 60 * 1000).contains(ms))
        .ok_or_else(|| Error::internal("--hold takes a time from 1s to 31d, such as 7d or 36h"))
}

/// A length of time as people write it, `36h` or `7d` of 24 hours, in milliseconds.
pub fn time_ms(text: &str) -> Option<i64> {
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let span = text.parse::<jiff::Span>().ok().and_then(|span| span.to_duration(days).ok());
    span.and_then(|span| i64::try_from(span.as_millis()).ok()).filter(|ms| *ms >= 0)
}

fn currencies(texts: &[String]) -> Result<Vec<Currency>, Error> {
    let mut found = Vec::new();
    for text in texts {
        let currency = Currency::parse(&text.trim().to_ascii_uppercase())
            .ok_or_else(|| Error::internal(format!("--currency: {text} is no ISO 4217 code; example: JPY,USD")))?;
        if !found.contains(&currency) {
            found.push(currency);
        }
    }
    Ok(found)
}

pub async fn existing_entity(store: &Store, text: &str) -> Result<EntityId, Error> {
    let unknown = || Error::internal("there is no such entity: fuda merchant list shows them");
    let id = EntityId::parse(text).ok_or_else(unknown)?;
    if store.directory.entity_exists(id).await? { Ok(id) } else { Err(unknown()) }
}

async fn list_merchants(store: &Store, json: bool) -> Result<(), Error> {
    let merchants = store.directory.merchants().await?;
    if json {
        let rows: Vec<_> = merchants
            .iter()
            .map(|merchant| {
                let currencies: Vec<_> = merchant.currencies.iter().map(|currency| currency.code()).collect();
                serde_json::json!({"entity_id": merchant.entity, "merchant_id": merchant.id,
                    "legal_name": merchant.legal_name, "country": merchant.country, "currencies": currencies,
                    "three_ds": {"when": merchant.three_ds.when.text(), "unavailable": merchant.three_ds.unavailable.word()},
                    "retry_days": merchant.retry_days.days()})
            })
            .collect();
        println!("{}", serde_json::json!({ "merchants": rows }));
    } else if merchants.is_empty() {
        println!("No merchant yet. Add one: fuda merchant add --legal-name N --country JP --currency JPY");
    } else {
        for merchant in merchants {
            let currencies: Vec<_> = merchant.currencies.iter().map(|currency| currency.code()).collect();
            println!("{}  {}  {}  {}", merchant.id, merchant.entity, currencies.join(","), merchant.legal_name);
        }
    }
    Ok(())
}

pub async fn key(config: &Config, command: KeyCommand) -> Result<(), Error> {
    let store = Store::open(config).await?;
    let done = match command {
        KeyCommand::New { entity, live, json } => new_key(config, &store, &entity, live, json).await,
        KeyCommand::List { json } => list_keys(&store, json).await,
        KeyCommand::Limit(args) => limit(&store, args).await,
        KeyCommand::Revoke { id, json } => revoke(&store, &id, json).await,
    };
    store.db.close().await;
    done
}

async fn new_key(config: &Config, store: &Store, entity: &str, live: bool, json: bool) -> Result<(), Error> {
    let entity = existing_entity(store, entity).await?;
    store.check_live(config, live).await?;
    let key = store.directory.add_key(entity, live, &store.clock, &store.random).await?;
    if json {
        let line = serde_json::json!({"id": key.id, "entity_id": entity, "api_key": key.api_key,
            "secret_key": key.secret_key, "webhook_secret": key.webhook_secret, "is_live": live});
        println!("{line}");
    } else {
        println!("Key pair {}:\n  x-api-key:  {}\n  secret key: {}", key.id, key.api_key, key.secret_key);
        if let Some(secret) = &key.webhook_secret {
            println!("  webhook secret: {secret}");
        }
        println!("Keep them now: they are not shown again. To end an older pair: fuda key revoke ID");
    }
    Ok(())
}

async fn list_keys(store: &Store, json: bool) -> Result<(), Error> {
    let mut rows = Vec::new();
    for row in store.directory.keys().await? {
        let entity = EntityId::from_bytes(row.bytes(1)?);
        rows.push(serde_json::json!({"id": row.text(0)?, "entity_id": entity, "is_live": row.bool(2)?,
            "created": timestamp(row.int(3)?), "revoked": row.opt_int(4)?.map(timestamp),
            "per_second": row.opt_int(5)?, "burst": row.opt_int(6)?}));
    }
    if json {
        println!("{}", serde_json::json!({ "keys": rows }));
        return Ok(());
    }
    if rows.is_empty() {
        println!("No key yet: fuda merchant add makes the first pair.");
    }
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let mode = if row["is_live"] == true { "live" } else { "test" };
        let limit = match (row["per_second"].as_i64(), row["burst"].as_i64()) {
            (Some(per_second), Some(burst)) => format!("  at most {per_second} a second, {burst} at once"),
            _ => String::new(),
        };
        let (id, entity, made, revoked) = (text("id"), text("entity_id"), text("created"), text("revoked"));
        println!("{id}  {mode}  {entity}  made {made}  revoked {revoked}{limit}");
    }
    Ok(())
}

async fn limit(store: &Store, args: LimitArgs) -> Result<(), Error> {
    let limit = args.per_second.and_then(|per_second| Limit::new(per_second, args.burst.unwrap_or(per_second)));
    if !store.directory.limit_key(&args.id, limit, &operator(), &store.clock).await? {
        return Err(Error::internal("there is no such key in force: fuda key list shows them"));
    }
    let (per_second, burst) = (limit.map(|limit| limit.per_second), limit.map(|limit| limit.burst));
    if args.json {
        println!("{}", serde_json::json!({"id": args.id, "per_second": per_second, "burst": burst}));
    } else if let (Some(per_second), Some(burst)) = (per_second, burst) {
        println!("Key pair {} may call {per_second} times a second, {burst} at once, at each gateway.", args.id);
    } else {
        println!("Key pair {} has no limit.", args.id);
    }
    Ok(())
}

async fn revoke(store: &Store, id: &str, json: bool) -> Result<(), Error> {
    if !store.directory.revoke_key(id, &store.clock).await? {
        return Err(Error::internal("there is no such key in force: fuda key list shows them"));
    }
    if json {
        println!("{}", serde_json::json!({"id": id, "revoked": true}));
    } else {
        println!("Key pair {id} is revoked.");
    }
    Ok(())
}
