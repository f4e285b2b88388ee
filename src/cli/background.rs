//! What happens beside the requests, in every process: the worker's looks, changes of keys, the database's clock, the
//! ledger's seals, what is forgotten in time, the gauges.

use crate::app::App;
use crate::clock::Clock;
use crate::directory::REFRESH_MS;
use crate::error::Error;
use crate::jobs::{self, KINDS};
use crate::ledger::chain::Sealer;
use crate::pay::teller::{self, Teller};
use crate::pay::worker::{self, Worker};
use crate::pay::{idempotency, recover, retention};
use crate::risk;
use crate::wallet;
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the ledger is sealed, milliseconds.
const SEAL_MS: u64 = 5_000;

/// The shortest time between two rounds of webhooks, milliseconds.
const GATHER_MS: u64 = 10;

/// How often old keys and cards are looked for, milliseconds.
const FORGET_MS: u64 = 60_000;

/// Each by itself: a bank or a long sweep that hangs must not stop the clock and the gauges.
pub async fn run(app: App, metrics: PrometheusHandle, stop: CancellationToken) {
    let worker = Worker::new(&app);
    let sealer = Arc::new(Mutex::new(Sealer::default()));
    let currencies = Arc::new(Mutex::new(BTreeSet::new()));
    let [sealing, refreshing, judging, looking_up, opening, forgetting, measuring] =
        std::array::from_fn(|_| app.clone());
    let working: Vec<_> = (0..worker::TAKEN.len())
        .map(|row| {
            let (worker, ended) = (worker.clone(), stop.clone());
            every(worker::ROUND_MS, "work", &app.clock, &stop, move || {
                let (worker, ended) = (worker.clone(), ended.clone());
                async move { worker.drain(row, &ended).await }
            })
        })
        .collect();
    let running = [
        every(SEAL_MS, "seal the ledger", &app.clock, &stop, move || {
            let (app, sealer) = (sealing.clone(), sealer.clone());
            async move { sealer.lock().await.round(&app.db, &app.vault, app.clock.now()).await }
        }),
        every(REFRESH_MS, "read the directory", &app.clock, &stop, move || {
            let app = refreshing.clone();
            async move { app.directory.refresh().await }
        }),
        every(REFRESH_MS, "read the risk rules", &app.clock, &stop, move || {
            let app = judging.clone();
            async move { app.risk.refresh(&app.db).await }
        }),
        every(REFRESH_MS, "read the BIN table", &app.clock, &stop, move || {
            let app = looking_up.clone();
            async move { app.bins.refresh().await }
        }),
        every(REFRESH_MS, "read the wallets", &app.clock, &stop, move || {
            let app = opening.clone();
            async move { app.wallets.refresh(&app.db, &app.vault).await }
        }),
        every(FORGET_MS, "forget what is old", &app.clock, &stop, move || {
            let app = forgetting.clone();
            async move { forget(&app).await }
        }),
        every(worker::ROUND_MS, "measure", &app.clock, &stop, move || {
            let (app, metrics, currencies) = (measuring.clone(), metrics.clone(), currencies.clone());
            async move {
                metrics.run_upkeep();
                measure(&app, &currencies).await
            }
        }),
    ];
    let telling = tokio::spawn(tell(app.clone(), stop.clone()));
    for task in working.into_iter().chain(running).chain([telling]) {
        if task.await.is_err() {
            tracing::error!("a background task panicked");
        }
    }
}

/// Until the stop; a round that fails is logged, and the next one tries again.
fn every<Round>(
    ms: u64,
    what: &'static str,
    clock: &Clock,
    stop: &CancellationToken,
    mut round: impl FnMut() -> Round + Send + 'static,
) -> tokio::task::JoinHandle<()>
where
    Round: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (clock, stop) = (clock.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            // In a task of its own: a round that panics is not the last one.
            match tokio::spawn(round()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(cause = error.cause(), what, "a background round failed: the next one tries again");
                }
                Err(_) => tracing::error!(what, "a background round panicked: the next one tries again"),
            }
            if stop.run_until_cancelled(clock.sleep(ms)).await.is_none() {
                return;
            }
        }
    })
}

/// The teller's rounds: each second, and at once when this process has something to tell.
async fn tell(app: App, stop: CancellationToken) {
    let teller = Teller::new(&app);
    loop {
        let teller = teller.clone();
        match tokio::spawn(async move { teller.round().await }).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(cause = error.cause(), "a round of webhooks failed: the next one tries again")
            }
            Err(_) => tracing::error!("a round of webhooks panicked: the next one tries again"),
        }
        // What comes in this while is taken together.
        app.clock.sleep(GATHER_MS).await;
        let waited = stop.run_until_cancelled(app.clock.within(worker::ROUND_MS, app.nudge.notified())).await;
        if waited.is_none() {
            return;
        }
    }
}

async fn forget(app: &App) -> Result<(), Error> {
    idempotency::purge(app).await?;
    // A long past is gone through at once, in small writes.
    while retention::round(app).await? > 0 {}
    for entity in app.directory.clocked() {
        retention::of_entity(app, entity).await?;
    }
    while retention::events(app).await? > 0 {}
    while retention::links(app).await? > 0 {}
    app.issuer.forget().await?;
    app.wallet_page.forget().await?;
    while risk::change::forget(&app.db, app.database_now()).await? {}
    while wallet::once::forget(&app.db, app.clock.now()).await? {}
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // gauges are floats; no money is computed here
async fn measure(app: &App, currencies: &Mutex<BTreeSet<String>>) -> Result<(), Error> {
    app.read_database_clock().await?;
    let now = app.database_now();
    let seconds = |since: Option<i64>| since.map_or(0.0, |at| (now - at).max(0) as f64 / 1000.0);
    let risk = recover::unsettled(&app.db).await?;
    metrics::gauge!("fuda_unsettled").set(risk.iter().map(|one| one.count).sum::<i64>() as f64);
    let oldest = risk.iter().map(|one| one.oldest).min();
    metrics::gauge!("fuda_unsettled_oldest_seconds").set(seconds(oldest));
    let mut currencies = currencies.lock().await;
    // What is settled by now goes back to nothing.
    for currency in currencies.iter() {
        metrics::gauge!("fuda_unsettled_amount_minor", "currency" => currency.clone()).set(0.0);
    }
    for one in risk {
        metrics::gauge!("fuda_unsettled_amount_minor", "currency" => one.currency.clone()).set(one.amount_minor as f64);
        currencies.insert(one.currency);
    }
    metrics::gauge!("fuda_waiting").set(jobs::planned(&app.db, jobs::Kind::Abandon).await? as f64);
    for kind in KINDS {
        let (count, oldest) = jobs::waiting(&app.db, kind, now, worker::lease_ms(app).max(teller::LEASE_MS)).await?;
        metrics::gauge!("fuda_jobs_due", "kind" => kind.name()).set(count as f64);
        metrics::gauge!("fuda_job_oldest_due_seconds", "kind" => kind.name()).set(seconds(oldest));
    }
    Ok(())
}
