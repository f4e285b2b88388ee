//! `fuda acquirer`: which acquirers are set up, and whether one answers.

use crate::acceptor::Acceptor;
use crate::acquirer::Outcome;
use crate::acquirer::iso8583::check::{self, Exchange, Shown, Subject, Told};
use crate::acquirer::iso8583::config::{self, Settings};
use crate::acquirer::iso8583::dialect::GENERIC;
use crate::card::{Card, Expiry, Pan};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::money::{Currency, Money};
use crate::random::Random;
use crate::response_codes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

#[derive(Subcommand)]
pub enum AcquirerCommand {
    /// List the acquirers of the acquirers file
    #[command(after_help = "Example:\n  fuda acquirer list --acquirers acquirers.toml")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the built-in dialect, generic-1987, to begin one of your own with
    #[command(after_help = "Example:\n  fuda acquirer dialect > acme.toml")]
    Dialect,
    /// Sign on to a host, ask for an echo, verify a card, and print each message, masked
    #[command(
        after_help = "It charges nothing: a card is verified with an amount of zero. Card numbers are shown by their first six and last four \
        digits, expiry dates not at all. The verification stands in the host's record and not in ours: reconcile with the host's own \
        file shows it. Exit code 1 when something was not answered with a yes. It makes a connection of its own and needs no \
        database; where a host takes one connection only, stop the gateway first.\n\nExamples:\n  \
        fuda acquirer check acme --acquirers acquirers.toml\n  \
        echo '4000000000001091 12/40' | fuda acquirer check acme --acquirers acquirers.toml --card-stdin --terminal 00000001 \
        --acceptor 000000000000001"
    )]
    Check(CheckArgs),
}

#[derive(Args)]
pub struct CheckArgs {
    /// The acquirer's name in the acquirers file
    name: String,
    /// Read the card from standard input: number, then expiry as MM/YY [default: a test card of the sandbox; none for a live
    /// acquirer]
    #[arg(long)]
    card_stdin: bool,
    /// Terminal ID (ISO 8583, field 41)
    #[arg(long, value_name = "ID", default_value = "00000001")]
    terminal: String,
    /// Acceptor, the merchant ID at the acquirer (field 42)
    #[arg(long, value_name = "ID", default_value = "000000000000001")]
    acceptor: String,
    /// Currency of the amount of zero
    #[arg(long, default_value = "JPY")]
    currency: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn acquirer(config: &Config, command: AcquirerCommand) -> Result<(), Error> {
    match command {
        AcquirerCommand::Dialect => {
            print!("{}", GENERIC.1);
            Ok(())
        }
        AcquirerCommand::List { json } => {
            let (_, all) = file(config)?;
            for (name, one) in &all {
                check::read(one).map_err(|error| error.context(&format!("acquirers.{name}.dialect")))?;
            }
            list(&all, json);
            Ok(())
        }
        AcquirerCommand::Check(args) => {
            let (path, all) = file(config)?;
            let unknown = || {
                let names: Vec<&str> = all.keys().map(String::as_str).collect();
                let others =
                    if names.is_empty() { "and no other".to_owned() } else { format!("only: {}", names.join(", ")) };
                Error::internal(format!("{} has no acquirer of that name, {others}", path.display()))
            };
            check(all.get(&args.name).ok_or_else(unknown)?, &args).await
        }
    }
}

fn file(config: &Config) -> Result<(&Path, BTreeMap<String, Settings>), Error> {
    let path = config.acquirers.as_deref();
    let path = path.ok_or_else(|| Error::internal("name the acquirers file: --acquirers FILE or FUDA_ACQUIRERS"))?;
    Ok((path, config::read(path)?))
}

fn mode(settings: &Settings) -> &'static str {
    if settings.live() { "live" } else { "test" }
}

fn list(all: &BTreeMap<String, Settings>, json: bool) {
    if json {
        let rows = all.iter().map(|(name, one)| {
            json!({"name": name, "protocol": "iso8583", "mode": mode(one), "address": one.address, "dialect": one.dialect,
                "tls": one.tls.is_some(), "connections": one.connections})
        });
        println!("{}", json!({"acquirers": rows.collect::<Vec<_>>()}));
        return;
    }
    if all.is_empty() {
        println!("No acquirer: the file has no [acquirers.NAME].");
        return;
    }
    for (name, one) in all {
        let tls = if one.tls.is_some() { "TLS" } else { "plain TCP" };
        println!("{name}  {}  {}  {tls}  {}", mode(one), one.address, one.dialect);
    }
    println!("To see whether one answers: fuda acquirer check NAME");
}

async fn check(settings: &Settings, args: &CheckArgs) -> Result<(), Error> {
    let subject = subject(settings, args)?;
    let (clock, random) = (Clock::system(), Random::system());
    let Told { exchanges, error } = check::check(settings, subject.as_ref(), (&clock, &random)).await;
    let good = error.is_none() && exchanges.last().is_some_and(Exchange::good);
    if args.json {
        let rows: Vec<Value> = exchanges.iter().map(row).collect();
        let error = error.as_ref().map(Error::cause);
        println!("{}", json!({"acquirer": args.name, "ok": good, "exchanges": rows, "error": error}));
    } else {
        println!("{} ({}) at {}, {}", args.name, mode(settings), settings.address, settings.dialect);
        exchanges.iter().for_each(print);
        if subject.is_none() {
            println!("\nNo card was verified: give one of the acquirer's by --card-stdin.");
        }
        if good {
            println!(
                "\nIt answers. Next: fuda route add --merchant ID --acquirer {} --terminal T --acceptor A",
                args.name
            );
        }
    }
    match error {
        Some(error) => Err(error),
        None if good => Ok(()),
        None => Err(Error::internal("not everything was answered with a yes")),
    }
}

/// No card of ours goes to a live host by itself.
fn subject(settings: &Settings, args: &CheckArgs) -> Result<Option<Subject>, Error> {
    let acceptor = Acceptor::parse(&args.terminal, &args.acceptor, None, None);
    let acceptor = acceptor.map_err(|wrong| Error::internal(wrong.message()))?;
    let currency = Currency::parse(&args.currency);
    let currency = currency.ok_or_else(|| Error::internal("--currency is no ISO 4217 code"))?;
    let name = String::new();
    let card = match (args.card_stdin, settings.live()) {
        (false, true) => return Ok(None),
        (false, false) => {
            let pan = Pan::parse("4000000000001091").map_err(|_| Error::internal("the sandbox's card is none"))?;
            Card { pan, expiry: Expiry { month: 12, year: 2040 }, name }
        }
        (true, _) => {
            let mut text = zeroize::Zeroizing::new(String::new());
            std::io::stdin().take(64).read_to_string(&mut text).map_err(Error::internal)?;
            let wrong = || Error::internal("standard input is not a card number and its expiry as MM/YY");
            let (number, expiry) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
            let (month, year) = expiry.trim().split_once('/').ok_or_else(wrong)?;
            let pan = Pan::parse(number).map_err(|_| wrong())?;
            Card { pan, expiry: Expiry::parse(month, year).map_err(|_| wrong())?, name }
        }
    };
    Ok(Some(Subject { card, acceptor, money: Money::zero(currency) }))
}

fn verdict(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Approved(_) => "yes".to_owned(),
        Outcome::Declined { response_code } => {
            let meaning = response_codes::find(*response_code).map_or("", |row| row.en);
            format!("no: {response_code} {meaning}")
        }
        Outcome::Unknown { why } | Outcome::NotSent { why } => format!("no result: {why}"),
    }
}

fn print(one: &Exchange) {
    let fields = |shown: &Shown| {
        for (number, name, value) in &shown.fields {
            println!("  {number:>7}  {name:<44} {value}");
        }
    };
    println!("\n{} {}", one.sent.mti, one.kind);
    fields(&one.sent);
    match &one.answered {
        Some((answered, outcome)) => {
            println!("{} after {} ms: {}", answered.mti, one.ms, verdict(outcome));
            fields(answered);
        }
        None => println!("no answer, {} ms", one.ms),
    }
}

fn row(one: &Exchange) -> Value {
    let shown = |shown: &Shown| {
        let fields =
            shown.fields.iter().map(|(number, name, value)| json!({"field": number, "name": name, "value": value}));
        json!({"mti": shown.mti, "fields": fields.collect::<Vec<_>>()})
    };
    let answered = one.answered.as_ref();
    json!({"message": one.kind, "sent": shown(&one.sent), "answered": answered.map(|(answer, _)| shown(answer)),
        "verdict": answered.map(|(_, outcome)| verdict(outcome)), "ms": one.ms})
}
