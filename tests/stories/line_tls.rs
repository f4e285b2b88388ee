//! A line to a bank's host through TLS: whom we trust, and whom we are known as.

use crate::follow::code;
use crate::host::{GENERIC, Host};
use crate::world::{Engine, World, fuda};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;

type Certificate = rcgen::CertifiedKey<rcgen::KeyPair>;

/// The certificates that were shown, in DER.
type Shown = Arc<Mutex<Vec<Vec<u8>>>>;

fn certificate(name: &str) -> Certificate {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// TLS in front of a host; who comes must show `known`. Its address, and what was shown.
async fn in_front_of(host: &Host, us: &Certificate, known: &Certificate) -> (String, Shown) {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(us.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(known.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![us.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (shown, behind) = (Shown::default(), host.address.clone());
    let seen = shown.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            seen.lock().unwrap().push(chain[0].to_vec());
            let mut plain = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut plain).await });
        }
    });
    (address, shown)
}

/// What the log says from here on, as soon as it holds this.
async fn log_says(world: &World, since: usize, what: &str) {
    let log = || std::fs::read_to_string(world.folder.with_extension("log")).unwrap()[since..].to_owned();
    for _ in 0..100 {
        if log().contains(what) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not in the log: {what}\n{}", log());
}

/// With the roots that were agreed it pays; a host that others vouch for, or one that does not know us, gets nothing.
pub async fn encrypted_and_trusted(engine: Engine) {
    let mut world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    let (theirs, ours, strangers) = (certificate("localhost"), certificate("us.example"), certificate("localhost"));
    for (name, made) in [("roots", &theirs), ("us", &ours), ("stranger", &strangers)] {
        std::fs::write(world.folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(world.folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    let (address, shown) = in_front_of(&host, &theirs, &ours).await;
    let settings = |roots: &str, us: &str| {
        format!(
            "dialect = \"dialect.toml\"\n\
             tls = {{ roots = \"{roots}.pem\", certificate = \"{us}.pem\", key = \"{us}.key\" }}"
        )
    };
    let check = |world: &World| {
        let file = world.folder.join("acquirers.toml");
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let output = command.args(["acquirer", "check", "acme", "--acquirers"]).arg(file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    world.acquirers(&[("acme", &address)], &settings("roots", "us"));
    world.route("acme", &[]);
    let card = world.card_charge("4000000000001091");
    let paid = world.post("payment", &card).await;
    assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    world.books_agree("acme");
    assert_eq!(check(&world), (Some(0), String::new()));
    let chains = shown.lock().unwrap().clone();
    assert!(chains.len() >= 2 && chains.iter().all(|one| one == ours.cert.der().as_ref()), "{}", chains.len());
    for (roots, us, why) in
        [("stranger", "us", "invalid peer certificate"), ("roots", "stranger", "received fatal alert")]
    {
        let since = std::fs::read_to_string(world.folder.with_extension("log")).unwrap().len();
        world.acquirers(&[("acme", &address)], &settings(roots, us));
        let refused = world.post("payment", &card).await;
        assert_eq!(code(&refused), (502, "ERR1011"), "{roots} {us}: {}", refused.1);
        log_says(&world, since, why).await;
        let (status, said) = check(&world);
        assert!(status == Some(1) && said.contains(why), "{said}");
    }
    assert_eq!(shown.lock().unwrap().len(), chains.len());
    world.acquirers(&[("acme", &address)], &settings("roots", "us"));
    let mut paid = world.post("payment", &card).await;
    for _ in 0..50 {
        if paid.0 == 201 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        paid = world.post("payment", &card).await;
    }
    assert_eq!(paid.0, 201, "{}", paid.1);
}
