//! `fuda serve`: from an empty folder to answering in one step, and a stop that finishes what is in flight.

use super::background;
use super::curl;
use super::store::Store;
use crate::acceptor::SANDBOX;
use crate::acquirer::iso8583;
use crate::acquirer::lines::Lines;
use crate::acquirer::sandbox::Sandbox;
use crate::acquirer::{Acquirers, Initiator, Reason};
use crate::app::App;
use crate::bins::Bins;
use crate::card::{Card, Expiry, Pan};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::consent;
use crate::directory::{Caller, HOLD_MS, MerchantSpec, NewMerchant};
use crate::error::Error;
use crate::http::{self, service::Probe};
use crate::id::{self, TokenId};
use crate::json::Node;
use crate::money::{Currency, Money};
use crate::page::MOST_HELD;
use crate::pay::charge::charge;
use crate::pay::late;
use crate::pay::recover;
use crate::pay::request::{CardSource, ChargeRequest, Purpose};
use crate::pay::transaction::Details;
use crate::risk::Risk;
use crate::telemetry;
use crate::threeds;
use crate::tls;
use crate::wallet::setup::Wallets;
use crate::webhook::courier::{Courier, Machine};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a start waits for the lines to acquirers, milliseconds: payments are refused while there is none.
const LINES_MS: u64 = 2_000;

/// How long a client may take for its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stop waits for connections; payments are waited for to their end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub async fn serve(config: Config) -> Result<(), Error> {
    let started = Stopwatch::start();
    telemetry::start_logs(config.json_logs);
    telemetry::forbid_dumps();
    let metrics = telemetry::start_metrics()?;
    let listener = listen(&config.listen)?;
    let address = listener.local_addr().map_err(Error::internal)?;
    let store = Store::open(&config).await?;
    let alone = lock_sqlite(&config, &store)?;
    let empty = store.directory.merchants().await?.is_empty();
    warn_of_one_address(&config, address);
    let settings = config.acquirers.as_deref().map(iso8583::config::read).transpose()?.unwrap_or_default();
    let (lines, news) = Lines::start(&settings, &store.db, &store.clock, &store.random)?;
    let app = make_app(&config, store, &base_url(address), lines.acquirers()).await?;
    if alone.is_some() {
        // Nobody else can be making these payments: a crash left them.
        recover::adopt(&app).await?;
    }
    if empty {
        let (merchant, token) = make_sandbox(&app).await?;
        println!("{}", curl::welcome(&base_url(address), &merchant, token));
    }
    // Before anybody is told that it serves: a stop that comes at once is a clean one too.
    let asked_to_stop = (signal_of(SignalKind::interrupt())?, signal_of(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let background = tokio::spawn(background::run(app.clone(), metrics.clone(), stop.clone()));
    for (acquirer, news) in news {
        // Until its line is gone.
        tokio::spawn(late::listen(app.clone(), acquirer, news));
    }
    lines.settle(&app.clock, LINES_MS).await;
    warn_of_lost_routes(&app);
    println!("Fuda listens on {} (Ctrl-C stops it)", base_url(address));
    tracing::info!(%address, ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(0), "serving");
    run(&app, listener, Probe::new(metrics), asked_to_stop).await?;
    stop.cancel();
    background.await.map_err(Error::internal)?;
    app.tasks.close();
    app.tasks.wait().await;
    lines.stop().await;
    app.db.close().await;
    tracing::info!("stopped");
    drop(alone);
    Ok(())
}

fn listen(address: &str) -> Result<TcpListener, Error> {
    let say = |error: std::io::Error| Error::internal(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(say)?;
    listener.set_nonblocking(true).map_err(say)?;
    Ok(listener)
}

fn base_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Behind a proxy on this machine that nobody told us of, each visitor has the proxy's address.
fn warn_of_one_address(config: &Config, address: SocketAddr) {
    if config.checkout_url.is_some() && address.ip().is_loopback() && config.trusted_proxies.is_empty() {
        tracing::warn!(
            "--checkout-url is set, and {address} is reached through a proxy on this machine only: without \
             --trusted-proxies all visitors are one address for limits and risk rules, and one of them can use up what all \
             may do. Set --trusted-proxies to the proxy's address, such as 127.0.0.1/32"
        );
    }
}

/// Payments along them would be refused, each with an error in the log.
fn warn_of_lost_routes(app: &App) {
    for route in app.directory.routes_in_force() {
        let known = app.acquirers.get(&route.acquirer).is_some_and(|acquirer| acquirer.live() == route.live);
        if !known && route.acquirer != SANDBOX {
            tracing::warn!(
                route = route.id,
                merchant = route.merchant_id,
                acquirer = route.acquirer,
                live = route.live,
                "a route is in force to what is no acquirer here of that mode: --acquirers names none"
            );
        }
    }
}

/// One serving process for each SQLite file: it may then take all that a crash left, at once. PostgreSQL has no such
/// lock: there any number of processes serve.
fn lock_sqlite(config: &Config, store: &Store) -> Result<Option<std::fs::File>, Error> {
    if !store.db.is_sqlite() {
        return Ok(None);
    }
    let path = config.data.join("serve.lock");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(Error::internal)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(Error::internal(format!(
            "another fuda serves {}: stop it, or use PostgreSQL for more than one",
            config.data.display()
        ))),
    }
}

/// `listens`: the base URL of this gateway's own address.
pub async fn make_app(config: &Config, store: Store, listens: &str, acquirers: Acquirers) -> Result<App, Error> {
    let checkout = config.checkout_url.as_deref().unwrap_or(listens).trim_end_matches('/');
    let sandbox = Sandbox::open(&config.sandbox_bank, &store.clock, &store.random).await;
    let sandbox =
        sandbox.map_err(|error| error.context(&format!("the sandbox bank {}", config.sandbox_bank.display())))?;
    let (books, sandbox) = (sandbox.books(), Arc::new(sandbox));
    let private = private_webhooks(config, store.directory.has_live_keys())?;
    let courier = Courier::new(Arc::new(Machine), &tls::client()?, &config.webhook_ports, private, &store.clock);
    let app = App {
        risk: Risk::load(&store.db).await?,
        bins: Bins::load(&store.db).await?,
        wallets: Wallets::load(&store.db, &store.vault).await?,
        proxies: config.trusted_proxies.clone(),
        db: store.db,
        vault: store.vault,
        directory: store.directory,
        sandbox: sandbox.clone(),
        acquirers,
        sandbox_updater: sandbox,
        checkout: checkout.into(),
        checkout_named: config.checkout_url.is_some(),
        held: Arc::new(Semaphore::new(MOST_HELD)),
        wallet_page: consent::sandbox::Sandbox::new(books.clone(), checkout, &store.clock, &store.random),
        issuer: threeds::sandbox::Sandbox::new(books, checkout, &store.clock, &store.random),
        courier,
        nudge: Arc::default(),
        clock: store.clock,
        random: store.random,
        tasks: TaskTracker::new(),
        database_ahead_ms: Arc::new(AtomicI64::new(0)),
    };
    app.read_database_clock().await?;
    Ok(app)
}

/// Whether the sandbox's webhooks may go into this machine's own network: a shop on the developer's laptop is there.
fn private_webhooks(config: &Config, live: bool) -> Result<bool, Error> {
    // Behind a proxy it listens on loopback too, and strangers may hold its test keys.
    let alone = config.checkout_url.is_none() && config.trusted_proxies.is_empty();
    let loopback = || alone && config.listen.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    match config.allow_private_webhooks {
        Some(true) if live => Err(Error::internal(
            "--allow-private-webhooks true is for sandboxes: this gateway has live keys, whose webhooks must not reach into \
             its own network. Leave it out or set it to false",
        )),
        Some(allowed) => Ok(allowed),
        None => Ok(!live && loopback()),
    }
}

/// A test entity, a merchant, and a stored card, made by the same flow that stores every card.
async fn make_sandbox(app: &App) -> Result<(NewMerchant, TokenId), Error> {
    let spec = MerchantSpec {
        legal_name: "札の店 (Fuda sandbox)".to_owned(),
        country: "JP".to_owned(),
        currencies: ["JPY", "USD", "EUR"].into_iter().filter_map(Currency::parse).collect(),
        entity: None,
        live: false,
        hold_ms: HOLD_MS,
    };
    let made = app.directory.add_merchant(spec, &app.clock, &app.random).await?;
    let caller = Caller { entity: made.entity_id, live: false };
    let broken = || Error::internal("the sandbox could not be made");
    let merchant = app.directory.merchant(caller, &made.merchant_id).ok_or_else(broken)?;
    let currency = merchant.currencies.first().copied().ok_or_else(broken)?;
    let card = Card {
        pan: Pan::parse("5200000000001005").map_err(|_| broken())?,
        expiry: Expiry { month: 12, year: 2040 },
        name: "YAMADA HANAKO".to_owned(),
    };
    let request = ChargeRequest {
        caller,
        merchant,
        purpose: Purpose::StoreCard,
        money: Money::zero(currency),
        initiator: Initiator::Customer,
        reason: Reason::Unscheduled,
        merchant_txn_ref: None,
        details: Details::default(),
        subscription: None,
        at: None,
        claim: None,
        request_id: id::request_id(app.clock.now(), &app.random),
        fault: None,
        steer: None,
        browser: None,
        body: Node::Null,
    };
    let answer = charge(app, request, CardSource::Card { card, cvc: None, store: true }).await?;
    let answer = Node::parse(answer.body.as_bytes())?;
    let token = answer.get("token").and_then(|token| token.get("id")).and_then(Node::text);
    Ok((made, token.and_then(TokenId::parse).ok_or_else(broken)?))
}

fn signal_of(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::internal)
}

async fn run(
    app: &App,
    listener: TcpListener,
    probe: Probe,
    (mut interrupt, mut terminate): (Signal, Signal),
) -> Result<(), Error> {
    let handle = Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: what is in flight is finished first");
        stopping.graceful_shutdown(Some(STOP_TIMEOUT));
    });
    let mut server = axum_server::from_tcp(listener)
        .map_err(Error::internal)?
        .acceptor(axum_server::accept::NoDelayAcceptor::new())
        .http1_only()
        // Also for a connection that says nothing at all.
        .first_request_timeout(HEAD_TIMEOUT)
        .handle(handle);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let service = http::router(app.clone(), probe).into_make_service_with_connect_info::<SocketAddr>();
    server.serve(service).await.map_err(Error::internal)
}
