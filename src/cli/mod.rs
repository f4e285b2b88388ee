//! The command line. Exit codes: 0 done, 1 refused or failed, 2 not understood.

mod acquirers;
mod background;
mod bench;
mod bins;
mod books;
mod curl;
mod keys;
mod look;
mod reconcile;
mod retries;
mod routes;
mod rules;
mod sandbox_bank;
mod serve;
mod store;
mod subscriptions;
mod three_ds;
mod wallets;
mod webhooks;

use crate::config::{Config, GlobalArgs, ServeArgs};
use crate::error::Error;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Fuda, a card payment gateway with a token vault. Without a subcommand it serves.
#[derive(Parser)]
#[command(
    name = "fuda",
    version,
    after_help = "Examples:\n  fuda\n  fuda serve --listen 0.0.0.0:8080 --data /var/lib/fuda\n  \
    fuda merchant add --legal-name 'アイベック株式会社' --country JP --currency JPY,USD --json\n  fuda key list\n  \
    fuda acquirer check acme --acquirers acquirers.toml\n  fuda bench"
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the gateway; on an empty data folder with a sandbox
    Serve(ServeArgs),
    /// Add and list merchants
    #[command(subcommand)]
    Merchant(keys::MerchantCommand),
    /// Make, list, limit and revoke key pairs
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Add, list, remove and try risk rules
    #[command(subcommand)]
    Rule(rules::RuleCommand),
    /// Say by which acquirer a merchant's payments go
    #[command(subcommand)]
    Route(routes::RouteCommand),
    /// Import and look up what a card number's first digits tell
    #[command(subcommand)]
    Bin(bins::BinCommand),
    /// Set up which wallets' tokens a merchant takes: Google Pay, Apple Pay
    #[command(subcommand)]
    Wallet(wallets::WalletCommand),
    /// List and settle what has no known result
    Transactions(books::TransactionsArgs),
    /// List, show and cancel subscriptions
    #[command(subcommand)]
    Subscriptions(subscriptions::SubscriptionsCommand),
    /// Check the ledger, show its balances
    #[command(subcommand)]
    Ledger(books::LedgerCommand),
    /// Compare with the acquirer's own record; exit 1 when they differ
    Reconcile(reconcile::ReconcileArgs),
    /// Look at what merchants were told, send it again, change the signing secret
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// List the acquirers of the acquirers file, and see whether one answers
    #[command(subcommand)]
    Acquirer(acquirers::AcquirerCommand),
    /// Run the sandbox's bank as a host of its own that speaks ISO 8583
    SandboxBank(sandbox_bank::SandboxBankArgs),
    /// Measure payments per second on this machine, beside the bare engine
    Bench(bench::BenchArgs),
    /// Bring the database to this version's schema
    Migrate {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// As a shell counts a program that wrote to a pipe nobody reads any more (SIGPIPE).
const PIPE_CLOSED: i32 = 128 + 13;

/// `fuda key list | head -1` is no fault: the end comes without a word.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(PIPE_CLOSED);
        }
        usual(info);
    }));
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if !matches!(cli.command, None | Some(Command::Serve(_) | Command::SandboxBank(_))) {
        end_with_the_reader();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fuda: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuda: {}", error.cause());
            ExitCode::from(1)
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    let serve_args = match &cli.command {
        Some(Command::Serve(args)) => args.clone(),
        // The plain `fuda` takes serve's settings from the environment.
        None => ServeArgs::from_environment(),
        _ => ServeArgs::default(),
    };
    let config = Config::read(&cli.global, &serve_args)?;
    match cli.command {
        None | Some(Command::Serve(_)) => serve::serve(config).await,
        Some(Command::Merchant(command)) => keys::merchant(&config, command).await,
        Some(Command::Key(command)) => keys::key(&config, command).await,
        Some(Command::Rule(command)) => rules::rule(&config, command).await,
        Some(Command::Route(command)) => routes::route(&config, command).await,
        Some(Command::Bin(command)) => bins::bin(&config, command).await,
        Some(Command::Wallet(command)) => wallets::wallet(&config, command).await,
        Some(Command::Transactions(args)) => books::transactions(&config, args).await,
        Some(Command::Subscriptions(command)) => subscriptions::subscriptions(&config, command).await,
        Some(Command::Ledger(command)) => books::ledger(&config, command).await,
        Some(Command::Reconcile(args)) => reconcile::reconcile(&config, args).await,
        Some(Command::Webhooks(command)) => webhooks::webhooks(&config, command).await,
        Some(Command::Acquirer(command)) => acquirers::acquirer(&config, command).await,
        Some(Command::SandboxBank(args)) => sandbox_bank::sandbox_bank(&config, args).await,
        Some(Command::Bench(args)) => bench::bench(&config, args).await,
        Some(Command::Migrate { json }) => store::migrate(&config, json).await,
    }
}
