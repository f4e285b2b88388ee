//! SIGKILL at random moments under load, again and again: nothing that was acknowledged is missing, and gateway and bank agree.
//! `FUDA_CRASHES=200 ./test killed_many_times` kills as often as asked.

use crate::follow::id_of;
use crate::host::Host;
use crate::world::{Engine, Keys, World, address, answer};
use fuda::random::Random;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often in an ordinary run.
const CRASHES: u64 = 8;

const CLIENTS: u64 = 40;

struct Load {
    http: reqwest::Client,
    keys: Keys,
    token: String,
    base: Mutex<String>,
    stop: AtomicBool,
    /// Ids that a caller was told to have succeeded.
    acknowledged: Mutex<Vec<String>>,
    sent: AtomicU64,
}

fn below(limit: u64) -> u64 {
    u64::from_le_bytes(Random::system().bytes()) % limit
}

impl Load {
    async fn post(&self, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let base = self.base.lock().unwrap().clone();
        let url = format!("{base}/api/v1/server-to-server-interface/{path}");
        let request = self.http.post(url).header("x-api-key", &self.keys.api_key);
        let request = request.header("authorization", &self.keys.secret).header("idempotency-key", key).json(body);
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_str(&response.text().await.ok()?).ok()?))
    }

    /// Sends until there is a final answer, as a shop with a key does, or until the load stops.
    async fn insist(&self, path: &str, body: &Value) -> Option<Value> {
        let key = format!("{path}-{}", self.sent.fetch_add(1, Ordering::Relaxed));
        while !self.stop.load(Ordering::Relaxed) {
            match self.post(path, &key, body).await {
                Some((201, answer)) if answer["success"] == true => {
                    self.acknowledged.lock().unwrap().push(id_of(&answer));
                    return Some(answer);
                }
                Some((412, answer)) if answer["gateway_response"]["code"] == "ERR1008" => {}
                // It can never be approved, and every repeat will be told so.
                Some((504, answer)) if answer["gateway_response"]["code"] == "ERR1010" => return None,
                Some((500.., _)) | None => {}
                Some(_) => return None,
            }
            tokio::time::sleep(Duration::from_millis(20 + below(60))).await;
        }
        None
    }

    async fn client(self: Arc<Load>) {
        while !self.stop.load(Ordering::Relaxed) {
            let charge = json!({
                "amount": "1000", "currency": "JPY", "merchant_id": self.keys.merchant,
                "payment_method": {"stored_payment_method_id": self.token}, "billing_address": address("a@example.jp"),
            });
            let follow = |id: &str, amount: u64| json!({"transactionId": id, "merchant_id": self.keys.merchant, "amount": amount});
            match below(4) {
                0 => {
                    self.insist("payment", &charge).await;
                }
                1 => {
                    let Some(paid) = self.insist("payment", &charge).await else { continue };
                    self.insist("refund", &follow(&id_of(&paid), 1 + below(1000))).await;
                }
                2 => {
                    let Some(held) = self.insist("authorization", &charge).await else { continue };
                    self.insist("capture", &follow(&id_of(&held), 1 + below(1000))).await;
                }
                _ => {
                    let Some(held) = self.insist("authorization", &charge).await else { continue };
                    self.insist("void", &follow(&id_of(&held), 0)).await;
                }
            }
        }
    }
}

pub async fn killed_many_times(engine: Engine) {
    let mut world = World::new(engine).await;
    let crashes = std::env::var("FUDA_CRASHES").ok().map_or(CRASHES, |text| text.parse().unwrap());
    let (load, clients) = begin(&world, CLIENTS);
    for _ in 0..crashes {
        tokio::time::sleep(Duration::from_millis(50 + below(600))).await;
        killed(&mut world, &load);
    }
    ended(&world, load, clients, crashes).await;
    world.books_are_clean();
}

/// The same over a line to a host that dies too: once for each five deaths of the gateway.
pub async fn killed_with_host(mut world: World, mut host: Host) {
    let crashes = std::env::var("FUDA_CRASHES").ok().map_or(CRASHES, |text| text.parse().unwrap());
    let (load, clients) = begin(&world, CLIENTS);
    for number in 1..=crashes {
        tokio::time::sleep(Duration::from_millis(400 + below(600))).await;
        if number % 5 == 0 {
            tokio::task::block_in_place(|| host.kill());
            tokio::time::sleep(Duration::from_millis(below(800))).await;
            // Half of the times both are gone at once.
            if below(2) == 0 {
                killed(&mut world, &load);
            }
            tokio::task::block_in_place(|| host.back());
            tokio::time::sleep(Duration::from_millis(below(500))).await;
        }
        killed(&mut world, &load);
    }
    ended(&world, load, clients, crashes).await;
    world.books_agree("acme");
}

fn begin(world: &World, count: u64) -> (Arc<Load>, tokio::task::JoinSet<()>) {
    let load = Arc::new(Load {
        http: reqwest::Client::new(),
        keys: world.keys.clone(),
        token: world.token.clone(),
        base: Mutex::new(world.server.base.clone()),
        stop: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        sent: AtomicU64::new(0),
    });
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..count {
        clients.spawn(load.clone().client());
    }
    (load, clients)
}

fn killed(world: &mut World, load: &Load) {
    tokio::task::block_in_place(|| {
        world.server.kill();
        world.restart();
    });
    *load.base.lock().unwrap() = world.server.base.clone();
}

/// The load ends, what has no result finds one, and nothing that was acknowledged is missing.
async fn ended(world: &World, load: Arc<Load>, clients: tokio::task::JoinSet<()>, crashes: u64) {
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    load.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    drained(world).await;
    let acknowledged = load.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() as u64 > crashes, "{} payments in {crashes} crashes", acknowledged.len());
    for id in &acknowledged {
        let url = world.url(&format!("transaction/status/{id}"));
        let (status, found) = answer(world.authed(world.http.get(url), &world.keys)).await;
        assert_eq!((status, &found["success"]), (200, &json!(true)), "{found}");
    }
    eprintln!("{crashes} crashes, {} acknowledged, none missing", acknowledged.len());
}

async fn drained(world: &World) {
    for _ in 0..120 {
        let list: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
        let pending =
            world.http.get(format!("{}/metrics", world.server.base)).send().await.unwrap().text().await.unwrap();
        let jobs = |kind: &str| pending.contains(&format!("fuda_jobs_due{{kind=\"{kind}\"}} 0"));
        // What is still its flow's is not listed before its time.
        if list["transactions"] == json!([]) && jobs("recover") && jobs("release") {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let again: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
            if again["transactions"] == json!([]) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("not drained within a minute");
}
