//! `fuda bench --acquirer iso8583`: the codec alone on one core, one connection to a host that answers at once, and whole payments
//! through a gateway that is routed there. The host is a process of its own: it reads and writes real messages, and keeps no books.

use super::load::{Measured, Operation as Load};
use super::{Gateway, load_process};
use crate::acceptor::Acceptor;
use crate::acquirer::iso8583::bank::Bank;
use crate::acquirer::iso8583::config as acquirers;
use crate::acquirer::iso8583::dialect::GENERIC;
use crate::acquirer::iso8583::link::Language;
use crate::acquirer::iso8583::message::Message;
use crate::acquirer::iso8583::operation::{Home, Spoken};
use crate::acquirer::iso8583::values::Scratch;
use crate::acquirer::{Acquirer as _, Approval, Ask, Funding, Named, Operation, Outcome, Trace};
use crate::card::{Expiry, Pan};
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::db::{Db, Durability, MIGRATIONS};
use crate::error::Error;
use crate::money::{Currency, Money};
use crate::random::Random;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The name in the acquirers file.
const NAME: &str = "bench";

/// Messages between two looks at the stopwatch.
const STRIDE: u64 = 1_000;

#[derive(Serialize)]
pub struct LineRun {
    cores: usize,
    fields: usize,
    bytes: usize,
    /// On one core.
    encoded_per_s: u64,
    decoded_per_s: u64,
    /// From an operation to its message, without encoding.
    said_per_s: u64,
    links: Vec<LinkRun>,
    /// Through HTTP, store and line.
    payments: Vec<PaymentRun>,
}

#[derive(Serialize)]
struct LinkRun {
    callers: usize,
    authorizations_per_s: u64,
    p50_us: u64,
    p99_us: u64,
}

#[derive(Serialize)]
struct PaymentRun {
    clients: usize,
    payments_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    errors: u64,
}

pub async fn run(config: &Config, folder: &Path, clients: &[usize], seconds: u64) -> Result<LineRun, Error> {
    let language = generic()?;
    let message = message(&language)?;
    let codec = codec(&language, &message, seconds)?;
    let mut host = Host::start()?;
    let measured = over_the_line(config, folder, clients, seconds, &host.address).await;
    host.process.kill().and_then(|()| host.process.wait()).map_err(Error::internal)?;
    let (links, payments) = measured?;
    let [encoded_per_s, decoded_per_s, said_per_s] = codec.per_s;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let fields = message.fields().count();
    Ok(LineRun { cores, fields, bytes: codec.bytes, encoded_per_s, decoded_per_s, said_per_s, links, payments })
}

fn generic() -> Result<Language, Error> {
    Language::of(GENERIC.1, Home { institution: Some("00000123456".to_owned()), time_zone: TimeZone::UTC })
        .map_err(Error::internal)
}

/// What every charge here is: a card of the sandbox, and what a route says of its merchant.
struct Sample {
    pan: Pan,
    acceptor: Acceptor,
    money: Money,
}

impl Sample {
    fn new() -> Result<Sample, Error> {
        let broken = || Error::internal("the bench's own card is none");
        Ok(Sample {
            pan: Pan::parse("5200000000001005").map_err(|_| broken())?,
            acceptor: Acceptor::parse("TERM0001", "SHOP00000000001", Some("5411"), Some("FUDA TOKYO JP"))
                .map_err(|wrong| Error::internal(wrong.message()))?,
            money: Money { minor: 1_000, currency: Currency::parse("JPY").ok_or_else(broken)? },
        })
    }

    fn ask<'a>(&'a self, trace: &'a Trace) -> Operation<'a> {
        Operation::Authorize(Ask {
            reference: "01a22637-a9df-7a59-9f5b-456ead5b8a94",
            named: Some(Named { trace, acceptor: &self.acceptor, tries: 0 }),
            money: self.money,
            funding: Funding::Card { pan: &self.pan, expiry: Expiry { month: 12, year: 2040 }, cvc: None },
            device: None,
            stored_credential: None,
            authentication: None,
        })
    }
}

fn said(language: &Language, sample: &Sample, trace: &Trace) -> Result<Message, Error> {
    let mut scratch = Scratch::default();
    let spoken = language.speech.spoken(&sample.ask(trace), &language.home, &mut scratch).map_err(Error::internal)?;
    let Spoken { kind, tries, values } = spoken;
    language.speech.say(kind, tries, &values).map_err(Error::internal)
}

fn trace() -> Trace {
    Trace { stan: 123_456, rrn: "000000123455".to_owned(), sent_at: Clock::system().now() }
}

fn message(language: &Language) -> Result<Message, Error> {
    said(language, &Sample::new()?, &trace())
}

struct Codec {
    bytes: usize,
    /// Encoded, decoded, made of an operation.
    per_s: [u64; 3],
}

fn codec(language: &Language, message: &Message, seconds: u64) -> Result<Codec, Error> {
    let mut wire = Vec::new();
    language.codec.encode(message, &mut wire).map_err(Error::internal)?;
    let mut out = Vec::with_capacity(1_024);
    let encoded = per_s(seconds, || {
        out.clear();
        language.codec.encode(std::hint::black_box(message), &mut out).map_err(Error::internal)
    })?;
    let decoded = per_s(seconds, || {
        let read = language.codec.decode(std::hint::black_box(&wire)).map_err(Error::internal)?;
        std::hint::black_box(read);
        Ok(())
    })?;
    let (sample, trace) = (Sample::new()?, trace());
    let made = per_s(seconds, || {
        std::hint::black_box(said(language, std::hint::black_box(&sample), &trace)?);
        Ok(())
    })?;
    Ok(Codec { bytes: wire.len(), per_s: [encoded, decoded, made] })
}

fn per_s(seconds: u64, mut work: impl FnMut() -> Result<(), Error>) -> Result<u64, Error> {
    let (watch, mut count) = (Stopwatch::start(), 0);
    while watch.elapsed().as_secs() < seconds {
        for _ in 0..STRIDE {
            work()?;
        }
        count += STRIDE;
    }
    let ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(1).max(1);
    Ok(count * 1_000 / ms)
}

/// The host's process, and where it listens.
struct Host {
    process: Child,
    address: String,
}

impl Host {
    fn start() -> Result<Host, Error> {
        let mut command = Command::new(std::env::current_exe().map_err(Error::internal)?);
        command.args(["bench", "--acquirer", "iso8583", "--host"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(Error::internal)?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(Error::internal)?;
        }
        Ok(Host { process, address: line.trim().to_owned() })
    }
}

/// The host: says where it listens, and answers all with a yes until it is ended.
pub async fn host() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::internal)?;
    println!("{}", listener.local_addr().map_err(Error::internal)?);
    let language = Arc::new(generic()?);
    loop {
        let (mut stream, _) = listener.accept().await.map_err(Error::internal)?;
        stream.set_nodelay(true).map_err(Error::internal)?;
        let language = language.clone();
        tokio::spawn(async move {
            let mut buffer = Vec::with_capacity(1 << 20);
            while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                let Some((taken, answers)) = answers(&language, &buffer) else { return };
                buffer.drain(..taken);
                if stream.write_all(&answers).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// How much of the buffer was whole messages, and their answers. `None`: not messages.
fn answers(language: &Language, buffer: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut taken, mut out, mut body) = (0, Vec::new(), Vec::new());
    while let Some(framed) = language.frame.split(&buffer[taken..]).ok()? {
        taken += framed.taken;
        let request = language.codec.decode(framed.message).ok()?;
        let yes = Outcome::Approved(Approval {
            response_code: 0,
            auth_code: Some("A1B2C3".to_owned()),
            network_transaction_id: Some("123456789012345".to_owned()),
        });
        body.clear();
        language.codec.encode(&language.speech.answer(&request, &yes)?, &mut body).ok()?;
        language.frame.wrap(None, &body, &mut out).ok()?;
    }
    Some((taken, out))
}

async fn over_the_line(
    config: &Config,
    folder: &Path,
    clients: &[usize],
    seconds: u64,
    address: &str,
) -> Result<(Vec<LinkRun>, Vec<PaymentRun>), Error> {
    let file = folder.join("acquirers.toml");
    let text = format!(
        "[acquirers.{NAME}]\nprotocol = \"iso8583\"\ndialect = \"{}\"\nmode = \"test\"\naddress = \"{address}\"\nwindow = 2000\n",
        GENERIC.0
    );
    std::fs::write(&file, text).map_err(Error::internal)?;
    let mut links = Vec::new();
    for callers in [1, 64, 512] {
        links.push(link(folder, &file, callers, seconds).await?);
    }
    let mut payments = Vec::new();
    for clients in clients.iter().copied() {
        let mut gateway = Gateway::start_with(config, &folder.join(format!("store-{clients}")), Some(&file))?;
        let measured = routed(config, &gateway).and_then(|()| {
            // The route is in force within a second.
            load_process(&gateway, folder, clients, 2, Load::Payment)?;
            load_process(&gateway, folder, clients, seconds, Load::Payment)
        });
        gateway.stop()?;
        let Measured { count, p50_us, p99_us, errors } = measured?;
        payments.push(PaymentRun { clients, payments_per_s: count / seconds.max(1), p50_us, p99_us, errors });
    }
    Ok((links, payments))
}

/// As an operator does it.
fn routed(config: &Config, gateway: &Gateway) -> Result<(), Error> {
    let fuda = || {
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command.arg("--data").arg(&gateway.folder).env_remove("FUDA_DATABASE_URL").env_remove("FUDA_ACQUIRERS");
        if let Some(url) = &config.database_url {
            command.env("FUDA_DATABASE_URL", url);
        }
        command
    };
    let listed = fuda().args(["merchant", "list", "--json"]).output().map_err(Error::internal)?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).map_err(Error::internal)?;
    let merchant = listed.pointer("/merchants/0/merchant_id").and_then(serde_json::Value::as_str);
    let merchant = merchant.ok_or_else(|| Error::internal("the gateway has no merchant"))?;
    let args = [
        "route",
        "add",
        "--replace",
        "--acquirer",
        NAME,
        "--terminal",
        "TERM0001",
        "--acceptor",
        "SHOP00000000001",
        "--merchant",
    ];
    let added = fuda().args(args).arg(merchant).output().map_err(Error::internal)?;
    let why = || Error::internal(format!("no route: {}", String::from_utf8_lossy(&added.stderr).trim()));
    if added.status.success() { Ok(()) } else { Err(why()) }
}

async fn link(folder: &Path, file: &Path, callers: usize, seconds: u64) -> Result<LinkRun, Error> {
    let (clock, random) = (Clock::system(), Random::system());
    let db = Db::open_sqlite(&folder.join("traces.db"), Durability::Full)?;
    db.migrate(MIGRATIONS).await?;
    let settings = acquirers::read(file)?;
    let settings = settings.get(NAME).ok_or_else(|| Error::internal("the acquirers file is empty"))?;
    let (sender, mut news) = tokio::sync::mpsc::channel(8);
    let bank = Arc::new(Bank::start(NAME, settings, &db, (&clock, &random), sender)?);
    // Its line is up.
    news.recv().await.ok_or_else(|| Error::internal("the line has ended"))?;
    let watch = Stopwatch::start();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        running.spawn(caller(bank.clone(), watch, seconds));
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done.map_err(Error::internal)??);
    }
    let ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(1).max(1);
    bank.link().stop().await;
    db.close().await;
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    let count = u64::try_from(times.len()).unwrap_or(0);
    Ok(LinkRun { callers, authorizations_per_s: count * 1_000 / ms, p50_us: at(50), p99_us: at(99) })
}

/// One authorization after the other; how long each took, microseconds.
async fn caller(bank: Arc<Bank>, watch: Stopwatch, seconds: u64) -> Result<Vec<u64>, Error> {
    let (sample, clock, mut times) = (Sample::new()?, Clock::system(), Vec::new());
    while watch.elapsed().as_secs() < seconds {
        let one = Stopwatch::start();
        let trace = bank.trace(clock.now()).await?.ok_or_else(|| Error::internal("no trace number"))?;
        let outcome = bank.send(sample.ask(&trace)).await;
        if !matches!(outcome, Outcome::Approved(_)) {
            return Err(Error::internal(format!("an authorization was not approved: {outcome:?}")));
        }
        times.push(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

pub fn print(run: &LineRun) {
    println!(
        "codec, one core, {} fields in {} bytes: {} messages/s encoded, {} decoded, {} made of an operation",
        run.fields, run.bytes, run.encoded_per_s, run.decoded_per_s, run.said_per_s
    );
    for one in &run.links {
        println!(
            "one connection, {} caller(s): {} authorizations/s, p50 {} us, p99 {} us",
            one.callers, one.authorizations_per_s, one.p50_us, one.p99_us
        );
    }
    for one in &run.payments {
        println!(
            "whole payments over it, {} client(s): {} payments/s, p50 {} us, p99 {} us, {} errors",
            one.clients, one.payments_per_s, one.p50_us, one.p99_us, one.errors
        );
    }
}
