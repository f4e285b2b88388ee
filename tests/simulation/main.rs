//! The simulation: the real flows, from HTTP to the store, on a clock that leaps, with chance from a seed, a store and a bank
//! that misbehave, clients that hang up, and processes that die between any two steps. After each seed the invariants are
//! checked; a failure prints its seed, and the seed repeats it.
//!
//! `cargo fuda-sim --seeds 100000` runs as many as asked, `cargo fuda-sim --seed 7` one.

#![allow(clippy::disallowed_methods)] // a simulation owns its time

mod bank;
mod cardholder;
mod checks;
mod client;
mod line;
mod merchant;
mod names;
mod renewals;
mod seed;
mod shop;
mod story;
mod updater;
mod waited;
mod weather;
mod world;

use libtest_mimic::{Arguments, Failed, Trial};
use seed::Done;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use world::Stores;

/// How many seeds run as a test.
const SEEDS: u64 = 2_000;

fn main() {
    silence_asked_panics();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        Some(words.get(at + 1).and_then(|word| word.parse::<u64>().ok()).unwrap_or_else(|| usage()))
    };
    match (number("--seed"), number("--seeds")) {
        (Some(one), _) => {
            tracing_subscriber::fmt().with_env_filter("fuda=debug").with_writer(std::io::stderr).without_time().init();
            finish(many(one, 1, false));
        }
        (None, Some(seeds)) => finish(many(number("--from").unwrap_or(0), seeds, true)),
        (None, None) => {
            let trial = Trial::test("seeds", || many(0, SEEDS, false).map(|_| ()).map_err(Failed::from));
            let updater = Trial::test("an_expired_card", || updater::story().map_err(Failed::from));
            libtest_mimic::run(&Arguments::from_args(), vec![trial, updater]).exit();
        }
    }
}

fn usage() -> ! {
    eprintln!("cargo fuda-sim --seeds NUMBER [--from SEED]\ncargo fuda-sim --seed SEED");
    std::process::exit(2);
}

fn finish(result: Result<Done, String>) {
    match result {
        Ok(done) => println!("clean: {done:?}"),
        Err(fault) => {
            eprintln!("{fault}");
            std::process::exit(1);
        }
    }
}

/// As many threads as cores, each with seeds of its own; the first fault ends all.
fn many(from: u64, seeds: u64, progress: bool) -> Result<Done, String> {
    let next = AtomicU64::new(from);
    let failed = AtomicBool::new(false);
    let sum = Mutex::new(Done::default());
    let fault = Mutex::new(None);
    let started = Instant::now();
    let threads =
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(usize::try_from(seeds).unwrap_or(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let stores = Stores::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    stores.clear();
                    match seed::run(seed, &stores) {
                        Ok(done) => add(&sum, done),
                        Err(what) => {
                            failed.store(true, Ordering::Relaxed);
                            let say = format!("seed {seed}: {what}\n\nto see it again: cargo fuda-sim --seed {seed}");
                            fault.lock().unwrap().get_or_insert(say);
                        }
                    }
                    let count = seed + 1 - from;
                    if progress && count.is_multiple_of(1_000) {
                        let rate = count as f64 / started.elapsed().as_secs_f64();
                        eprintln!("{count} of {seeds} seeds clean, {rate:.0}/s");
                    }
                }
            });
        }
    });
    match fault.into_inner().unwrap() {
        Some(fault) => Err(fault),
        None => Ok(sum.into_inner().unwrap()),
    }
}

fn add(sum: &Mutex<Done>, one: Done) {
    let mut sum = sum.lock().unwrap();
    sum.transactions += one.transactions;
    sum.told += one.told;
    sum.deaths += one.deaths;
    sum.resolved_by_hand += one.resolved_by_hand;
    sum.waited += one.waited;
    sum.went_on += one.went_on;
    sum.renewals.add(one.renewals);
}

fn silence_asked_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let asked = info.payload().downcast_ref::<&str>().is_some_and(|text| *text == weather::ASKED)
            || info.payload().downcast_ref::<String>().is_some_and(|text| text == weather::ASKED);
        if !asked {
            usual(info);
        }
    }));
}
