//! A bank's host in a process of its own, and a merchant whose payments go there.

use crate::world::{Engine, World, fuda, place, postgres};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const GENERIC: &str = include_str!("../../src/acquirer/iso8583/dialects/generic-1987.toml");
pub const ODD: &str = include_str!("../iso8583/odd-1993.toml");

/// `fuda sandbox-bank`, or another program that listens at the same address each time.
pub struct Host {
    child: Child,
    pub address: String,
    again: Vec<String>,
    log: PathBuf,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Host {
    /// With books and a dialect of its own in the world's folder.
    pub fn start(world: &World) -> Host {
        let program = env!("CARGO_BIN_EXE_fuda").to_owned();
        let address = free_address();
        let (books, dialect) = (world.host_books(), world.folder.join("dialect.toml"));
        let args =
            ["sandbox-bank", "--listen", &address, "--sandbox-bank", &text(&books), "--dialect", &text(&dialect)];
        let again = [&[program.as_str()], args.as_slice()].concat();
        let again = again.into_iter().map(str::to_owned).collect();
        Host::run(again, address, world.folder.with_extension("host.log"))
    }

    /// `args`: the program and what it is started with, by which it listens there.
    pub fn run(again: Vec<String>, address: String, log: PathBuf) -> Host {
        let child = spawn(&again, &log);
        let host = Host { child, address, again, log };
        host.wait();
        host
    }

    fn wait(&self) {
        for _ in 0..600 {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the host did not start: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// SIGSTOP: its connections stand, and nobody reads.
    pub fn hang(&mut self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn goes_on(&mut self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn back(&mut self) {
        self.child = spawn(&self.again, &self.log);
        self.wait();
    }
}

fn spawn(again: &[String], log: &Path) -> Child {
    let log = || std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(&again[0]);
    command.args(&again[1..]).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap()
}

pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl World {
    pub fn host_books(&self) -> PathBuf {
        self.folder.join("host.db")
    }

    /// The dialect that the host and the line speak from here on. "Not found" is believed after five seconds, not ten minutes.
    pub fn speaks(&self, dialect: &str) {
        let at = dialect.find("greatest_lateness_s").unwrap();
        let line = dialect[at..].lines().next().unwrap();
        std::fs::write(self.folder.join("dialect.toml"), dialect.replace(line, "greatest_lateness_s = 5")).unwrap();
    }

    /// Acquirers by name and address, with more settings; the gateway starts again with them.
    pub fn acquirers(&mut self, acquirers: &[(&str, &str)], settings: &str) {
        let mut text = String::new();
        for (name, address) in acquirers {
            text += &format!(
                "[acquirers.{name}]\nprotocol = \"iso8583\"\nmode = \"test\"\naddress = \"{address}\"\n{settings}\n"
            );
            text += "deadlines = { charge_ms = 4000, follow_ms = 2000, reversal_ms = 1500 }\n";
        }
        std::fs::write(self.folder.join("acquirers.toml"), text).unwrap();
        self.server.stop();
        self.restart();
    }

    pub fn route(&self, acquirer: &str, more: &[&str]) {
        let merchant = self.keys.merchant.as_str();
        // Hosts that share their books tell acquirers apart by it.
        let terminal = format!("T{acquirer}");
        let args = ["route", "add", "--merchant", merchant, "--acquirer", acquirer, "--terminal", &terminal];
        let args = [args.as_slice(), &["--acceptor", "000000000000001", "--category", "5411"], more].concat();
        self.run(&args);
        // In force within a second.
        std::thread::sleep(std::time::Duration::from_millis(1_200));
    }

    /// A world whose merchant is paid through the sandbox bank's host.
    pub fn with_host(&mut self, dialect: &str, settings: &str) -> Host {
        self.speaks(dialect);
        let host = Host::start(self);
        let address = host.address.clone();
        self.acquirers(&[("acme", address.as_str())], &format!("dialect = \"dialect.toml\"\n{settings}"));
        self.route("acme", &[]);
        host
    }

    /// Both sides agree, and the ledger is whole.
    pub fn books_agree(&self, acquirer: &str) {
        let books = self.host_books().display().to_string();
        let args = ["reconcile", "--acquirer", acquirer, "--sandbox-bank", &books, "--json"];
        let output = fuda(&self.folder, self.database_url.as_deref()).args(args).output().unwrap();
        let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
        for list in ["missing_here", "missing_there", "different"] {
            assert_eq!(compared[list], serde_json::json!([]), "{compared}");
        }
        assert!(compared["matched"].as_i64().unwrap() > 0, "{compared}");
        let verified: Value = serde_json::from_str(&self.run(&["ledger", "verify", "--json"])).unwrap();
        assert_eq!(verified["fault"], Value::Null);
    }
}

/// The figures of a line can be had again, on either engine: how fast it is this story does not ask.
pub async fn measured(engine: Engine) {
    let (folder, database_url) = place(engine, postgres()).await;
    let words = ["bench", "--acquirer", "iso8583", "--clients", "2", "--seconds", "1", "--json"];
    let output = fuda(&folder, database_url.as_deref()).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    for rate in [
        "/encoded_per_s",
        "/decoded_per_s",
        "/said_per_s",
        "/links/2/authorizations_per_s",
        "/payments/0/payments_per_s",
    ] {
        assert!(run.pointer(rate).unwrap().as_u64().unwrap() > 0, "{rate}: {run}");
    }
    assert_eq!(run["payments"][0]["errors"], 0, "{run}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "it leaves nothing behind");
    std::fs::remove_dir_all(folder).ok();
}
