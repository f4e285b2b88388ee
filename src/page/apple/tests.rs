//! Against a server that asks for a certificate, on a network where names lead where the test says.

use super::*;
use crate::tls::Stream;
use crate::webhook::courier::{Network, Pending};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "apple-pay-gateway.test";

/// `HOST` is at one address, which a packet sent there reaches at `to`; `None`: nobody answers.
struct Way {
    address: &'static str,
    to: Option<SocketAddr>,
    connected: AtomicUsize,
}

impl Network for Way {
    fn resolve(&self, host: String) -> Pending<Vec<IpAddr>> {
        assert_eq!(host, HOST);
        let address = self.address.parse().unwrap();
        Box::pin(async move { Ok(vec![address]) })
    }

    fn connect(&self, address: SocketAddr) -> Pending<Box<dyn Stream>> {
        assert_eq!(address.port(), 443);
        self.connected.fetch_add(1, Ordering::SeqCst);
        let to = self.to;
        Box::pin(async move {
            match to {
                Some(to) => Ok(Box::new(TcpStream::connect(to).await?) as Box<dyn Stream>),
                None => {
                    let (ours, theirs) = tokio::io::duplex(64);
                    std::mem::forget(theirs);
                    Ok(Box::new(ours) as Box<dyn Stream>)
                }
            }
        })
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Apple's server: whom it let in, and what was asked. It gives one answer to all.
struct Gateway {
    address: SocketAddr,
    servers: Authority,
    merchants: Authority,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    async fn new(answer: String) -> Gateway {
        let (servers, merchants) = (Authority::new(), Authority::new());
        let (chain, key) = servers.issue(HOST);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(merchants.roots()), provider());
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(verifier.build().unwrap()).with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = asked.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                assert!(stream.get_ref().1.peer_certificates().is_some());
                let mut request = String::new();
                // The body is one object, and its end the request's.
                while !request.ends_with('}') {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    assert!(read > 0, "{request}");
                    request.push_str(std::str::from_utf8(&part[..read]).unwrap());
                }
                noted.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        });
        Gateway { address, servers, merchants, asked }
    }

    fn identity(&self, signed_by: Option<&Authority>) -> Identity {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(self.servers.roots());
        let tls = match signed_by {
            Some(authority) => {
                let (chain, key) = authority.issue("merchant.example.fuda");
                config.with_client_auth_cert(chain, key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        Identity { merchant: "merchant.example.fuda".to_owned(), tls }
    }
}

async fn asked_over(way: &Arc<Way>, identity: &Identity) -> Result<String, Refused> {
    let clock = Clock::fixed(0);
    let courier = Courier::new(way.clone(), &crate::tls::client().unwrap(), &[80], true, &clock);
    let url = place(&format!("https://{HOST}/paymentservices/startSession#x"), &[HOST]).unwrap();
    let question = question(identity, "札の店", "https://pay.example.jp/base");
    ask((&courier, &clock), identity, &url, question).await
}

fn to(gateway: &Gateway, address: &'static str) -> Arc<Way> {
    Arc::new(Way { address, to: Some(gateway.address), connected: AtomicUsize::new(0) })
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_session_is_asked_for_with_the_merchants_certificate() {
    let gateway = Gateway::new(http("200 OK", r#"{"nonce": "a", "epochTimestamp": 1}"#)).await;
    let way = to(&gateway, "17.171.78.7");
    let session = asked_over(&way, &gateway.identity(Some(&gateway.merchants))).await;
    assert_eq!(session.unwrap(), r#"{"epochTimestamp":1,"nonce":"a"}"#);
    let asked = gateway.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /paymentservices/startSession HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json") && head.contains(&format!("host: {HOST}")), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        json!({"merchantIdentifier": "merchant.example.fuda", "displayName": "札の店", "initiative": "web",
            "initiativeContext": "pay.example.jp"})
    );
}

#[tokio::test]
async fn who_shows_no_certificate_of_apples_gets_none() {
    let gateway = Gateway::new(http("200 OK", "{}")).await;
    for stranger in [None, Some(&Authority::new())] {
        let refused = asked_over(&to(&gateway, "17.171.78.7"), &gateway.identity(stranger)).await;
        assert!(matches!(&refused, Err(Refused::Apple(why)) if !why.is_empty()), "{refused:?}");
    }
    assert!(gateway.asked.lock().unwrap().is_empty());
    // And a server that is not Apple's is told nothing.
    let identity = Gateway::new(String::new()).await.identity(Some(&gateway.merchants));
    assert!(asked_over(&to(&gateway, "17.171.78.7"), &identity).await.is_err());
    assert!(gateway.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn answers_that_are_no_session() {
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(MOST));
    for (answer, why) in [
        (http("417 Expectation Failed", "{}"), "Apple answered 417"),
        (http("302 Found", "{}"), "Apple answered 302"),
        (http("200 OK", "[1]"), "no JSON object"),
        (http("200 OK", "<html>"), "no JSON object"),
        (http("200 OK", &long), "longer than a session"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned(), "broke off"),
        ("nonsense\r\n\r\n".to_owned(), "invalid HTTP"),
    ] {
        let gateway = Gateway::new(answer.clone()).await;
        let refused = asked_over(&to(&gateway, "17.171.78.7"), &gateway.identity(Some(&gateway.merchants))).await;
        assert!(matches!(&refused, Err(Refused::Apple(said)) if said.contains(why)), "{answer}: {refused:?}");
    }
}

/// Also where webhooks of a sandbox may go anywhere.
#[tokio::test]
async fn addresses_that_are_not_public_are_not_called() {
    let gateway = Gateway::new(http("200 OK", "{}")).await;
    for address in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:127.0.0.1"] {
        let way = to(&gateway, address);
        let refused = asked_over(&way, &gateway.identity(Some(&gateway.merchants))).await;
        assert!(matches!(&refused, Err(Refused::Apple(why)) if why.contains("refused_address")), "{refused:?}");
        assert_eq!(way.connected.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn apple_is_not_waited_for_longer_than_ten_seconds() {
    let servers = Authority::new();
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let tls = config.with_root_certificates(servers.roots()).with_no_client_auth();
    let way = Arc::new(Way { address: "17.171.78.7", to: None, connected: AtomicUsize::new(0) });
    let began = tokio::time::Instant::now();
    let refused = asked_over(&way, &Identity { merchant: "m".to_owned(), tls }).await;
    assert_eq!(refused, Err(Refused::Apple("no answer in 10 seconds".to_owned())));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[test]
fn only_apples_servers_are_asked() {
    for host in HOSTS {
        let url = place(&format!("https://{host}/paymentservices/startSession"), &HOSTS);
        assert!(url.is_some_and(|url| url.host_str() == Some(host)), "{host}");
    }
    assert!(place("HTTPS://APPLE-PAY-GATEWAY.APPLE.COM:443/paymentservices/startSession", &HOSTS).is_some());
    for text in [
        "",
        "apple-pay-gateway.apple.com",
        "http://apple-pay-gateway.apple.com/paymentservices/startSession",
        "https://apple-pay-gateway.apple.com:8443/",
        "https://apple-pay-gateway.apple.com./",
        "https://apple.com/",
        "https://evil.apple-pay-gateway.apple.com/",
        "https://apple-pay-gateway.apple.com.evil.example/",
        "https://apple-pay-gateway.apple.com@evil.example/",
        "https://user@apple-pay-gateway.apple.com/",
        "https://user:pw@apple-pay-gateway.apple.com/",
        "https://evil.example/?apple-pay-gateway.apple.com",
        "https://evil.example#apple-pay-gateway.apple.com",
        "https://evil.example\\@apple-pay-gateway.apple.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "file://apple-pay-gateway.apple.com/etc/passwd",
        "javascript:alert(1)",
    ] {
        assert_eq!(place(text, &HOSTS), None, "{text}");
    }
}
