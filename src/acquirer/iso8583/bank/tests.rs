//! An acquirer from its file to its answers, over the machine's own network, with and without TLS.

use super::*;
use crate::acceptor::Acceptor;
use crate::acquirer::iso8583::config;
use crate::acquirer::iso8583::frame::Frame;
use crate::acquirer::{Approval, Ask, Funding, Named};
use crate::card::{Expiry, Pan};
use crate::db::{Durability, MIGRATIONS};
use crate::money::{Currency, Money};
use crate::tls::Stream;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Receiver};
use tokio_rustls::TlsAcceptor;

/// Approves all that it hears, with an authorization code, on as many connections as come.
async fn host(tls: Option<TlsAcceptor>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(Box::new(stream)).await,
                    // One that is not let in hears nothing.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(Box::new(stream)).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn answer(mut stream: Box<dyn Stream>) {
    let Language { codec, frame, speech, .. } = language_of_tests();
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        while let Some(framed) = Frame::split(&frame, &buffer).unwrap() {
            let request = codec.decode(framed.message).unwrap();
            let taken = framed.taken;
            let outcome = Outcome::Approved(Approval {
                response_code: 0,
                auth_code: Some("A1B2C3".to_owned()),
                network_transaction_id: None,
            });
            let (mut body, mut bytes) = (Vec::new(), Vec::new());
            codec.encode(&speech.answer(&request, &outcome).unwrap(), &mut body).unwrap();
            frame.wrap(None, &body, &mut bytes).unwrap();
            buffer.drain(..taken);
            if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

fn language_of_tests() -> Language {
    Language::of(GENERIC.1, Home { institution: None, time_zone: jiff::tz::TimeZone::UTC }).unwrap()
}

/// A folder of its own, with an acquirers file in it.
fn folder(name: &str, address: &str, more: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fuda_bank_{name}_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "[acquirers.north]\nprotocol = \"iso8583\"\ndialect = \"generic-1987\"\nmode = \"test\"\naddress = \"{address}\"\n{more}"
    );
    std::fs::write(folder.join("acquirers.toml"), text).unwrap();
    folder
}

async fn bank(folder: &std::path::Path) -> Result<(Bank, Receiver<News>), Error> {
    let settings = config::read(&folder.join("acquirers.toml"))?;
    let path = folder.join("store.db");
    let db = Db::open_sqlite(&path, Durability::Off)?;
    db.migrate(MIGRATIONS).await?;
    let (sender, news) = mpsc::channel(8);
    let (clock, random) = (Clock::system(), Random::system());
    Ok((Bank::start("north", &settings["north"], &db, (&clock, &random), sender)?, news))
}

async fn purchase(bank: &Bank) -> Outcome {
    let trace = bank.trace(Clock::system().now()).await.unwrap().unwrap();
    let acceptor = Acceptor {
        terminal: "TERM0001".to_owned(),
        acceptor: "SHOP00000000001".to_owned(),
        category: None,
        place: None,
    };
    let pan = Pan::parse("5200000000001005").unwrap();
    let expiry = Expiry { month: 12, year: 2040 };
    let ask = Ask {
        reference: "00000000000000000001",
        named: Some(Named { trace: &trace, acceptor: &acceptor, tries: 0 }),
        money: Money { minor: 1_000, currency: Currency::parse("JPY").unwrap() },
        funding: Funding::Card { pan: &pan, expiry, cvc: None },
        device: None,
        stored_credential: None,
        authentication: None,
    };
    bank.send(Operation::Purchase(ask)).await
}

fn approved() -> Outcome {
    Outcome::Approved(Approval { response_code: 0, auth_code: Some("A1B2C3".to_owned()), network_transaction_id: None })
}

#[tokio::test]
async fn a_purchase_over_tcp() {
    let folder = folder("tcp", &host(None).await, "time_zone = \"Asia/Tokyo\"\n");
    let (bank, mut news) = bank(&folder).await.unwrap();
    assert!(matches!(news.recv().await, Some(News::Up)));
    assert_eq!(purchase(&bank).await, approved());
    assert!(matches!(bank.send(Operation::Inquire { reference: "x" }).await, Outcome::NotSent { .. }));
    bank.link().stop().await;
    assert!(matches!(purchase(&bank).await, Outcome::NotSent { .. }));
}

/// The host shows a certificate of its own authority, and wants one of us.
#[tokio::test]
async fn a_purchase_over_tls() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let issue = |names: &[&str], by: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        (CertificateParams::new(names).unwrap().signed_by(&key, by).unwrap(), key)
    };
    let (good, other) = (authority("good.example"), authority("other.example"));
    let (theirs, their_key) = issue(&["localhost"], &good);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut ours = RootCertStore::empty();
    ours.add(good.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ours), provider.clone()).build().unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![theirs.der().clone()], their_key.serialize_der().try_into().unwrap())
        .unwrap();
    let address = host(Some(TlsAcceptor::from(Arc::new(server)))).await;
    let tls = "tls = { roots = \"roots.pem\", certificate = \"us.pem\", key = \"us.key\" }\n";
    for (name, roots, signer, up) in
        [("tls", &good, &good, true), ("tls_roots", &other, &good, false), ("tls_us", &good, &other, false)]
    {
        let folder = folder(name, &address, tls);
        let (us, our_key) = issue(&["gateway.example"], signer);
        std::fs::write(folder.join("roots.pem"), roots.pem()).unwrap();
        std::fs::write(folder.join("us.pem"), us.pem()).unwrap();
        std::fs::write(folder.join("us.key"), our_key.serialize_pem()).unwrap();
        let (bank, mut news) = bank(&folder).await.unwrap();
        if up {
            assert!(matches!(news.recv().await, Some(News::Up)));
            assert_eq!(purchase(&bank).await, approved());
        } else {
            assert!(Clock::system().within(500, news.recv()).await.is_none(), "{name}");
            assert!(matches!(purchase(&bank).await, Outcome::NotSent { .. }));
        }
        bank.link().stop().await;
    }
}

#[tokio::test]
async fn mistakes_are_told_at_the_start() {
    let tls = "tls = { roots = \"roots.pem\" }\n";
    for (name, text, more, says) in
        [("no_roots", None, tls, "acquirers.north"), ("empty_roots", Some("not a certificate"), tls, "roots.pem")]
    {
        let folder = folder(name, "localhost:5000", more);
        let _ = std::fs::remove_file(folder.join("roots.pem"));
        if let Some(text) = text {
            std::fs::write(folder.join("roots.pem"), text).unwrap();
        }
        let error = bank(&folder).await.err().unwrap();
        assert!(error.cause().contains(says), "{}", error.cause());
    }
    let folder = folder("no_dialect", "localhost:5000", "");
    let file = folder.join("acquirers.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("generic-1987", "none.toml");
    std::fs::write(&file, text).unwrap();
    let error = bank(&folder).await.err().unwrap();
    assert!(
        error.cause().contains("acquirers.north.dialect") && error.cause().contains("none.toml"),
        "{}",
        error.cause()
    );
}
