//! `fuda route`: by which acquirer a merchant's payments go, beside a running gateway, which follows within a second.

use super::books::operator;
use super::store::Store;
use crate::acceptor::{Acceptor, SANDBOX};
use crate::acquirer::iso8583::config as acquirers;
use crate::clock::timestamp;
use crate::config::Config;
use crate::directory::{Merchant, Rank, Route, RouteSpec};
use crate::error::Error;
use crate::money::Currency;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum RouteCommand {
    /// Send a merchant's payments to an acquirer; in force within a second
    #[command(
        after_help = "Without a route test payments go to the sandbox, and live ones are refused (ERR1015). Routes of a \
        payment's own currency go before those without one. The second is asked only where the first certainly got \
        nothing.\n\nExamples:\n  \
        fuda route add --merchant JP00000001 --acquirer acme --terminal 12345678 --acceptor 123456789012345\n  \
        fuda route add --merchant JP00000001 --acquirer acme --terminal 12345678 --acceptor 123456789012345 \
        --currency JPY --category 5411 --place 'SHIBUYA TOKYO JP' --live\n  \
        fuda route add --merchant JP00000001 --acquirer other-bank --terminal 00000001 --acceptor SHOP1 --second\n  \
        fuda route add --merchant JP00000001 --acquirer acme --terminal 12345679 --acceptor 123456789012345 --replace"
    )]
    Add(AddRoute),
    /// List the routes in force
    #[command(after_help = "Examples:\n  fuda route list\n  fuda route list --merchant JP00000001 --all --json")]
    List(ListRoutes),
    /// End a route; out of force within a second
    #[command(
        after_help = "What was charged by it is still captured, refunded, voided and reversed there: keep its acquirer in \
        the acquirers file until that is past.\n\nExample:\n  fuda route end 3"
    )]
    End {
        /// As `fuda route list` shows it
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct AddRoute {
    /// Whose payments
    #[arg(long, value_name = "ID")]
    merchant: String,
    /// Where they go: a name from the acquirers file; for test payments also `sandbox`
    #[arg(long, value_name = "NAME")]
    acquirer: String,
    /// The terminal ID that the acquirer gave the merchant, 1 to 8 characters (ISO 8583 field 41)
    #[arg(long, value_name = "ID")]
    terminal: String,
    /// The merchant ID that the acquirer gave it, 1 to 15 characters (field 42)
    #[arg(long, value_name = "ID")]
    acceptor: String,
    /// Payments of this currency alone [default: of every currency without a route of its own]
    #[arg(long)]
    currency: Option<String>,
    /// Merchant category code, four digits (field 18)
    #[arg(long, value_name = "MCC")]
    category: Option<String>,
    /// Name and location as cardholders' statements show them, up to 40 ASCII characters (field 43)
    #[arg(long)]
    place: Option<String>,
    /// Ask it where the first acquirer certainly got nothing
    #[arg(long)]
    second: bool,
    /// For live money [default: as the merchant's keys are; where it has both, for tests]
    #[arg(long)]
    live: bool,
    /// End the route that stands in its place
    #[arg(long)]
    replace: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ListRoutes {
    /// This merchant's alone
    #[arg(long, value_name = "ID")]
    merchant: Option<String>,
    /// Those that have ended too
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn route(config: &Config, command: RouteCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        RouteCommand::Add(args) => add(&store, config, args).await,
        RouteCommand::List(args) => list(&store, &args).await,
        RouteCommand::End { id, json } => end(&store, id, json).await,
    };
    store.db.close().await;
    done
}

async fn add(store: &Store, config: &Config, args: AddRoute) -> Result<(), Error> {
    let merchant = merchant(store, &args.merchant).await?;
    let (category, place) = (args.category.as_deref(), args.place.as_deref());
    let spec = RouteSpec {
        live: args.live || live_alone(store, &merchant).await?,
        currency: args.currency.as_deref().map(currency).transpose()?,
        rank: if args.second { Rank::Second } else { Rank::First },
        acquirer: args.acquirer,
        acceptor: Acceptor::parse(&args.terminal, &args.acceptor, category, place)
            .map_err(|wrong| Error::internal(wrong.message()))?,
    };
    let checked = known(config, &spec)?;
    let added = store.directory.add_route(&merchant, spec, args.replace, &operator(), &store.clock).await?;
    let route = store.directory.route(added.id).await?;
    let route = route.ok_or_else(|| Error::internal("the route was added, but cannot be read: fuda route list"))?;
    if args.json {
        println!("{}", json!({"route": view(&route), "replaced": added.replaced, "acquirer_checked": checked}));
        return Ok(());
    }
    println!("{}", line(&route));
    if let Some(id) = added.replaced {
        println!("It takes the place of route {id}, which has ended.");
    }
    println!("In force within a second. To end it: fuda route end {}", route.id);
    if !checked {
        println!(
            "Whether the gateways have an acquirer {} was not checked: --acquirers FILE would have.",
            route.acquirer
        );
    }
    Ok(())
}

/// Whether it was looked up in the acquirers file, which must then know it in the route's mode.
fn known(config: &Config, spec: &RouteSpec) -> Result<bool, Error> {
    let Some(path) = config.acquirers.as_deref().filter(|_| spec.acquirer != SANDBOX) else {
        return Ok(spec.acquirer == SANDBOX);
    };
    let all = acquirers::read(path)?;
    let mode = if spec.live { "live" } else { "test" };
    match all.get(&spec.acquirer) {
        Some(found) if found.live() == spec.live => Ok(true),
        Some(_) => {
            Err(Error::internal(format!("{} is no {mode} acquirer: this would be a {mode} route", spec.acquirer)))
        }
        None => Err(Error::internal(format!("{} has no acquirer {}", path.display(), spec.acquirer))),
    }
}

async fn merchant(store: &Store, id: &str) -> Result<Merchant, Error> {
    let found = store.directory.merchants().await?.into_iter().find(|merchant| merchant.id == id);
    found.ok_or_else(|| Error::internal("there is no such merchant: fuda merchant list shows them"))
}

/// Whether all the keys that its entity has in force are live ones.
async fn live_alone(store: &Store, merchant: &Merchant) -> Result<bool, Error> {
    let (mut live, mut test) = (false, false);
    for row in store.directory.keys().await? {
        if row.bytes(1)? == merchant.entity.as_bytes() && row.opt_int(4)?.is_none() {
            if row.bool(2)? { live = true } else { test = true }
        }
    }
    Ok(live && !test)
}

fn currency(text: &str) -> Result<Currency, Error> {
    Currency::parse(&text.trim().to_ascii_uppercase())
        .ok_or_else(|| Error::internal("--currency takes an ISO 4217 code, such as JPY"))
}

fn view(route: &Route) -> Value {
    let acceptor = &route.acceptor;
    json!({"id": route.id, "merchant_id": route.merchant_id, "is_live": route.live,
        "currency": route.currency.map(|currency| currency.code()), "rank": route.rank.word(),
        "acquirer": route.acquirer, "terminal": acceptor.terminal, "acceptor": acceptor.acceptor,
        "category": acceptor.category, "place": acceptor.place, "created": timestamp(route.created),
        "ended": route.ended.map(timestamp)})
}

fn line(route: &Route) -> String {
    let (id, merchant, purpose, acceptor) = (route.id, &route.merchant_id, route.purpose(), &route.acceptor);
    let more = |name: &str, text: Option<&str>| text.map_or_else(String::new, |text| format!(", {name} {text}"));
    let (category, place) = (more("category", acceptor.category.as_deref()), more("place", acceptor.place.as_deref()));
    let ended = route.ended.map_or_else(String::new, |at| format!(", ended {}", timestamp(at)));
    let Acceptor { terminal, acceptor, .. } = acceptor;
    format!(
        "Route {id}: {merchant}, {purpose}, goes to {} as terminal {terminal}, acceptor {acceptor}{category}{place}{ended}",
        route.acquirer
    )
}

async fn list(store: &Store, args: &ListRoutes) -> Result<(), Error> {
    if let Some(id) = &args.merchant {
        merchant(store, id).await?;
    }
    let wanted = |route: &Route| {
        (args.all || route.ended.is_none()) && args.merchant.as_ref().is_none_or(|id| *id == route.merchant_id)
    };
    let routes: Vec<Route> = store.directory.all_routes().await?.into_iter().filter(wanted).collect();
    if args.json {
        println!("{}", json!({"routes": routes.iter().map(view).collect::<Vec<_>>()}));
        return Ok(());
    }
    if routes.is_empty() {
        println!(
            "No route: test payments go to the sandbox, live ones are refused. fuda route add --help shows examples."
        );
    }
    for route in &routes {
        println!("{}", line(route));
    }
    Ok(())
}

async fn end(store: &Store, id: i64, json: bool) -> Result<(), Error> {
    store.directory.end_route(id, &operator(), &store.clock).await?;
    if json {
        println!("{}", json!({"id": id, "ended": true}));
    } else {
        println!("Route {id} has ended, everywhere within a second. What was charged by it is still followed by it.");
    }
    Ok(())
}
