//! `fuda webhooks`: what merchants were told, sending again, and the secrets that sign.

use super::books::operator;
use super::keys::{existing_entity, time_ms};
use super::store::Store;
use crate::clock::{Millis, timestamp};
use crate::config::Config;
use crate::directory::Caller;
use crate::error::Error;
use crate::id::EventId;
use crate::pay::told::{self, Resend};
use crate::webhook::{self, Delivery, Event, secrets};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// How many events one read brings.
const PAGE: i64 = 500;

#[derive(Subcommand)]
pub enum WebhooksCommand {
    /// List events and how telling them went, the oldest first
    #[command(after_help = "Example:\n  fuda webhooks list --since 24h --undelivered")]
    List(ListArgs),
    /// Send one event again, at once
    #[command(after_help = "Example:\n  fuda webhooks retry evt_0193626c29c57b118a1b2c3d4e5f6071")]
    Retry {
        /// As `fuda webhooks list` shows it
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Send all events of a time again that were not delivered, for a receiver that was away
    #[command(after_help = "Example:\n  fuda webhooks replay --since 3d --entity 6f1c…-…")]
    Replay(ReplayArgs),
    /// Make a new signing secret; the one before signs too until the overlap is over
    #[command(after_help = "Example:\n  fuda webhooks rotate-secret --entity 6f1c…-… --overlap 24h")]
    RotateSecret(RotateArgs),
}

#[derive(Args)]
pub struct ListArgs {
    /// How far back, such as 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Of one entity
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// Only those that wait, have failed, are gone or were refused
    #[arg(long)]
    undelivered: bool,
    /// Print one JSON object for each event
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ReplayArgs {
    /// How far back, such as 24h or 7d
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Of one entity
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// Also those that were delivered, whose receiver lost them, and those whose URL was refused
    #[arg(long)]
    all: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RotateArgs {
    #[arg(long, value_name = "ID")]
    entity: String,
    /// The secret of live webhooks, not of test ones
    #[arg(long)]
    live: bool,
    /// How long the secret before goes on signing beside it, up to 30d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: String,
    #[arg(long)]
    json: bool,
}

pub async fn webhooks(config: &Config, command: WebhooksCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        WebhooksCommand::List(args) => list(&store, &args).await,
        WebhooksCommand::Retry { id, json } => retry(&store, &id, json).await,
        WebhooksCommand::Replay(args) => replay(&store, &args).await,
        WebhooksCommand::RotateSecret(args) => rotate(&store, &args).await,
    };
    store.db.close().await;
    done
}

fn time(flag: &str, text: &str) -> Result<Millis, Error> {
    time_ms(text).ok_or_else(|| Error::internal(format!("{flag} takes a time, such as 24h or 7d")))
}

/// Every event since a time, of one entity or all, in pages.
async fn each(
    store: &Store,
    (since, entity): (&str, Option<&str>),
    mut with: impl AsyncFnMut(Event) -> Result<(), Error>,
) -> Result<(), Error> {
    let since = store.clock.now() - time("--since", since)?;
    let entity = match entity {
        Some(text) => Some(existing_entity(store, text).await?),
        None => None,
    };
    let mut after = webhook::last_before(&store.db, since).await?;
    loop {
        let events = webhook::page(&store.db, after, since, PAGE).await?;
        let Some(last) = events.last() else { return Ok(()) };
        after = last.number;
        for event in events.into_iter().filter(|event| entity.is_none_or(|id| id == event.caller.entity)) {
            with(event).await?;
        }
    }
}

async fn list(store: &Store, args: &ListArgs) -> Result<(), Error> {
    let mut count = 0;
    each(store, (&args.since, args.entity.as_deref()), async |event| {
        if args.undelivered && matches!(event.delivery, Delivery::Delivered | Delivery::None) {
            return Ok(());
        }
        count += 1;
        let last = webhook::tries(&store.db, event.id).await?.pop();
        let said = last.and_then(|one| one.problem.or(one.status.map(|status| format!("status {status}"))));
        let next = webhook::next_try(&store.db, event.id).await?.map(timestamp);
        if args.json {
            println!("{}", line(&event, said.as_deref(), next.as_deref()));
            return Ok(());
        }
        let (id, transaction, at) = (event.id, event.transaction, timestamp(event.created_at));
        println!("{id}  {at}  {:9}  tries {}  {transaction}", event.delivery.name(), event.tries);
        for text in said.into_iter().chain(next.map(|at| format!("next try {at}"))) {
            println!("    {text}");
        }
        Ok(())
    })
    .await?;
    if count == 0 && !args.json {
        println!("No such events in the last {}.", args.since);
    }
    Ok(())
}

fn line(event: &Event, last: Option<&str>, next: Option<&str>) -> Value {
    json!({"id": event.id, "transaction_id": event.transaction, "entity_id": event.caller.entity,
        "is_live": event.caller.live, "created": timestamp(event.created_at), "state": event.delivery.name(),
        "tries": event.tries, "last": last, "next_try": next})
}

async fn retry(store: &Store, id: &str, json: bool) -> Result<(), Error> {
    let unknown = || Error::internal("there is no such event: fuda webhooks list shows them");
    let event = webhook::find_any(&store.db, EventId::parse(id).ok_or_else(unknown)?).await?.ok_or_else(unknown)?;
    match told::resend(&store.db, &event, store.db.now().await?).await? {
        Resend::Due(_) if json => println!("{}", json!({"id": event.id, "sent_again": true})),
        Resend::Due(_) => println!("{id} is due now: the running gateway sends it within a second."),
        Resend::NoUrl => return Err(Error::internal("its request named no webhook_url: it is in the feed only")),
    }
    Ok(())
}

async fn replay(store: &Store, args: &ReplayArgs) -> Result<(), Error> {
    let (mut due, mut seen) = (0_u64, 0_u64);
    each(store, (&args.since, args.entity.as_deref()), async |event| {
        seen += 1;
        if seen.is_multiple_of(1_000) {
            eprintln!("{seen} events looked at, {due} to send again");
        }
        let wanted = match event.delivery {
            Delivery::None => false,
            Delivery::Delivered | Delivery::Refused => args.all,
            Delivery::Waiting | Delivery::Failed | Delivery::Gone => true,
        };
        if wanted && let Resend::Due(_) = told::resend(&store.db, &event, store.db.now().await?).await? {
            due += 1;
        }
        Ok(())
    })
    .await?;
    if args.json {
        println!("{}", json!({"seen": seen, "sent_again": due}));
    } else {
        println!("{due} of {seen} events are due now: the running gateway sends them, each receiver's in turn.");
    }
    Ok(())
}

async fn rotate(store: &Store, args: &RotateArgs) -> Result<(), Error> {
    let entity = existing_entity(store, &args.entity).await?;
    let overlap = time("--overlap", &args.overlap)?;
    if overlap > 30 * 24 * 60 * 60 * 1000 {
        return Err(Error::internal("--overlap is at most 30d"));
    }
    let now = store.clock.now();
    let caller = Caller { entity, live: args.live };
    let both = (&store.db, &store.vault);
    let secret = secrets::rotate(both, caller, (now, now + overlap), &operator(), &store.random).await?;
    let until = timestamp(now + overlap);
    if args.json {
        println!(
            "{}",
            json!({"entity_id": entity, "is_live": args.live, "webhook_secret": secret, "both_until": until})
        );
    } else {
        println!("New webhook secret: {secret}\nKeep it now: it is not shown again.");
        if overlap > 0 {
            println!("Webhooks carry both signatures until {until}: change the receiver by then.");
        } else {
            println!("No earlier secret signs any more: change the receiver now.");
        }
    }
    Ok(())
}
