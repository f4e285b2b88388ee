//! `fuda bench --risk`: the same load without a rule and with many, on one store. Each charge has a card and an address of its
//! own, as a shop's have, so that every count is a row of its own.

use super::load::{self, Measured, Operation};
use super::{Gateway, load_process};
use crate::cli::store::Store;
use crate::clock::Clock;
use crate::config::Config;
use crate::directory::Caller;
use crate::error::Error;
use crate::random::Random;
use crate::risk::asked::{self, Asked};
use crate::risk::change::{self, Added, Author};
use serde::Serialize;
use std::path::Path;

/// How many rules stand, and how many entries their lists have together.
const RULES: usize = 50;
const CARDS: usize = 500_000;
const ADDRESSES: usize = 400_000;
const BINS: usize = 100_000;

/// How long a gateway may take to read them, seconds: one is promised for rules; a list of a million is read besides.
const READ_S: u64 = 5;

#[derive(Serialize)]
pub struct RiskRun {
    engine: &'static str,
    cores: usize,
    clients: usize,
    rules: usize,
    entries: usize,
    without: Side,
    with: Side,
    percent_of_without: u64,
}

#[derive(Serialize)]
struct Side {
    payments_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    errors: u64,
}

impl Side {
    fn of(measured: &Measured, seconds: u64) -> Side {
        Side {
            payments_per_s: measured.count / seconds.max(1),
            p50_us: measured.p50_us,
            p99_us: measured.p99_us,
            errors: measured.errors,
        }
    }
}

pub async fn run(config: &Config, folder: &Path, clients: usize, seconds: u64) -> Result<RiskRun, Error> {
    let mut gateway = Gateway::start(config, &folder.join("store-risk"))?;
    let measured = both(config, &mut gateway, folder, clients, seconds).await;
    gateway.stop()?;
    let (without, with) = measured?;
    Ok(RiskRun {
        engine: if config.database_url.is_some() { "postgresql" } else { "sqlite" },
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        clients,
        rules: RULES,
        entries: CARDS + ADDRESSES + BINS,
        percent_of_without: with.payments_per_s * 100 / without.payments_per_s.max(1),
        without,
        with,
    })
}

async fn both(
    config: &Config,
    gateway: &mut Gateway,
    folder: &Path,
    clients: usize,
    seconds: u64,
) -> Result<(Side, Side), Error> {
    let merchant = load::with_cards(gateway).ok_or_else(|| Error::internal("not a request"))?;
    let once = |seconds| load_process(gateway, folder, clients, seconds, Operation::Payment);
    once(2)?;
    let without = Side::of(&once(seconds)?, seconds);
    add_rules(config, gateway, &merchant).await?;
    Clock::system().sleep(READ_S * 1_000).await;
    once(2)?;
    let with = Side::of(&once(seconds)?, seconds);
    if without.errors + with.errors > 0 {
        return Err(Error::internal("a charge was not approved: the comparison would mean nothing"));
    }
    Ok((without, with))
}

async fn add_rules(config: &Config, gateway: &Gateway, merchant: &str) -> Result<(), Error> {
    let key = gateway.folder.join("vault.key");
    let store = Store::open(&Config { data: gateway.folder.clone(), vault_key_file: key, ..config.clone() }).await?;
    let entity = store.directory.merchants().await?.first().map(|merchant| merchant.entity);
    let entity = entity.ok_or_else(|| Error::internal("the gateway has no merchant"))?;
    let author = Author { who: "bench", caller: Caller { entity, live: false }, now: store.clock.now() };
    for (kind, of_merchant, values, entries) in rules(&store.random) {
        let asked = Asked {
            kind,
            merchant: of_merchant.then_some(merchant),
            values: values.to_vec(),
            countries: if kind.ends_with("country") { vec!["KP"] } else { vec![] },
            entries: entries.iter().map(String::as_str).collect(),
        };
        let draft = asked::draft(&asked, &|_| String::new()).map_err(Error::fields)?;
        let added = change::add(&store.db, &store.random, &author, draft, |_| (vec![], vec![])).await?;
        if let Added::FirstFailed = added {
            return Err(Error::internal("a rule was not added"));
        }
    }
    store.db.close().await;
    Ok(())
}

type Wanted = (&'static str, bool, &'static [(&'static str, &'static str)], Vec<String>);

/// None refuses the load's charges: all of them are asked.
fn rules(random: &Random) -> Vec<Wanted> {
    let hex = |bytes: [u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let address = |at: usize| std::net::Ipv4Addr::from(0x0100_0000 + u32::try_from(at).unwrap_or(0) * 3).to_string();
    let hourly: &[_] = &[("limit", "100"), ("window", "1"), ("unit", "hours")];
    let mut rules: Vec<Wanted> = vec![
        ("pan_block", false, &[], (0..CARDS).map(|_| hex(random.bytes())).collect()),
        ("ip_block", false, &[], (0..ADDRESSES).map(address).collect()),
        ("bin_block", false, &[], (0..BINS).map(|at| (52_000_000 + at * 2).to_string()).collect()),
        ("card_velocity", true, hourly, vec![]),
        ("ip_velocity", true, hourly, vec![]),
    ];
    let small: [Wanted; 9] = [
        ("card_country", false, &[], vec![]),
        ("issuing_country", false, &[], vec![]),
        ("max_amount", true, &[("currency", "JPY"), ("amount", "1000000")], vec![]),
        ("min_amount", true, &[("currency", "JPY"), ("amount", "1")], vec![]),
        ("max_amount", true, &[("currency", "USD"), ("amount", "1000")], vec![]),
        ("ip_block", true, &[], vec!["1.2.3.0/24".to_owned()]),
        ("ip_allow", true, &[], vec!["128.0.0.0/1".to_owned()]),
        ("bin_block", true, &[], vec!["520000".to_owned()]),
        ("pan_block", false, &[], vec![hex(random.bytes())]),
    ];
    rules.extend(small.iter().cycle().take(RULES - rules.len()).cloned());
    rules
}

pub fn print(run: &RiskRun) {
    let RiskRun { engine, cores, clients, rules, entries, without, with, percent_of_without } = run;
    println!("{engine} on {cores} cores, {clients} client(s), each charge with a card and an address of its own");
    for (name, side) in [("without a rule".to_owned(), without), (format!("{rules} rules, {entries} entries"), with)] {
        let Side { payments_per_s, p50_us, p99_us, .. } = side;
        println!("{name}: {payments_per_s} payments/s, p50 {p50_us} us, p99 {p99_us} us");
    }
    println!("with them {percent_of_without} % of without; a velocity rule each for cards and addresses is among them");
}
