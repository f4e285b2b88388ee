//! Logs on standard error, metrics for `/metrics`, and the promise that a crash leaves no card in a core file.

use crate::error::Error;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// `FUDA_LOG` sets the level, as `RUST_LOG` does; `info` by default. Libraries' own traces stay off at any level: they
/// print buffers, and a buffer may hold a card.
pub fn start_logs(json: bool) {
    let asked = std::env::var("FUDA_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_else(|_| "info".to_owned());
    let quiet = "hyper=info,hyper_util=info,h2=info,rustls=info,tokio_postgres=info,axum_server=info";
    let filter = EnvFilter::try_new(format!("{asked},{quiet}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // Where nobody reads the log any more there is nobody to tell.
        .log_internal_errors(false)
        .with_ansi(colours);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    if started.is_err() {
        eprintln!("fuda: logs were started twice");
    }
}

pub fn start_metrics() -> Result<PrometheusHandle, Error> {
    let buckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];
    let handle = PrometheusBuilder::new()
        .set_buckets(&buckets)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Error::internal)?;
    metrics::describe_counter!("fuda_transactions_total", "Transactions that ended, by kind and state");
    metrics::describe_counter!("fuda_not_sent_total", "Messages that never left, by acquirer and why");
    metrics::describe_counter!("fuda_settled_total", "Transactions without an answer whose result is known now");
    metrics::describe_counter!("fuda_http_requests_total", "Answers, by class of status");
    metrics::describe_counter!(
        "fuda_slowed_down_total",
        "Charges put off by the defence against card testing, by source"
    );
    metrics::describe_gauge!(
        "fuda_risk_rules_unreadable",
        "Risk rules that are not in force because they cannot be read"
    );
    metrics::describe_gauge!("fuda_acquirer_up", "Connections to an acquirer's host that are up");
    metrics::describe_gauge!("fuda_acquirer_in_flight", "Messages to an acquirer that have no answer yet");
    metrics::describe_counter!("fuda_acquirer_connected_total", "Connections to an acquirer's host that came up");
    metrics::describe_counter!(
        "fuda_acquirer_late_answers_total",
        "An acquirer's answers that nobody waited for any more"
    );
    metrics::describe_histogram!("fuda_http_seconds", "Time from request to answer");
    metrics::describe_gauge!("fuda_unsettled", "Transactions without a known result");
    metrics::describe_gauge!("fuda_unsettled_oldest_seconds", "Age of the oldest of them");
    metrics::describe_gauge!("fuda_unsettled_amount_minor", "Money without a known result, by currency");
    metrics::describe_gauge!("fuda_jobs_due", "Jobs that are due or being worked on, by kind");
    metrics::describe_gauge!("fuda_job_oldest_due_seconds", "How long the oldest due job is due, by kind");
    Ok(handle)
}

/// No core file, no debugger of another user: memory holds card numbers for the length of a call.
pub fn forbid_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let hidden = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if limited.is_err() || hidden.is_err() {
        tracing::warn!("core files could not be disabled: a crash may write memory to disk");
    }
}
