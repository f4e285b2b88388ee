//! A running gateway with a folder and, on PostgreSQL, a database of its own; everything goes through HTTP.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Where the throwaway cluster is; without it the PostgreSQL stories are ignored, and the runner says so.
pub fn postgres() -> Option<String> {
    std::env::var("FUDA_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// One that loses nothing, for live money. Without a cluster for it the other is taken for such.
fn durable_postgres() -> Option<String> {
    std::env::var("FUDA_TEST_DURABLE_POSTGRES").ok().filter(|url| !url.is_empty()).or_else(postgres)
}

pub struct World {
    pub folder: PathBuf,
    pub database_url: Option<String>,
    pub server: Server,
    pub keys: Keys,
    pub token: String,
    pub http: reqwest::Client,
}

#[derive(Clone, Debug)]
pub struct Keys {
    pub entity: String,
    pub merchant: String,
    pub api_key: String,
    pub secret: String,
}

impl Keys {
    /// From what `fuda merchant add --json` prints.
    pub fn of(made: &Value) -> Keys {
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Keys {
            entity: text("entity_id"),
            merchant: text("merchant_id"),
            api_key: text("api_key"),
            secret: text("secret_key"),
        }
    }
}

pub struct Server {
    child: Child,
    pub base: String,
    /// What it printed before it listened.
    pub greeting: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    pub fn start(folder: &std::path::Path, database_url: Option<&str>) -> Server {
        Server::start_with(folder, database_url, |_| {})
    }

    // The child is waited for where it is killed, stopped or dropped.
    #[allow(clippy::zombie_processes)]
    pub fn start_with(
        folder: &std::path::Path,
        database_url: Option<&str>,
        settings: impl FnOnce(&mut Command),
    ) -> Server {
        let log = std::fs::File::options().create(true).append(true).open(folder.with_extension("log")).unwrap();
        let mut command = fuda(folder, database_url);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("FUDA_LOG", "trace");
        // A story may have written one there.
        let acquirers = folder.join("acquirers.toml");
        if acquirers.exists() {
            command.arg("--acquirers").arg(acquirers);
        }
        settings(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let Some(Ok(line)) = lines.next() else {
                let log = std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
                panic!("the gateway did not start:\n{log}");
            };
            if let Some(rest) = line.strip_prefix("Fuda listens on ") {
                let base = rest.split(' ').next().unwrap().to_owned();
                return Server { child, base, greeting };
            }
            greeting.push_str(&line);
            greeting.push('\n');
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How long it has had a processor, milliseconds.
    pub fn worked_ms(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Behind the name, which may hold anything; in hundredths of a second (proc(5): utime, stime).
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

pub fn fuda(folder: &std::path::Path, database_url: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuda"));
    command.env_remove("FUDA_VAULT_KEY").arg("--data").arg(folder).stdin(Stdio::null());
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command
}

impl World {
    pub async fn new(engine: Engine) -> World {
        World::on(engine, postgres()).await
    }

    /// Where live keys can be made.
    pub async fn durable(engine: Engine) -> World {
        World::on(engine, durable_postgres()).await
    }

    async fn on(engine: Engine, postgres: Option<String>) -> World {
        let (folder, database_url) = place(engine, postgres).await;
        let server = Server::start(&folder, database_url.as_deref());
        let word = |label: &str| {
            let line = server.greeting.lines().find(|line| line.trim_start().starts_with(label));
            line.unwrap().split_whitespace().last().unwrap().to_owned()
        };
        let keys = Keys {
            entity: word("entity"),
            merchant: word("merchant"),
            api_key: word("x-api-key"),
            secret: word("secret key"),
        };
        let marker = "\"stored_payment_method_id\":\"";
        let token = server.greeting.split(marker).nth(1).unwrap()[..36].to_owned();
        World { folder, database_url, server, keys, token, http: reqwest::Client::new() }
    }

    pub fn restart(&mut self) {
        self.server = Server::start(&self.folder, self.database_url.as_deref());
    }

    pub fn second_process(&self) -> Server {
        Server::start(&self.folder, self.database_url.as_deref())
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/api/v1/server-to-server-interface/{path}", self.server.base)
    }

    pub fn authed(&self, request: reqwest::RequestBuilder, keys: &Keys) -> reqwest::RequestBuilder {
        request.header("x-api-key", &keys.api_key).header("authorization", format!("Basic {}", keys.secret))
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_as(&self.keys, path, body).await
    }

    pub async fn post_as(&self, keys: &Keys, path: &str, body: &Value) -> (u16, Value) {
        answer(self.authed(self.http.post(self.url(path)), keys).json(body)).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.authed(self.http.get(self.url(path)), &self.keys)).await
    }

    /// One more entity of the same gateway, by the command line beside the running server.
    pub fn other_entity(&self) -> Keys {
        let args = ["merchant", "add", "--legal-name", "Other", "--country", "JP", "--currency", "JPY", "--json"];
        Keys::of(&serde_json::from_str(&self.run(&args)).unwrap())
    }

    pub fn run(&self, args: &[&str]) -> String {
        let output = fuda(&self.folder, self.database_url.as_deref()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Statements past the gateway, as someone at the database could run them.
    pub async fn sql(&self, text: &str) {
        match &self.database_url {
            Some(url) => {
                let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(text).await.unwrap();
            }
            None => {
                let connection = rusqlite::Connection::open(self.folder.join("fuda.db")).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
                connection.execute_batch(text).unwrap();
            }
        }
    }

    /// The first column of a query past the gateway, as texts.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        match &self.database_url {
            Some(url) => {
                let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let text = |message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                };
                client.simple_query(query).await.unwrap().into_iter().filter_map(text).collect()
            }
            None => {
                let connection = rusqlite::Connection::open(self.folder.join("fuda.db")).unwrap();
                let query = format!("SELECT CAST(first AS TEXT) FROM (SELECT NULL AS first WHERE 0 UNION ALL {query})");
                let mut found = connection.prepare(&query).unwrap();
                found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            }
        }
    }

    /// What the audit log says of these actions, in their order.
    pub async fn deeds(&self, begin: &str) -> Vec<String> {
        let (text, from) = ("action || ' ' || subject || ' ' || detail", "audit_log WHERE action LIKE");
        self.texts(&format!("SELECT * FROM (SELECT {text} FROM {from} '{begin}%' ORDER BY number) AS deeds")).await
    }

    pub fn card_charge(&self, number: &str) -> Value {
        json!({
            "amount": "1000", "currency": "JPY", "merchant_id": self.keys.merchant,
            "card": {"number": number, "expiry_month": "12", "expiry_year": "2040", "cvc": cvc(number), "name": "John Doe"},
            "billing_address": address("billing@testemail.com"),
        })
    }

    pub fn token_charge(&self, token: &str) -> Value {
        json!({
            "amount": "1000", "currency": "JPY", "merchant_id": self.keys.merchant,
            "payment_method": {"type": "scheme", "stored_payment_method_id": token},
            "billing_address": address("billing@testemail.com"),
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.child.kill().ok();
        self.server.child.wait().ok();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
            std::fs::remove_file(self.folder.with_extension("log")).ok();
        }
    }
}

fn cvc(number: &str) -> &'static str {
    if number.starts_with("37") { "1234" } else { "123" }
}

pub fn address(email: &str) -> Value {
    json!({"country": "JP", "email": email, "phone_number": "8112345678", "address1": "1-2-3 Shinjuku",
        "city": "Shinjuku-ku", "state": "Tokyo", "postal_code": "1600022"})
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")))
}

/// A folder that is not there yet, and an empty database.
pub async fn place(engine: Engine, postgres: Option<String>) -> (PathBuf, Option<String>) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("fuda_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(format!("{name}_{engine:?}"));
    // A story that failed leaves its own, and process numbers come again.
    std::fs::remove_dir_all(&folder).ok();
    let database_url = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(create_database(&postgres.unwrap(), &name).await),
    };
    (folder, database_url)
}

async fn create_database(admin: &str, name: &str) -> String {
    let (client, connection) = tokio_postgres::connect(admin, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, _) = admin.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// A transaction's answer with what differs each time taken out, printed as it came.
pub fn stable(answer: &Value) -> String {
    let mut answer = answer.clone();
    for (path, word) in [
        ("/transaction_details/id", "<id>"),
        ("/transaction_details/ref", "<ref>"),
        ("/transaction_details/timestamp", "<timestamp>"),
        ("/transaction_details/stored_payment_method_id", "<token>"),
        ("/payment_details/auth_code", "<auth code>"),
        ("/request_id", "<request id>"),
    ] {
        if let Some(found) = answer.pointer_mut(path).filter(|found| !found.is_null()) {
            *found = json!(word);
        }
    }
    serde_json::to_string_pretty(&answer).unwrap()
}
