//! One delivery: connect to an address that was judged, post, read a little of the answer. Nothing is followed, nothing is
//! believed but the status. The network is passed in, so that tests meet every address without sending it a packet.

use super::guard::{self, Policy, Refused};
use crate::card::contains_any_number;
use crate::clock::{Clock, Millis, Stopwatch};
use crate::tls::Stream;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a receiver may take for the head of its answer, name and connection included, milliseconds (contract section 9).
const ANSWER_MS: u64 = 15_000;

/// How long it may take for what is read of the body, milliseconds: the body means nothing.
const BODY_MS: u64 = 2_000;

/// The longest time that [`Courier::deliver`] takes, milliseconds.
pub const DELIVERY_MS: i64 = 17_000;

/// What is read of an answer, and what is kept of it, bytes and characters.
const READ: usize = 16 * 1024;
const KEPT: usize = 1_024;

/// How long one of a name's addresses may take to connect, milliseconds: then the next is tried.
const CONNECT_MS: u64 = 5_000;

/// The longest `Retry-After` that is heeded, milliseconds.
const LONGEST_WISH_MS: i64 = 24 * 60 * 60 * 1000;

pub type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The way out: names and connections.
pub trait Network: Send + Sync {
    fn resolve(&self, host: String) -> Pending<Vec<IpAddr>>;
    fn connect(&self, address: SocketAddr) -> Pending<Box<dyn Stream>>;
}

/// The machine's own.
pub struct Machine;

impl Network for Machine {
    fn resolve(&self, host: String) -> Pending<Vec<IpAddr>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Pending<Box<dyn Stream>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Resolves, judges, connects to what was judged: a name that changes in between gains nothing.
#[derive(Clone)]
pub struct Connector {
    network: Arc<dyn Network>,
    policy: Arc<Policy>,
    clock: Clock,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct Unreachable(Refused);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl std::error::Error for Unreachable {}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<Box<dyn Stream>>, Unreachable> {
        let fail = |reason: String| Unreachable(Refused { reason, lasting: false });
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                let found = self.network.resolve(host.to_owned()).await;
                found.map_err(|_| fail("dns: the name was not found".to_owned()))?
            }
        };
        guard::judge(&addresses, &self.policy).map_err(Unreachable)?;
        let mut last = "connect: no address answered".to_owned();
        for address in addresses {
            match self.clock.within(CONNECT_MS, self.network.connect(SocketAddr::new(address, port))).await {
                Some(Ok(stream)) => return Ok(TokioIo::new(stream)),
                Some(Err(error)) => last = format!("connect: {}", error.kind()),
                None => last = "connect: no address answered in time".to_owned(),
            }
        }
        Err(fail(last))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unreachable>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// What is sent: a body with its signature.
pub struct Letter<'a> {
    pub url: &'a str,
    pub live: bool,
    pub id: &'a str,
    pub timestamp_s: i64,
    pub signature: String,
    pub body: String,
}

/// What became of one try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    pub at: Millis,
    pub ms: i64,
    /// `None`: there was no answer, and `problem` says why.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
    pub problem: Option<String>,
    /// The URL can never be called.
    pub hopeless: bool,
    /// How long the receiver asks to be left alone, milliseconds.
    pub wish_ms: Option<i64>,
}

pub type Https = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// Two clients with connections of their own: what a sandbox's may reach is nothing that the strict one reuses.
#[derive(Clone)]
pub struct Courier {
    strict: (Arc<Policy>, Https),
    /// For the sandbox, where the operator allows it.
    open: Option<(Arc<Policy>, Https)>,
    network: Arc<dyn Network>,
    clock: Clock,
}

impl Courier {
    /// `private`: test webhooks may go to any address and port.
    pub fn new(
        network: Arc<dyn Network>,
        tls: &rustls::ClientConfig,
        ports: &[u16],
        private: bool,
        clock: &Clock,
    ) -> Courier {
        let with = |private: bool| {
            let policy = Arc::new(Policy { private, ports: ports.to_vec() });
            let connector = Connector { network: network.clone(), policy: policy.clone(), clock: clock.clone() };
            (policy, client(connector, tls))
        };
        let (strict, open) = (with(false), private.then(|| with(true)));
        Courier { strict, open, network, clock: clock.clone() }
    }

    /// A client for others than webhooks, with TLS settings and connections of its own: public addresses only, judged as those
    /// of webhooks are. The port is for the caller to judge.
    pub fn strictly(&self, tls: &rustls::ClientConfig) -> Https {
        let (network, policy, clock) = (self.network.clone(), self.strict.0.clone(), self.clock.clone());
        client(Connector { network, policy, clock }, tls)
    }

    /// One try; never longer than [`DELIVERY_MS`]. `private`: this delivery may use the sandbox's way, if there is one.
    pub async fn deliver(&self, letter: Letter<'_>, private: bool) -> Tried {
        let started = Stopwatch::start();
        let at = self.clock.now();
        let (policy, client) = self.open.as_ref().filter(|_| private).unwrap_or(&self.strict);
        let mut tried = match request(&letter, policy) {
            Err(refused) => failed(refused),
            Ok(request) => match self.clock.within(ANSWER_MS, client.request(request)).await {
                None => Tried { problem: Some("timeout: no answer in 15 seconds".to_owned()), ..Tried::default() },
                Some(Err(error)) => failed(reason(&error)),
                Some(Ok(response)) => self.answered(response).await,
            },
        };
        tried.at = at;
        tried.ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        tried
    }

    async fn answered(&self, response: Response<Incoming>) -> Tried {
        let status = response.status().as_u16();
        let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wish_ms = wish.and_then(|text| wish_ms(text, self.clock.now()));
        let mut bytes = Vec::new();
        let mut body = response.into_body();
        self.clock
            .within(BODY_MS, async {
                while let Some(Ok(frame)) = body.frame().await {
                    bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
                    if bytes.len() >= READ {
                        break;
                    }
                }
            })
            .await;
        Tried { status: Some(status), answer: Some(beginning(&bytes)), wish_ms, ..Tried::default() }
    }
}

fn client(connector: Connector, tls: &rustls::ClientConfig) -> Https {
    let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(20)).pool_max_idle_per_host(8);
    builder.http1_max_buf_size(2 * READ);
    builder.build(https.wrap_connector(connector))
}

fn request(letter: &Letter<'_>, policy: &Policy) -> Result<Request<Full<Bytes>>, Refused> {
    let mut url = guard::check(letter.url, letter.live, policy)?;
    url.set_fragment(None);
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("Fuda/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", letter.id)
        .header("webhook-timestamp", letter.timestamp_s)
        .header("webhook-signature", letter.signature.as_str());
    let unfit = |_| Refused { reason: "refused_url: it cannot be sent as it stands".to_owned(), lasting: true };
    request.body(Full::new(Bytes::from(letter.body.clone()))).map_err(unfit)
}

fn failed(refused: Refused) -> Tried {
    Tried { problem: Some(refused.reason), hopeless: refused.lasting, ..Tried::default() }
}

/// Ours stands at the bottom of the chain of causes; what others say of a broken connection may quote the receiver.
fn reason(error: &(dyn std::error::Error + 'static)) -> Refused {
    let mut cause = Some(error);
    let mut text = "broken: the connection broke off";
    while let Some(one) = cause {
        if let Some(Unreachable(refused)) = one.downcast_ref::<Unreachable>() {
            return refused.clone();
        }
        if one.is::<rustls::Error>() {
            text = "tls: the receiver's certificate or encryption was not accepted";
        }
        if one.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            text = "broken: the answer is not HTTP";
        }
        // An io::Error hides what it wraps from `source`.
        let wrapped = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| one.source());
    }
    Refused { reason: text.to_owned(), lasting: false }
}

/// For the log: text without control characters, and none that could hold a card number.
fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept: String = text.chars().take(KEPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if contains_any_number(&text) { "(withheld: it holds what may be a card number)".to_owned() } else { kept }
}

/// Seconds, or a date (RFC 9110 section 10.2.3); `None` for anything else.
fn wish_ms(text: &str, now: Millis) -> Option<i64> {
    let text = text.trim();
    let ms = match text.parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1_000,
        Err(_) => jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond() - now,
    };
    Some(ms.clamp(0, LONGEST_WISH_MS))
}

#[cfg(test)]
mod tests;
