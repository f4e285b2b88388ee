//! The guard, on a network where every address exists and no packet is sent.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Names with their addresses; `turns` gives others from its second answer on. Connections are counted, and refused.
#[derive(Default)]
struct Imagined {
    resolved: AtomicUsize,
    connected: Mutex<Vec<SocketAddr>>,
}

const NAMES: [(&str, &[&str]); 12] = [
    ("public.example", &["93.184.216.34"]),
    ("private.example", &["10.0.0.5"]),
    ("mixed.example", &["93.184.216.34", "192.168.1.1"]),
    ("mixed6.example", &["2606:2800:220:1::1", "fd00::1"]),
    ("mapped.example", &["::ffff:127.0.0.1"]),
    ("nat64.example", &["64:ff9b::7f00:1"]),
    ("metadata.example", &["169.254.169.254"]),
    ("localhost", &["127.0.0.1", "::1"]),
    ("zero.example", &["0.0.0.0"]),
    ("linklocal.example", &["fe80::1"]),
    ("nothing.example", &[]),
    ("sixtofour.example", &["2002:a00:1::"]),
];

impl Network for Imagined {
    fn resolve(&self, host: String) -> Pending<Vec<IpAddr>> {
        let turn = self.resolved.fetch_add(1, Ordering::SeqCst);
        let host = host.trim_end_matches('.').to_owned();
        let found = match host.as_str() {
            // What a rebinding name does: public for who checks, private for who connects.
            "turns.example" => Some(vec![if turn == 0 { "93.184.216.34" } else { "127.0.0.1" }]),
            "turned.example" => Some(vec!["127.0.0.1"]),
            _ => NAMES.iter().find(|(name, _)| *name == host).map(|(_, addresses)| addresses.to_vec()),
        };
        let found = found.map(|found| found.iter().map(|address| address.parse().unwrap()).collect());
        Box::pin(async move { found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) })
    }

    fn connect(&self, address: SocketAddr) -> Pending<Box<dyn Stream>> {
        self.connected.lock().unwrap().push(address);
        Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) })
    }
}

fn courier(network: &Arc<Imagined>, private: bool) -> Courier {
    let tls = crate::tls::client().unwrap();
    Courier::new(network.clone(), &tls, &guard::PORTS, private, &Clock::fixed(0))
}

fn letter(url: &str, live: bool) -> Letter<'_> {
    Letter { url, live, id: "evt_1", timestamp_s: 1, signature: "v1,x".to_owned(), body: "{}".to_owned() }
}

/// Each with the word that its delivery log begins with.
const HOSTILE: [(&str, &str); 84] = [
    // Not a place for a webhook.
    ("", "refused_url"),
    ("shop.example/hook", "refused_url"),
    ("ftp://public.example/", "refused_url"),
    ("file:///etc/passwd", "refused_url"),
    ("gopher://public.example:70/_x", "refused_url"),
    ("javascript:alert(1)", "refused_url"),
    ("data:text/plain,x", "refused_url"),
    ("ws://public.example/", "refused_url"),
    ("unix:///run/docker.sock", "refused_url"),
    ("http+unix://%2Frun%2Fdocker.sock/info", "refused_url"),
    ("dict://127.0.0.1:11211/stat", "refused_url"),
    ("ldap://127.0.0.1/", "refused_url"),
    ("http://", "refused_url"),
    ("https:///", "refused_url"),
    ("http://user:pw@public.example/", "refused_url"),
    ("http://user@127.0.0.1/", "refused_url"),
    ("http://public.example@127.0.0.1/", "refused_url"),
    ("http://127.0.0.1#@public.example/", "refused_address"),
    ("http://[::1/", "refused_url"),
    ("http://[fe80::1%25eth0]/", "refused_url"),
    ("http://256.0.0.1/", "refused_url"),
    ("http://1.2.3.4.5/", "refused_url"),
    ("http://exa mple/", "refused_url"),
    // Ports.
    ("http://public.example:22/", "refused_port"),
    ("http://public.example:25/", "refused_port"),
    ("https://public.example:5432/", "refused_port"),
    ("http://public.example:6379/", "refused_port"),
    ("http://public.example:0/", "refused_port"),
    ("http://public.example:65535/", "refused_port"),
    ("http://public.example:65536/", "refused_url"),
    // Loopback in every spelling.
    ("http://127.0.0.1/", "refused_address"),
    ("http://127.1/", "refused_address"),
    ("http://127.0.1/", "refused_address"),
    ("http://2130706433/", "refused_address"),
    ("http://0x7f000001/", "refused_address"),
    ("http://0x7f.1/", "refused_address"),
    ("http://0x7f.0x0.0x0.0x1/", "refused_address"),
    ("http://0177.0.0.1/", "refused_address"),
    ("http://0177.0.0.01/", "refused_address"),
    ("http://017700000001/", "refused_address"),
    ("http://00000177.1/", "refused_address"),
    ("http://127.0.0.1./", "refused_address"),
    ("http://１２７.０.０.１/", "refused_address"),
    ("http://①②⑦.⓪.⓪.①/", "refused_address"),
    ("http://127。0。0。1/", "refused_address"),
    ("http://%31%32%37.0.0.1/", "refused_address"),
    ("http://127.255.255.254:8080/", "refused_address"),
    ("http://[::1]/", "refused_address"),
    ("http://[0:0:0:0:0:0:0:1]/", "refused_address"),
    ("http://[::ffff:127.0.0.1]/", "refused_address"),
    ("http://[::ffff:7f00:1]/", "refused_address"),
    ("http://[::127.0.0.1]/", "refused_address"),
    ("http://[64:ff9b::127.0.0.1]/", "refused_address"),
    ("http://[64:ff9b::a9fe:a9fe]/", "refused_address"),
    ("http://[2002:7f00:1::]/", "refused_address"),
    // What is nobody's, or only ours.
    ("http://0/", "refused_address"),
    ("http://0.0.0.0/", "refused_address"),
    ("http://[::]/", "refused_address"),
    ("http://10.0.0.1/", "refused_address"),
    ("http://172.16.0.1/", "refused_address"),
    ("http://172.31.255.255/", "refused_address"),
    ("http://192.168.0.1/", "refused_address"),
    ("http://3232235521/", "refused_address"),
    ("http://100.64.0.1/", "refused_address"),
    ("http://169.254.169.254/latest/meta-data/", "refused_address"),
    ("http://0xa9fea9fe/", "refused_address"),
    ("http://2852039166/", "refused_address"),
    ("http://[fd00:ec2::254]/", "refused_address"),
    ("http://[fe80::1]/", "refused_address"),
    ("http://224.0.0.1/", "refused_address"),
    ("http://[ff02::1]/", "refused_address"),
    ("http://192.0.2.1/", "refused_address"),
    ("http://[2001:db8::1]/", "refused_address"),
    ("http://198.18.0.1/", "refused_address"),
    ("http://255.255.255.255/", "refused_address"),
    // Names.
    ("http://localhost/", "refused_address"),
    ("http://LOCALHOST./", "refused_address"),
    ("http://private.example/", "refused_address"),
    ("https://mixed.example/", "refused_address"),
    ("https://mixed6.example/", "refused_address"),
    ("http://mapped.example/", "refused_address"),
    ("http://metadata.example/", "refused_address"),
    ("http://turned.example/", "refused_address"),
    ("http://nowhere.example/", "dns"),
];

#[tokio::test]
async fn hostile_urls_are_refused_without_a_connection() {
    let network = Arc::new(Imagined::default());
    let courier = courier(&network, false);
    for (url, word) in HOSTILE {
        let tried = courier.deliver(letter(url, false), true).await;
        let problem = tried.problem.clone().unwrap_or_default();
        assert!(problem.starts_with(&format!("{word}: ")), "{url}: {problem}");
        assert_eq!((tried.status, tried.answer), (None, None), "{url}");
        // What a name leads to may change; what the URL says does not.
        let by_name = problem.contains("the name");
        assert_eq!(tried.hopeless, !by_name, "{url}: {problem}");
        assert!(!problem.contains("10.0") && !problem.contains("192.168"), "{url}: {problem}");
    }
    for name in ["nat64.example", "zero.example", "linklocal.example", "nothing.example", "sixtofour.example"] {
        let tried = courier.deliver(letter(&format!("https://{name}:8443/"), true), true).await;
        assert!(tried.problem.unwrap().contains("the name leads to"), "{name}");
    }
    let tried = courier.deliver(letter("http://public.example/", true), true).await;
    assert_eq!(tried.problem.as_deref(), Some("refused_url: with live keys webhooks go to https only"));
    assert_eq!(*network.connected.lock().unwrap(), []);
}

/// The name is resolved once, and the connection goes to what was judged.
#[tokio::test]
async fn a_name_that_changes_gains_nothing() {
    let network = Arc::new(Imagined::default());
    let tried = courier(&network, false).deliver(letter("http://turns.example:8080/", false), false).await;
    assert_eq!(tried.problem.as_deref(), Some("connect: connection refused"));
    assert_eq!(network.resolved.load(Ordering::SeqCst), 1);
    assert_eq!(*network.connected.lock().unwrap(), ["93.184.216.34:8080".parse().unwrap()]);
    // The next try resolves anew, and is refused.
    let courier = courier(&network, false);
    assert!(
        courier.deliver(letter("http://turns.example:8080/", false), false).await.problem.unwrap().contains("loopback")
    );
    assert_eq!(network.connected.lock().unwrap().len(), 1);
}

/// Only where the operator allows it, and only for the delivery that may.
#[tokio::test]
async fn a_sandbox_may_reach_its_own_machine() {
    let network = Arc::new(Imagined::default());
    let courier = courier(&network, true);
    courier.deliver(letter("http://127.0.0.1:3000/", false), true).await;
    courier.deliver(letter("http://private.example:9/", false), true).await;
    for url in ["http://169.254.169.254/", "http://metadata.example/", "http://224.0.0.1/", "http://linklocal.example/"]
    {
        let tried = courier.deliver(letter(url, false), true).await;
        assert!(tried.problem.unwrap().starts_with("refused_address"), "{url}: not even there");
    }
    let connected = network.connected.lock().unwrap().clone();
    assert_eq!(connected, ["127.0.0.1:3000".parse().unwrap(), "10.0.0.5:9".parse().unwrap()]);
    let tried = courier.deliver(letter("http://127.0.0.1:8080/", false), false).await;
    assert!(tried.problem.unwrap().starts_with("refused_address"));
    assert_eq!(network.connected.lock().unwrap().len(), 2);
}

#[test]
fn wishes() {
    let at = 1_700_000_000_000;
    for (text, wish) in [
        ("120", Some(120_000)),
        (" 0 ", Some(0)),
        ("99999999", Some(LONGEST_WISH_MS)),
        ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60_000)),
        ("Tue, 14 Nov 2022 22:14:20 GMT", None),
        ("Mon, 14 Nov 2022 22:14:20 GMT", Some(0)),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("札", None),
    ] {
        assert_eq!(wish_ms(text, at), wish, "{text}");
    }
}

#[test]
fn what_is_kept_of_an_answer() {
    assert_eq!(beginning("ありがとう\n\0".as_bytes()), "ありがとう  ");
    assert_eq!(beginning(&[b'x'; READ]).len(), KEPT);
    assert_eq!(beginning(&[0xff, b'a']), "\u{fffd}a");
    assert!(beginning(b"number 4111 1111 1111 1111!").starts_with("(withheld"));
}
