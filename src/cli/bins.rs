//! `fuda bin`: the table that tells a card's country and funding. It works while gateways run, which see it in a second.

use super::books::operator;
use super::store::Store;
use crate::bins::file::{self, Found, Wrong};
use crate::bins::table::{DIGITS, Stretch, Table, widen};
use crate::bins::{Bins, Change};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::error::Error;
use clap::Subcommand;
use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// The most stretches that `show` prints.
const SHOWN: usize = 50;

const FORMAT: &str = "The file is CSV, UTF-8; its first line names the columns, in any order:\n  \
    bin             6 to 11 digits; or bin_start and bin_end for a range\n  \
    country         where the card is issued, two letters (ISO 3166-1)\n  \
    issuer_country  where its issuer is established; empty: as country\n  \
    funding         credit, debit, prepaid or charge\n  \
    scheme          VISA, MASTERCARD, AMEX, JCB, DINERS, DISCOVER or UNIONPAY\n  \
    issuer          a name of at most 100 characters\n\
    All but the digits may be missing or empty; other columns are passed over. Where ranges overlap, the narrowest \
    counts. Lines that begin with # are comments.\n\n\
    Examples:\n  fuda bin import bins.csv\n  zcat bins.csv.gz | fuda bin import - --json";

#[derive(Subcommand)]
pub enum BinCommand {
    /// Put a file in the place of the imported table, all of it or nothing
    #[command(after_help = FORMAT)]
    Import {
        /// The file, or - for standard input
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What is known of the first digits of a card number
    #[command(after_help = "Example:\n  fuda bin show 411111")]
    Show {
        /// 6 to 11 digits, never a whole number
        bin: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove the imported table; the built-in one stays
    Clear {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub async fn bin(config: &Config, command: BinCommand) -> Result<(), Error> {
    // Before anything is opened: a whole number goes no further.
    let shown = match &command {
        BinCommand::Show { bin, .. } => Some(span(bin)?),
        _ => None,
    };
    let store = Store::open_existing(config).await?;
    let done = match command {
        BinCommand::Import { file, json } => import(&store, &file, json).await,
        BinCommand::Show { json, .. } => show(&store, shown.unwrap_or_default(), json).await,
        BinCommand::Clear { json } => clear(&store, json).await,
    };
    store.db.close().await;
    done
}

fn span(digits: &str) -> Result<(u64, u64), Error> {
    widen(digits).ok_or_else(|| {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ' || byte == b'-');
        Error::internal(if all && digits.len() > DIGITS {
            "a whole card number must not stand on a command line: give its first 6 to 11 digits, and clear your history"
        } else {
            "BIN takes the first 6 to 11 digits of a card number"
        })
    })
}

async fn import(store: &Store, path: &Path, json: bool) -> Result<(), Error> {
    let started = Stopwatch::start();
    let loud = !json && std::io::stderr().is_terminal();
    let found = read(path, loud)?;
    let Found { table, ranges, ignored } = found;
    let detail = format!("{ranges} ranges");
    let who = operator();
    let change = Change { who: &who, action: "bin.import", detail: &detail, now: store.clock.now() };
    let bins = Bins::load(&store.db).await?;
    let generation = bins.replace(&table, &change).await?;
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if json {
        let line =
            serde_json::json!({"ranges": ranges, "generation": generation, "ignored_columns": ignored, "ms": ms});
        println!("{line}");
        return Ok(());
    }
    println!("{ranges} ranges are imported in {} ms; every gateway uses them within a second.", ms);
    if !ignored.is_empty() {
        println!(
            "Columns that were passed over: {}. The known ones: {}.",
            ignored.join(", "),
            file::COLUMNS.join(", ")
        );
    }
    println!("To look something up: fuda bin show 411111");
    Ok(())
}

fn read(path: &Path, loud: bool) -> Result<Found, Error> {
    let mut progress = |lines: u64| {
        if loud {
            eprint!("\r{lines} lines read");
        }
    };
    let found = if path == Path::new("-") {
        file::read(std::io::stdin().lock(), &mut progress)
    } else {
        let opened = File::open(path);
        let opened = opened.map_err(|error| Error::internal(format!("cannot open {}: {error}", path.display())))?;
        file::read(opened, &mut progress)
    };
    if loud {
        eprintln!();
    }
    found.map_err(|faults| refusal(path, &faults))
}

/// Every fault has a line of its own; the last says what became of it all.
fn refusal(path: &Path, faults: &[Wrong]) -> Error {
    let say = |fault: &Wrong| match (fault.line, fault.field) {
        (0, _) => fault.message.clone(),
        (line, "") => format!("line {line} {}", fault.message),
        (line, field) => format!("line {line}: {field} {}", fault.message),
    };
    match faults {
        [only] => Error::internal(format!("{}: {}: nothing was imported", path.display(), say(only))),
        _ => {
            for fault in faults {
                eprintln!("{}", say(fault));
            }
            let more = if faults.len() >= file::NAMED { "these faults or more" } else { "these faults" };
            Error::internal(format!("{} has {more}: nothing was imported", path.display()))
        }
    }
}

async fn clear(store: &Store, json: bool) -> Result<(), Error> {
    let who = operator();
    let change = Change { who: &who, action: "bin.clear", detail: "", now: store.clock.now() };
    let generation = Bins::load(&store.db).await?.replace(&Table::default(), &change).await?;
    if json {
        println!("{}", serde_json::json!({"ranges": 0, "generation": generation}));
    } else {
        println!("The imported table is removed; the built-in one remains.");
    }
    Ok(())
}

async fn show(store: &Store, (first, last): (u64, u64), json: bool) -> Result<(), Error> {
    let known = Bins::load(&store.db).await?.known(first, last, SHOWN);
    if json {
        let ranges: Vec<_> = known.stretches.iter().map(object).collect();
        let table = if known.imported { "imported" } else { "built-in" };
        println!("{}", serde_json::json!({"table": table, "ranges": ranges, "more": known.more}));
        return Ok(());
    }
    if known.stretches.is_empty() {
        println!("Nothing is known of it. To import a table: fuda bin import FILE.csv");
        return Ok(());
    }
    for stretch in &known.stretches {
        println!("{}", line(stretch));
    }
    if known.more {
        println!("… and more: give more digits.");
    }
    if !known.imported {
        println!("This is from the built-in table. To import one: fuda bin import FILE.csv");
    }
    Ok(())
}

/// As few digits as say it: 400000 and not 40000000000–40000099999.
fn shortest(stretch: &Stretch) -> (String, String) {
    let (mut first, mut last) = (format!("{:011}", stretch.first), format!("{:011}", stretch.last));
    while first.len() > 6 && first.ends_with('0') && last.ends_with('9') {
        first.pop();
        last.pop();
    }
    (first, last)
}

fn object(stretch: &Stretch) -> serde_json::Value {
    let (first, last) = shortest(stretch);
    let bin = &stretch.bin;
    serde_json::json!({
        "bin_start": first, "bin_end": last, "country": bin.country, "issuer_country": bin.issuer_country,
        "funding": bin.funding.map(|funding| funding.name()), "scheme": bin.scheme.map(|scheme| scheme.name()),
        "issuer": bin.issuer,
    })
}

fn line(stretch: &Stretch) -> String {
    let (first, last) = shortest(stretch);
    let range = if first == last { first } else { format!("{first}–{last}") };
    let bin = &stretch.bin;
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let issuer_country = or_dash(bin.issuer_country.as_deref());
    format!(
        "{range:<23}  card {}  issuer {issuer_country}  {:<7}  {:<10}  {}",
        or_dash(bin.country.as_deref()),
        or_dash(bin.funding.map(|funding| funding.name())),
        or_dash(bin.scheme.map(|scheme| scheme.name())),
        or_dash(bin.issuer.as_deref()),
    )
}
