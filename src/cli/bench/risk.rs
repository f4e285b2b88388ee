//! `fuda bench --risk`: the same load of two entities of one gateway, one without a rule and one with many, in turns of a few
//! seconds, so that a machine that others use too weighs on both alike. Each charge has a card and an address of its own, as
//! a shop's have, so that every count is a row of its own.

use super::load::{self, Measured, Operation};
use super::{Gateway, load_process};
use crate::cli::store::Store;
use crate::clock::Clock;
use crate::config::Config;
use crate::directory::{Caller, HOLD_MS, MerchantSpec, NewMerchant};
use crate::error::Error;
use crate::money::Currency;
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

/// How long a gateway may take to read them, milliseconds: one second is promised for rules; a list of a million is read
/// besides.
const READ_MS: u64 = 5_000;

/// How often each of the two has its turn.
const TURNS: usize = 6;

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

/// Sums over all turns; the percentiles are the median turn's.
#[derive(Serialize)]
struct Side {
    payments_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    /// User and system time of the gateway's process for one payment.
    cpu_us_per_payment: u64,
}

/// One side's turns so far.
#[derive(Default)]
struct Turns {
    count: u64,
    cpu_us: u64,
    p50_us: Vec<u64>,
    p99_us: Vec<u64>,
}

impl Turns {
    fn add(&mut self, measured: &Measured, cpu_us: u64) -> Result<(), Error> {
        if measured.errors > 0 {
            return Err(Error::internal("a charge was not approved: the comparison would mean nothing"));
        }
        self.count += measured.count;
        self.cpu_us += cpu_us;
        self.p50_us.push(measured.p50_us);
        self.p99_us.push(measured.p99_us);
        Ok(())
    }

    fn side(mut self, seconds: u64) -> Side {
        let median = |times: &mut Vec<u64>| {
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or(0)
        };
        let all = seconds.max(1) * u64::try_from(TURNS).unwrap_or(1);
        Side {
            payments_per_s: self.count / all,
            p50_us: median(&mut self.p50_us),
            p99_us: median(&mut self.p99_us),
            cpu_us_per_payment: self.cpu_us / self.count.max(1),
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
    let broken = || Error::internal("not a request");
    let plain = load::with_cards(&gateway.request).ok_or_else(broken)?;
    let judged = ruled_entity(config, gateway).await?;
    let judged = load::with_keys(&plain, &judged).ok_or_else(broken)?;
    Clock::system().sleep(READ_MS).await;
    let (mut without, mut with) = (Turns::default(), Turns::default());
    for turn in 0..=TURNS {
        let mut sides = [(&plain, &mut without), (&judged, &mut with)];
        if turn % 2 == 1 {
            sides.reverse();
        }
        for (request, turns) in sides {
            gateway.request.clone_from(request);
            let before = gateway.cpu_us();
            let measured = load_process(gateway, folder, clients, seconds, Operation::Payment)?;
            let after = gateway.cpu_us();
            // The first warms up.
            if turn > 0 {
                turns.add(&measured, after.0 + after.1 - before.0 - before.1)?;
            }
        }
    }
    Ok((without.side(seconds), with.side(seconds)))
}

/// One more entity of the gateway's store, with the rules.
async fn ruled_entity(config: &Config, gateway: &Gateway) -> Result<NewMerchant, Error> {
    let key = gateway.folder.join("vault.key");
    let store = Store::open(&Config { data: gateway.folder.clone(), vault_key_file: key, ..config.clone() }).await?;
    let spec = MerchantSpec {
        legal_name: "Bench".to_owned(),
        country: "JP".to_owned(),
        currencies: Currency::parse("JPY").into_iter().collect(),
        entity: None,
        live: false,
        hold_ms: HOLD_MS,
    };
    let made = store.directory.add_merchant(spec, &store.clock, &store.random).await?;
    let caller = Caller { entity: made.entity_id, live: false };
    let author = Author { who: "bench", caller, now: store.clock.now() };
    for (kind, of_merchant, values, entries) in rules(&store.random) {
        let asked = Asked {
            kind,
            merchant: of_merchant.then_some(made.merchant_id.as_str()),
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
    Ok(made)
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
        let Side { payments_per_s, p50_us, p99_us, cpu_us_per_payment } = side;
        println!("{name}: {payments_per_s} payments/s, p50 {p50_us} us, p99 {p99_us} us, CPU {cpu_us_per_payment} us");
    }
    println!("with them {percent_of_without} % of without; a velocity rule each for cards and addresses is among them");
}
