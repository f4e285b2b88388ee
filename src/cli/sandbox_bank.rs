//! `fuda sandbox-bank`: the sandbox's bank as a process of its own, behind ISO 8583: what a gateway's line can be tried against.

use crate::acquirer::iso8583::dialect::GENERIC;
use crate::acquirer::iso8583::host::Host;
use crate::acquirer::sandbox::Sandbox;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::random::Random;
use crate::telemetry;
use clap::Args;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
#[command(
    after_help = "It answers by card number, as the sandbox does, and keeps its books in the file of --sandbox-bank: not the file \
    of a gateway that serves.\n\nExamples:\n  fuda sandbox-bank --listen 127.0.0.1:8583 --sandbox-bank host.db\n  \
    fuda sandbox-bank --listen 127.0.0.1:8583 --sandbox-bank host.db --dialect acme.toml\n  \
    fuda reconcile --acquirer acme --sandbox-bank host.db"
)]
pub struct SandboxBankArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// A dialect that is built in, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = GENERIC.0)]
    dialect: String,
}

pub async fn sandbox_bank(config: &Config, args: SandboxBankArgs) -> Result<(), Error> {
    telemetry::start_logs(config.json_logs);
    telemetry::forbid_dumps();
    let (clock, random) = (Clock::system(), Random::system());
    if let Some(folder) = config.sandbox_bank.parent() {
        std::fs::create_dir_all(folder).map_err(Error::internal)?;
    }
    let bank = Sandbox::open(&config.sandbox_bank, &clock, &random).await;
    let bank = bank.map_err(|error| error.context(&format!("the books {}", config.sandbox_bank.display())))?;
    let books = bank.books();
    let host = Arc::new(Host::new(bank, &args.dialect, &clock)?);
    let listener = TcpListener::bind(&args.listen).await;
    let listener = listener.map_err(|error| Error::internal(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(Error::internal)?;
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt()).map_err(Error::internal)?,
        signal(SignalKind::terminate()).map_err(Error::internal)?,
    );
    println!("The sandbox bank listens on {address}, dialect {} (Ctrl-C stops it).", args.dialect);
    println!("In an acquirers file:\n\n[acquirers.acme]\nprotocol = \"iso8583\"\ndialect = {:?}", args.dialect);
    println!("mode = \"test\"\naddress = \"{address}\"\n");
    let serving = tokio::spawn(host.serve(listener));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    serving.abort();
    books.close().await;
    Ok(())
}
