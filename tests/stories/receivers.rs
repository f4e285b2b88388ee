//! Receivers of every kind at once, and those that are not reached at all.

use crate::receiver::{Does, Heard, Receiver, now};
use crate::webhooks::{id_of, to};
use crate::world::{Engine, Server, World, fuda};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Payments that are sent at once: few enough that what is measured is not the queue for this machine.
const CLIENTS: usize = 6;

/// How many of the payments go to each of the eight receivers.
const EACH: usize = 1_250;

/// When each was answered, epoch milliseconds.
type Answered = BTreeMap<String, i64>;

async fn pay(world: &Arc<World>, urls: &[String]) -> Answered {
    let mut running = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (world, urls) = (world.clone(), urls.to_vec());
        running.spawn(async move {
            let mut answered = Vec::new();
            for number in (client..EACH * urls.len()).step_by(CLIENTS) {
                let body = to(&urls[number % urls.len()], world.token_charge(&world.token));
                let (status, paid) = world.post("payment", &body).await;
                assert_eq!(status, 201, "{paid}");
                answered.push((id_of(&paid), now()));
            }
            answered
        });
    }
    let mut answered = Answered::new();
    while let Some(done) = running.join_next().await {
        answered.extend(done.unwrap());
    }
    answered
}

/// All events of the gateway by their receiver, as the command line lists them.
fn listed(world: &World) -> Vec<Value> {
    let text = world.run(&["webhooks", "list", "--since", "1h", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Resident memory, MiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

pub async fn ten_thousand_payments(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let elsewhere = Receiver::new(&[Does::status(200)]).await;
    let kinds = [
        Does::status(200),
        Does::status(500),
        Does::status(405),
        Does::status(498),
        Does::Hangs,
        Does::Cuts,
        Does::Floods,
        Does::redirects(&elsewhere.url),
    ];
    let mut receivers = Vec::new();
    for kind in &kinds {
        receivers.push(Receiver::new(std::slice::from_ref(kind)).await);
    }
    let urls: Vec<String> = receivers.iter().map(|one| one.url.clone()).collect();
    // Connections, statements and allocators find their size first.
    pay_some(&world, &urls[0], 200).await;
    let before = memory(&world.server);
    let answered = pay(&world, &urls).await;
    let healthy = receivers[0].hears(200 + EACH, 10).await;
    let after = memory(&world.server);
    assert!(after < before + 64, "memory grew from {before} to {after} MiB");
    // One of the first two hundred may be heard after the others have begun.
    let delay = |one: &Heard| answered.get(&id_of(&one.json())).map(|answered| one.at - answered);
    let mut delays: Vec<i64> = healthy.iter().filter_map(delay).collect();
    assert!(delays.len() >= EACH, "{}", delays.len());
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    println!("healthy receiver: median {median} ms after the answer, memory {before} to {after} MiB");
    assert!(median < 100, "{median} ms");
    // The others' first tries go on beside; those that answer are through soon.
    for (receiver, kind) in receivers.iter().zip(&kinds).filter(|(_, kind)| **kind != Does::Hangs) {
        let end = Instant::now() + Duration::from_secs(60);
        while ids(receiver).len() < EACH {
            assert!(Instant::now() < end, "{kind:?}: {} events", ids(receiver).len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let floods = receivers[6].heard();
    assert_eq!(floods.len(), EACH, "a 2xx ends it, whatever follows");
    assert!(elsewhere.heard().is_empty());
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for event in listed(&world) {
        let state = event["state"].as_str().unwrap();
        assert_eq!(state == "WAITING", event["next_try"] != Value::Null, "{event}");
        *states.entry(state.to_owned()).or_default() += 1;
    }
    let delivered = 200 + 2 * EACH;
    assert_eq!(
        states,
        BTreeMap::from(
            [("DELIVERED".to_owned(), delivered), ("WAITING".to_owned(), 6 * EACH), ("NONE".to_owned(), 1),]
        )
    );
    assert!(memory(&world.server) < before + 64);
}

async fn pay_some(world: &World, url: &str, count: usize) {
    for _ in 0..count {
        assert_eq!(world.post("payment", &to(url, world.token_charge(&world.token))).await.0, 201);
    }
}

/// The events that it was told of.
fn ids(receiver: &Receiver) -> BTreeSet<String> {
    receiver.heard().iter().map(Heard::id).collect()
}

/// Any number of processes share the deliveries; each event is told once where nothing fails.
pub async fn two_processes_tell_once(engine: Engine) {
    if engine == Engine::Sqlite {
        // One process serves a file.
        return;
    }
    let world = World::new(engine).await;
    let _second = world.second_process();
    let shop = Receiver::new(&[Does::status(200)]).await;
    pay_some(&world, &shop.url, 300).await;
    shop.hears(300, 10).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((ids(&shop).len(), shop.heard().len()), (300, 300));
}

/// Where private addresses are not allowed nothing is sent to them, and the log says why.
pub async fn addresses_that_are_not_public(engine: Engine) {
    let mut world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(200)]).await;
    world.server.stop();
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.env("FUDA_ALLOW_PRIVATE_WEBHOOKS", "false");
    });
    let port = shop.url.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    for (url, problem) in [
        (shop.url.clone(), format!("refused_port: {port} is none of 80, 443, 8080, 8443")),
        ("http://127.1/".to_owned(), "refused_address: the address is not a public one (loopback)".to_owned()),
        (
            "http://0x7f000001:8080/".to_owned(),
            "refused_address: the address is not a public one (loopback)".to_owned(),
        ),
        (
            "http://[::ffff:10.0.0.1]/".to_owned(),
            "refused_address: the address is not a public one (private)".to_owned(),
        ),
    ] {
        let paid = world.post("payment", &to(&url, world.token_charge(&world.token))).await.1;
        let id = paid["transaction_details"]["id"].as_str().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let log = loop {
            let log = world.get(&format!("webhooks?transaction_id={id}")).await.1["webhooks"][0].clone();
            if log["state"] == "REFUSED" {
                break log;
            }
            assert!(Instant::now() < end, "{log:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!((&log["tries"][0]["problem"], &log["tries"][0]["status"]), (&json!(problem), &Value::Null));
    }
    assert!(shop.heard().is_empty());
    // The port alone does not open it.
    world.server.stop();
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.args(["--webhook-ports", &port, "--allow-private-webhooks", "false"]);
    });
    pay_some(&world, &shop.url, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(shop.heard().is_empty());
    world.server.stop();
    let output = fuda(&world.folder, world.database_url.as_deref())
        .args(["serve", "--allow-private-webhooks", "perhaps"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A certificate that the machine trusts, and one that it does not.
pub async fn over_tls(engine: Engine) {
    let mut world = World::new(engine).await;
    world.server.stop();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let trusted = world.folder.join("trusted.pem");
    std::fs::write(&trusted, made.cert.pem()).unwrap();
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.env("SSL_CERT_FILE", &trusted);
    });
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (good, heard) = tls_receiver(&made).await;
    let (bad, unheard) = tls_receiver(&stranger).await;
    for (url, state) in [(good, "DELIVERED"), (bad, "WAITING")] {
        let paid = world.post("payment", &to(&url, world.token_charge(&world.token))).await.1;
        let path = format!("webhooks?transaction_id={}", paid["transaction_details"]["id"].as_str().unwrap());
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let log = world.get(&path).await.1["webhooks"][0].clone();
            if log["tries"].get(0).is_some() {
                assert_eq!(log["state"], state, "{log:#}");
                if state == "WAITING" {
                    let problem = "tls: the receiver's certificate or encryption was not accepted";
                    assert_eq!(log["tries"][0]["problem"], problem);
                }
                break;
            }
            assert!(Instant::now() < end, "{log:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(heard.lock().unwrap().contains("webhook-signature: v1,"));
    assert!(unheard.lock().unwrap().is_empty());
}

type Text = Arc<std::sync::Mutex<String>>;

async fn tls_receiver(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (String, Text) {
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let text = Text::default();
    let ears = text.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            ears.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            stream.write_all(b"HTTP/1.1 200 -\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    (url, text)
}
