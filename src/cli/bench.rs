//! `fuda bench`: charges a stored token over real HTTP on loopback against a gateway process on a store of its own, with
//! the load in a process of its own, and beside it runs the same statements on the bare engine and a bare fsync loop,
//! so that every figure is also a ratio taken in one run.

mod bare;
mod line;
mod load;
mod risk;

use crate::config::Config;
use crate::error::Error;
use clap::Args;
use load::Operation;
use serde::Serialize;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[derive(Args)]
pub struct BenchArgs {
    /// How long each measurement runs
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Numbers of clients, separated by commas
    #[arg(long, default_values_t = [1, 64], value_delimiter = ',')]
    clients: Vec<usize>,
    /// Measure card charges without a risk rule and with 50, among them lists of a million entries
    #[arg(long)]
    risk: bool,
    /// Measure the line to an acquirer's host: codec, one connection, and payments over it
    #[arg(long, value_enum, conflicts_with = "risk")]
    acquirer: Option<Protocol>,
    /// The host's own process
    #[arg(long, hide = true, requires = "acquirer")]
    host: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The load generator's own process: address of the gateway
    #[arg(long, hide = true)]
    load: Option<String>,
    /// The load generator's request, as it goes over the wire
    #[arg(long, hide = true)]
    request: Option<PathBuf>,
    #[arg(long, hide = true, value_enum, default_value = "payment")]
    operation: Operation,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Protocol {
    Iso8583,
}

#[derive(Serialize)]
struct Report {
    engine: &'static str,
    cores: usize,
    fsyncs_per_s: u64,
    runs: Vec<Run>,
    following: Vec<Following>,
}

/// Captures, refunds or voids, each with the charge that it follows before it.
#[derive(Serialize)]
struct Following {
    operation: &'static str,
    clients: usize,
    /// Charge and operation together.
    pairs_per_s: u64,
    /// Of the operation alone.
    p50_us: u64,
    p99_us: u64,
    errors: u64,
}

#[derive(Serialize)]
struct Run {
    clients: usize,
    payments_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    errors: u64,
    /// User time of the gateway's process for one payment.
    user_us_per_payment: u64,
    system_us_per_payment: u64,
    /// The same statements on the bare engine: all clients' payments to a commit on SQLite, shared by the connections
    /// on PostgreSQL.
    bare_payments_per_s: u64,
    /// On PostgreSQL of this side of the connection only, as with the gateway.
    bare_user_us_per_payment: u64,
    percent_of_bare: u64,
    /// User time that is not the engine's, or its driver's.
    ours_us_per_payment: u64,
}

pub async fn bench(config: &Config, args: BenchArgs) -> Result<(), Error> {
    if let (Some(address), Some(request)) = (&args.load, &args.request) {
        let clients = args.clients.first().copied().unwrap_or(1);
        let measured = load::run(address, request, clients, args.seconds, args.operation).await?;
        println!("{}", serde_json::to_string(&measured).map_err(Error::internal)?);
        return Ok(());
    }
    if args.host {
        return line::host().await;
    }
    let folder = config.data.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| Error::internal(format!("{}: {error}", folder.display())))?;
    if args.risk {
        let clients = args.clients.last().copied().unwrap_or(1);
        let measured = risk::run(config, &folder, clients, args.seconds).await;
        std::fs::remove_dir_all(&folder).map_err(Error::internal)?;
        let measured = measured?;
        if args.json {
            println!("{}", serde_json::to_string(&measured).map_err(Error::internal)?);
        } else {
            risk::print(&measured);
        }
        return Ok(());
    }
    if args.acquirer.is_some() {
        let measured = line::run(config, &folder, &args.clients, args.seconds).await;
        std::fs::remove_dir_all(&folder).map_err(Error::internal)?;
        let measured = measured?;
        if args.json {
            println!("{}", serde_json::to_string(&measured).map_err(Error::internal)?);
        } else {
            line::print(&measured);
        }
        return Ok(());
    }
    let measured = measure(config, &args, &folder).await;
    std::fs::remove_dir_all(&folder).map_err(Error::internal)?;
    let report = measured?;
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(Error::internal)?);
    } else {
        print(&report);
    }
    Ok(())
}

async fn measure(config: &Config, args: &BenchArgs, folder: &Path) -> Result<Report, Error> {
    let fsyncs_per_s = bare::fsyncs(folder)?;
    let mut runs = Vec::new();
    let mut following = Vec::new();
    for clients in args.clients.iter().copied() {
        let say = |what: &str| {
            if !args.json {
                println!("measuring {what} by {clients} client(s) for {} s ...", args.seconds);
            }
        };
        say("payments");
        let mut gateway = Gateway::start(config, &folder.join(format!("store-{clients}")))?;
        let served = one_run(&gateway, args, folder, clients);
        if served.is_ok() && Some(&clients) == args.clients.last() {
            for operation in load::FOLLOWING {
                say(operation.name());
                let measured = load_process(&gateway, folder, clients, args.seconds, operation);
                following.push(measured.map(|measured| Following::of(operation, clients, args.seconds, &measured)));
            }
        }
        gateway.stop()?;
        let served = served?;
        let bare = match &config.database_url {
            Some(url) => bare::postgres(url, clients, args.seconds).await?,
            None => bare::sqlite(&gateway.folder, folder, clients, args.seconds).await?,
        };
        runs.push(Run::of(clients, args.seconds, &served, &bare));
    }
    let engine = if config.database_url.is_some() { "postgresql" } else { "sqlite" };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let following = following.into_iter().collect::<Result<_, _>>()?;
    Ok(Report { engine, cores, fsyncs_per_s, runs, following })
}

/// A gateway process on a new store. On PostgreSQL the database must be empty: its vault key is made here.
struct Gateway {
    process: Child,
    folder: PathBuf,
    address: String,
    request: Vec<u8>,
}

impl Gateway {
    fn start(config: &Config, folder: &Path) -> Result<Gateway, Error> {
        Gateway::start_with(config, folder, None)
    }

    fn start_with(config: &Config, folder: &Path, acquirers: Option<&Path>) -> Result<Gateway, Error> {
        let mut command = Command::new(std::env::current_exe().map_err(Error::internal)?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder).env_remove("FUDA_DATABASE_URL");
        if let Some(url) = &config.database_url {
            command.env("FUDA_DATABASE_URL", url);
        }
        command.env_remove("FUDA_ACQUIRERS");
        command.envs(acquirers.map(|file| ("FUDA_ACQUIRERS", file)));
        let log = std::fs::File::create(folder.with_extension("log")).map_err(Error::internal)?;
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut process = started.map_err(Error::internal)?;
        let lines = process.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines);
        let mut charge = None;
        for line in lines.map_while(Result::ok) {
            if line.starts_with("curl ") && line.contains("stored_payment_method_id") {
                charge = Some(line);
            } else if let Some(rest) = line.strip_prefix("Fuda listens on http://") {
                let address = rest.split(' ').next().unwrap_or_default().to_owned();
                let request = charge.as_deref().and_then(|line| wire(line, &address));
                let request =
                    request.ok_or_else(|| Error::internal("the database is not empty: bench needs one of its own"))?;
                return Ok(Gateway { process, folder: folder.to_owned(), address, request });
            }
        }
        process.wait().map_err(Error::internal)?;
        let log = std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
        Err(Error::internal(format!("the gateway did not start: {}", log.trim())))
    }

    /// User and system time so far, microseconds (proc(5): clock ticks of a hundredth of a second).
    fn cpu_us(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let after = text.rsplit(") ").next().unwrap_or_default();
        let tick = |at: usize| after.split(' ').nth(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 10_000;
        (tick(11), tick(12))
    }

    fn stop(&mut self) -> Result<(), Error> {
        let id = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM).map_err(Error::internal)?;
        }
        self.process.wait().map(|_| ()).map_err(Error::internal)
    }
}

/// The printed curl line as bytes for the wire.
fn wire(line: &str, address: &str) -> Option<Vec<u8>> {
    let quoted: Vec<&str> = line.split('\'').collect();
    let (key, secret, body) = (quoted.get(1)?, quoted.get(3)?, quoted.get(7)?);
    Some(
        format!(
            "POST /api/v1/server-to-server-interface/payment HTTP/1.1\r\nhost: {address}\r\n{key}\r\n{secret}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// What the gateway did under the load.
struct Served {
    measured: load::Measured,
    user_us: u64,
    system_us: u64,
}

impl Run {
    fn of(clients: usize, seconds: u64, served: &Served, bare: &bare::Bare) -> Run {
        let measured = &served.measured;
        let each = |us: u64| us / measured.count.max(1);
        let payments_per_s = measured.count / seconds.max(1);
        Run {
            clients,
            payments_per_s,
            p50_us: measured.p50_us,
            p99_us: measured.p99_us,
            errors: measured.errors,
            user_us_per_payment: each(served.user_us),
            system_us_per_payment: each(served.system_us),
            bare_payments_per_s: bare.payments_per_s,
            bare_user_us_per_payment: bare.user_us_per_payment,
            percent_of_bare: payments_per_s * 100 / bare.payments_per_s.max(1),
            ours_us_per_payment: each(served.user_us).saturating_sub(bare.user_us_per_payment),
        }
    }
}

impl Following {
    fn of(operation: Operation, clients: usize, seconds: u64, measured: &load::Measured) -> Following {
        Following {
            operation: operation.name(),
            clients,
            pairs_per_s: measured.count / seconds.max(1),
            p50_us: measured.p50_us,
            p99_us: measured.p99_us,
            errors: measured.errors,
        }
    }
}

fn load_process(
    gateway: &Gateway,
    folder: &Path,
    clients: usize,
    seconds: u64,
    operation: Operation,
) -> Result<load::Measured, Error> {
    let file = folder.join("request");
    std::fs::write(&file, &gateway.request).map_err(Error::internal)?;
    let output = Command::new(std::env::current_exe().map_err(Error::internal)?)
        .args(["bench", "--load", &gateway.address, "--clients", &clients.to_string()])
        .args(["--operation", operation.name(), "--seconds", &seconds.to_string(), "--request"])
        .arg(&file)
        .output()
        .map_err(Error::internal)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::internal(format!("the load failed: {}", String::from_utf8_lossy(&output.stderr))))
}

fn one_run(gateway: &Gateway, args: &BenchArgs, folder: &Path, clients: usize) -> Result<Served, Error> {
    load_process(gateway, folder, clients, 1, Operation::Payment)?;
    let before = gateway.cpu_us();
    let measured = load_process(gateway, folder, clients, args.seconds, Operation::Payment)?;
    let after = gateway.cpu_us();
    Ok(Served { measured, user_us: after.0 - before.0, system_us: after.1 - before.1 })
}

fn print(report: &Report) {
    println!("{} on {} cores; bare fsync loop {}/s", report.engine, report.cores, report.fsyncs_per_s);
    for run in &report.runs {
        println!(
            "{} client(s): {} payments/s, p50 {} us, p99 {} us, {} errors; CPU per payment {} us user, {} us system",
            run.clients,
            run.payments_per_s,
            run.p50_us,
            run.p99_us,
            run.errors,
            run.user_us_per_payment,
            run.system_us_per_payment
        );
        println!(
            "  the same statements on the bare engine: {}/s; we reach {} %; user time of ours {} us",
            run.bare_payments_per_s, run.percent_of_bare, run.ours_us_per_payment
        );
    }
    for one in &report.following {
        println!(
            "{} after its charge, {} clients: {} pairs/s, {} p50 {} us, p99 {} us, {} errors",
            one.operation, one.clients, one.pairs_per_s, one.operation, one.p50_us, one.p99_us, one.errors
        );
    }
}
