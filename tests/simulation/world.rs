//! What the processes and the people of one seed share: the stores, the bank, the time, and what was told and seen.

use crate::bank::Bank;
use crate::cardholder::Seen;
use crate::client::{Known, Told, pause};
use crate::line::Line;
use crate::merchant::Asked;
use crate::shop::{Ears, Road};
use crate::weather::{Dice, Life, Sky};
use axum::Router;
use fuda::acceptor::Acceptor;
use fuda::acquirer::{Acquirer, Acquirers, sandbox};
use fuda::app::App;
use fuda::bins::Bins;
use fuda::clock::Clock;
use fuda::consent;
use fuda::db::{Db, MIGRATIONS, Memory, Simulated};
use fuda::directory::{Caller, Directory, MerchantSpec, Rank, RouteSpec};
use fuda::http::{router, service::Probe};
use fuda::ledger::chain::Sealer;
use fuda::money::Currency;
use fuda::pay::teller::Teller;
use fuda::pay::worker::Worker;
use fuda::pay::{late, recover};
use fuda::proxies::Proxies;
use fuda::random::Random;
use fuda::risk::Risk;
use fuda::threeds;
use fuda::vault::{KeySource, Vault};
use fuda::wallet::setup::Wallets;
use fuda::webhook::courier::Courier;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// 2026-11-24, noon; the day does not matter.
const START: i64 = 1_795_521_600_000;

pub struct Process {
    pub app: App,
    router: Router,
    pub life: Arc<Life>,
}

/// The rows of one thread's seeds: the gateway's, and the sandbox issuer's and wallets'.
pub struct Stores {
    gateway: Memory,
    books: Memory,
}

impl Stores {
    pub fn new() -> Stores {
        let made = |migrations| Memory::new(migrations).expect("a store in memory");
        Stores { gateway: made(MIGRATIONS), books: made(sandbox::MIGRATIONS) }
    }

    pub fn clear(&self) {
        for memory in [&self.gateway, &self.books] {
            memory.clear().expect("a store in memory");
        }
    }
}

/// Acquirers that go by trace numbers, in the order in which some seeds' merchant asks them.
const HOSTS: [&str; 2] = ["acme", "second"];

pub struct World {
    memory: Memory,
    books: Memory,
    pub bank: Arc<Mutex<Bank>>,
    /// The hosts' trace numbers: the counter that all processes share.
    traces: Arc<AtomicI64>,
    pub clock: Clock,
    pub random: Random,
    pub calm: Arc<AtomicBool>,
    pub merchant_id: String,
    pub secret: String,
    webhook_secret: String,
    pub ears: Ears,
    pub tokens: Mutex<Vec<String>>,
    pub told: Mutex<Vec<Told>>,
    /// Tokens whose deletion was asked for; it may have taken place without an answer.
    pub deletes: Mutex<Vec<String>>,
    known: Mutex<Vec<Known>>,
    /// Subscriptions that merchants know of, and what they asked of them.
    pub subscriptions: Mutex<Vec<String>>,
    pub asked: Mutex<Vec<Asked>>,
    /// Where browsers were sent at the end.
    pub seen: Mutex<Vec<Seen>>,
    /// When cardholders answered, by the 3DS server's id or the key of the wallet's page.
    pub answers: Mutex<BTreeMap<String, i64>>,
    /// Cardholders: those who take seconds, and those who take half an hour.
    pub prompt: Mutex<Vec<JoinHandle<()>>>,
    pub late: Mutex<Vec<JoinHandle<()>>>,
    /// When the first of the late ones was sent on.
    pub late_since: Mutex<Option<i64>>,
    processes: Mutex<Vec<Arc<Process>>>,
    /// Of all processes that ever were.
    lives: Mutex<Vec<Arc<Life>>>,
    pub deaths: AtomicU64,
    pub faults: Mutex<Vec<String>>,
}

impl World {
    pub async fn new(dice: &Dice, stores: &Stores) -> World {
        let clock = Clock::of_runtime(START);
        let random = Random::seeded(dice.below(u64::MAX));
        let calm = Arc::new(AtomicBool::new(true));
        let memory = stores.gateway.clone();
        let db = Db::Simulated(Simulated::new(&memory, Arc::new(calm_sky(dice, &clock)), &clock));
        let source = KeySource::Environment("07".repeat(32));
        let vault = Vault::open(&db, &source, &clock, &random).await.unwrap();
        let directory = Directory::load(&db, &vault).await.unwrap();
        let spec = MerchantSpec {
            legal_name: "札の店".to_owned(),
            country: "JP".to_owned(),
            currencies: vec![Currency::parse("JPY").unwrap()],
            entity: None,
            live: false,
            hold_ms: if dice.chance(400) { 2_000 + i64::try_from(dice.below(20_000)).unwrap() } else { 604_800_000 },
        };
        let made = directory.add_merchant(spec, &clock, &random).await.unwrap();
        if dice.chance(400) {
            let caller = Caller { entity: made.entity_id, live: false };
            let merchant = directory.merchant(caller, &made.merchant_id).unwrap();
            for (acquirer, rank) in HOSTS.into_iter().zip([Rank::First, Rank::Second]) {
                let acceptor = Acceptor::parse("T0000001", "SHOP", None, None).unwrap();
                let spec = RouteSpec { live: false, currency: None, rank, acquirer: acquirer.to_owned(), acceptor };
                directory.add_route(&merchant, spec, false, "simulation", &clock).await.unwrap();
            }
        }
        calm.store(false, Ordering::Relaxed);
        World {
            memory,
            books: stores.books.clone(),
            bank: Arc::new(Mutex::new(Bank::new(dice))),
            traces: Arc::new(AtomicI64::new(1)),
            clock,
            random,
            calm,
            merchant_id: made.merchant_id,
            secret: made.secret_key.unwrap(),
            webhook_secret: made.webhook_secret.unwrap(),
            ears: Ears::default(),
            tokens: Mutex::default(),
            told: Mutex::default(),
            deletes: Mutex::default(),
            known: Mutex::default(),
            subscriptions: Mutex::default(),
            asked: Mutex::default(),
            seen: Mutex::default(),
            answers: Mutex::default(),
            prompt: Mutex::default(),
            late: Mutex::default(),
            late_since: Mutex::default(),
            processes: Mutex::default(),
            lives: Mutex::default(),
            deaths: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    /// As if all machines slept until then. What is on its way to the bank arrives before.
    pub async fn leap(&self, until: i64) {
        while self.bank.lock().unwrap().on_the_way > 0 {
            pause(50).await;
        }
        let ms = u64::try_from(until - self.clock.now()).unwrap_or(0);
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    /// Until all of these cardholders are done; their clients are, so none is added.
    pub async fn wait_for(&self, cardholders: &Mutex<Vec<JoinHandle<()>>>) -> Result<(), String> {
        let running = std::mem::take(&mut *cardholders.lock().unwrap());
        for one in running {
            one.await.map_err(|error| format!("a cardholder: {error}"))?;
        }
        Ok(())
    }

    /// The issuer and the wallets as their pages reach them, in calm weather.
    pub fn sandbox(&self) -> (threeds::sandbox::Sandbox, consent::sandbox::Sandbox) {
        self.sandbox_on(Arc::new(calm_sky(&Dice::new(0), &self.clock)))
    }

    fn sandbox_on(&self, sky: Arc<Sky>) -> (threeds::sandbox::Sandbox, consent::sandbox::Sandbox) {
        let books = Db::Simulated(Simulated::new(&self.books, sky, &self.clock));
        (
            threeds::sandbox::Sandbox::new(books.clone(), "", &self.clock, &self.random),
            consent::sandbox::Sandbox::new(books, "", &self.clock, &self.random),
        )
    }

    pub fn calm_books(&self) -> Db {
        Db::Simulated(Simulated::new(&self.books, Arc::new(calm_sky(&Dice::new(0), &self.clock)), &self.clock))
    }

    pub fn calm_db(&self) -> Db {
        let sky = calm_sky(&Dice::new(0), &self.clock);
        Db::Simulated(Simulated::new(&self.memory, Arc::new(sky), &self.clock))
    }

    pub async fn start(self: &Arc<World>, dice: &Dice, steps: Option<u64>, alone: bool) -> Option<Arc<Process>> {
        let life = Life::new(steps, &self.calm);
        self.lives.lock().unwrap().push(life.clone());
        let sky = Sky { life: life.clone(), dice: Dice::new(dice.below(u64::MAX)), clock: self.clock.clone() };
        let sky = Arc::new(sky);
        let db = Db::Simulated(Simulated::new(&self.memory, sky.clone(), &self.clock));
        let (issuer, wallet_page) = self.sandbox_on(sky);
        let line = |name, traces, news| {
            let dice = Dice::new(dice.below(u64::MAX));
            Arc::new(Line {
                name,
                traces,
                news,
                bank: self.bank.clone(),
                life: life.clone(),
                dice,
                clock: self.clock.clone(),
            })
        };
        let mut lines = Acquirers::default();
        let mut news = Vec::new();
        for name in HOSTS {
            let (sender, receiver) = mpsc::channel(256);
            let host: Arc<dyn Acquirer> = line(name, Some(self.traces.clone()), Some(sender));
            Arc::make_mut(&mut lines).insert(name.to_owned(), host);
            news.push((name, receiver));
        }
        let line = line("simulated", None, None);
        // What a start reads is not what is simulated: it reads in calm weather.
        let calm = self.calm_db();
        let source = KeySource::Environment("07".repeat(32));
        let vault = Vault::open(&calm, &source, &self.clock, &self.random).await.ok()?;
        let app = App {
            directory: Directory::load(&calm, &vault).await.ok()?,
            risk: Risk::load(&calm).await.ok()?,
            bins: Bins::load(&calm).await.ok()?,
            wallets: Wallets::default(),
            proxies: Proxies::default(),
            db,
            vault,
            sandbox: line.clone(),
            acquirers: lines,
            sandbox_updater: line,
            checkout: "".into(),
            checkout_named: false,
            held: Arc::new(tokio::sync::Semaphore::new(256)),
            wallet_page,
            issuer,
            courier: self.courier(&life, dice),
            nudge: Arc::default(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            tasks: TaskTracker::new(),
            database_ahead_ms: Arc::new(AtomicI64::new(0)),
        };
        if alone {
            // As `serve` does it: before any request or round.
            recover::adopt(&App { db: calm, ..app.clone() }).await.ok()?;
        }
        for (name, receiver) in news {
            tokio::spawn(late::listen(app.clone(), name.to_owned(), receiver));
        }
        let process = Arc::new(Process { router: router(app.clone(), probe()), app, life });
        self.processes.lock().unwrap().push(process.clone());
        tokio::spawn(rounds(process.clone(), 900 + dice.below(300)));
        Some(process)
    }

    fn courier(&self, life: &Arc<Life>, dice: &Dice) -> Courier {
        static TLS: LazyLock<rustls::ClientConfig> = LazyLock::new(|| fuda::tls::client().unwrap());
        let road = Road {
            ears: self.ears.clone(),
            secret: self.webhook_secret.clone(),
            life: life.clone(),
            dice: Dice::new(dice.below(u64::MAX)),
            clock: self.clock.clone(),
        };
        Courier::new(Arc::new(road), &TLS, &[80], false, &self.clock)
    }

    pub fn forget(&self, gone: &Arc<Process>) {
        self.processes.lock().unwrap().retain(|process| !Arc::ptr_eq(process, gone));
    }

    /// All machines stop at once.
    pub fn stop_all(&self) {
        self.lives.lock().unwrap().iter().for_each(|life| life.die());
    }

    /// Also none that only finishes what is in flight: on SQLite it would still hold the lock.
    pub fn nobody_lives(&self) -> bool {
        self.lives.lock().unwrap().iter().all(|life| life.is_dead())
    }

    pub fn live(&self) -> Option<Arc<Process>> {
        self.processes.lock().unwrap().iter().find(|process| !process.life.is_dead()).cloned()
    }

    pub fn some_router(&self, dice: &Dice) -> Option<Router> {
        let processes = self.processes.lock().unwrap();
        let open: Vec<_> = processes.iter().filter(|process| !process.life.draining.load(Ordering::Relaxed)).collect();
        dice.pick(&open).map(|process| process.router.clone())
    }

    pub fn known(&self, kind: &str) -> Vec<Known> {
        self.known.lock().unwrap().iter().filter(|one| one.kind == kind).cloned().collect()
    }

    /// Something that others may follow.
    pub fn paid(&self, id: &str, kind: &'static str, amount: u64) {
        if amount == 0 {
            return;
        }
        self.known.lock().unwrap().push(Known { id: id.to_owned(), kind, amount });
    }

    /// What a client was told: others may build on it.
    pub fn note(&self, told: &Told, amount: u64) {
        if told.success {
            let kind = match told.path {
                "authorization" | "authorizationv2" => Some("PRE_AUTH"),
                "payment" | "paymentv2" | "subscription/payment" | "capture" => Some("CAPTURE"),
                _ => None,
            };
            // Some also try to follow what still waits.
            let kind = kind.filter(|_| told.redirect.is_none() || told.at % 4 == 0);
            if let (Some(kind), Some(id)) = (kind, &told.id) {
                self.paid(id, kind, amount);
            }
            if let Some(id) = &told.subscription {
                let mut known = self.subscriptions.lock().unwrap();
                if !known.contains(id) {
                    known.push(id.clone());
                }
            }
            if let Some(token) = &told.token {
                let mut tokens = self.tokens.lock().unwrap();
                match told.path {
                    "tokens" => tokens.retain(|one| one != token),
                    _ if !tokens.contains(token) => tokens.push(token.clone()),
                    _ => {}
                }
            }
        }
        self.told.lock().unwrap().push(told.clone());
    }

    pub fn check(&self, holds: bool, say: impl FnOnce() -> String) {
        if !holds {
            self.faults.lock().unwrap().push(say());
        }
    }
}

pub fn probe() -> Probe {
    Probe::new(PrometheusBuilder::new().build_recorder().handle())
}

fn calm_sky(dice: &Dice, clock: &Clock) -> Sky {
    let calm = Arc::new(AtomicBool::new(true));
    Sky { life: Life::new(None, &calm), dice: dice.clone(), clock: clock.clone() }
}

/// What every process does each second; a round that panics is not the last one.
async fn rounds(process: Arc<Process>, every_ms: u64) {
    let worker = Worker::new(&process.app);
    let teller = Teller::new(&process.app);
    let sealer = Arc::new(tokio::sync::Mutex::new(Sealer::default()));
    let mut number = 0_u32;
    while !process.life.is_dead() {
        let (worker, app, sealer) = (worker.clone(), process.app.clone(), sealer.clone());
        let teller = teller.clone();
        number += 1;
        let round = tokio::spawn(async move {
            worker.round().await?;
            teller.round().await?;
            if number.is_multiple_of(5) {
                sealer.lock().await.round(&app.db, &app.vault, app.clock.now()).await?;
            }
            Ok::<(), fuda::error::Error>(())
        });
        round.await.ok();
        pause(every_ms).await;
    }
}
