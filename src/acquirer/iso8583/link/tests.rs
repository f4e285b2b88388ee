//! The link against a host that a test plays by hand, over pipes in memory and in a time that leaps from timer to timer.

mod broken;
mod life;
mod matched;

use super::*;
use crate::acquirer::iso8583::dialect::GENERIC;
use crate::acquirer::iso8583::message::Mti;
use crate::acquirer::{Approval, BoxFuture, Outcome};
use crate::tls::Stream;
use jiff::tz::TimeZone;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

const START: Millis = 1_764_000_000_000;

fn generic() -> Language {
    let home = Home { institution: Some("123456".to_owned()), time_zone: TimeZone::UTC };
    Language::of(GENERIC.1, home).unwrap()
}

/// What is dialled arrives at the test.
struct Pipes {
    arrivals: mpsc::UnboundedSender<DuplexStream>,
    /// How much a pipe takes before its other end reads, bytes.
    size: usize,
    refuses: AtomicBool,
    dialled: AtomicUsize,
    /// How often the link has written.
    writes: Arc<AtomicUsize>,
}

impl Dial for Pipes {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.dialled.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(self.size);
            self.arrivals.send(theirs).unwrap();
            Ok(Box::new(Counted { inner: ours, writes: self.writes.clone() }) as Box<dyn Stream>)
        })
    }
}

struct Counted {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

struct World {
    link: Arc<Link>,
    pipes: Arc<Pipes>,
    arrivals: mpsc::UnboundedReceiver<DuplexStream>,
    news: mpsc::Receiver<News>,
    clock: Clock,
}

impl World {
    /// With the usual terms, changed by `change`.
    fn new(size: usize, change: impl FnOnce(&mut Terms)) -> World {
        let mut terms = Terms {
            acquirer: "bank".to_owned(),
            connections: 1,
            window: 8,
            sign_on: true,
            sign_off: true,
            echo_ms: Some(60_000),
        };
        change(&mut terms);
        let (sender, arrivals) = mpsc::unbounded_channel();
        let pipes = Arc::new(Pipes {
            arrivals: sender,
            size,
            refuses: AtomicBool::new(false),
            dialled: AtomicUsize::new(0),
            writes: Arc::default(),
        });
        let (tell, news) = mpsc::channel(16);
        let clock = Clock::of_runtime(START);
        let link = Link::start(terms, generic(), pipes.clone(), &clock, &Random::seeded(7), tell);
        World { link: Arc::new(link), pipes, arrivals, news, clock }
    }

    /// The next connection, not signed on.
    async fn arrival(&mut self) -> Host {
        let stream = self.arrivals.recv().await.unwrap();
        Host { stream, language: generic(), buffer: Vec::new() }
    }

    /// The next connection, signed on and up.
    async fn host(&mut self) -> Host {
        let mut host = self.arrival().await;
        let sign_on = host.hear().await;
        assert_eq!((sign_on.mti().as_str(), sign_on.text(70)), ("0800", Some("001")));
        host.approve(&sign_on).await;
        self.settle().await;
        assert!(self.link.up());
        host
    }

    /// Lets everything happen that needs no more than a moment.
    async fn settle(&self) {
        self.clock.sleep(10).await;
    }

    /// A request on its way, in a task of its own.
    fn send(&self, message: Message) -> tokio::task::JoinHandle<Answer> {
        let link = self.link.clone();
        tokio::spawn(async move { link.send(Kind::Purchase, message, None).await })
    }

    fn told(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// The next late answer that was told: field 11, field 37, whether of a reversal, as far as it is known.
    fn late(&mut self) -> Option<(i64, String, Option<bool>)> {
        match self.told()? {
            News::Late(late) => Some((late.stan, late.rrn, late.reversal)),
            News::Up => panic!("nothing came up"),
        }
    }
}

/// The other end of a connection.
struct Host {
    stream: DuplexStream,
    language: Language,
    buffer: Vec<u8>,
}

impl Host {
    async fn hear(&mut self) -> Message {
        loop {
            if let Some(framed) = self.language.frame.split(&self.buffer).unwrap() {
                let (message, taken) = (self.language.codec.decode(framed.message).unwrap(), framed.taken);
                self.buffer.drain(..taken);
                return message;
            }
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the link has closed");
        }
    }

    /// Whether the link has closed the connection and said nothing more.
    async fn is_left(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count == 0) && self.buffer.is_empty()
    }

    async fn say(&mut self, message: &Message) {
        let (mut body, mut frame) = (Vec::new(), Vec::new());
        self.language.codec.encode(message, &mut body).unwrap();
        self.language.frame.wrap(None, &body, &mut frame).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn approve(&mut self, request: &Message) {
        self.say(&self.answer(request, 0)).await;
    }

    fn answer(&self, request: &Message, response_code: i64) -> Message {
        let outcome = match response_code {
            0 => Outcome::Approved(Approval { response_code, auth_code: None, network_transaction_id: None }),
            _ => Outcome::Declined { response_code },
        };
        self.language.speech.answer(request, &outcome).unwrap()
    }
}

/// A purchase, as far as a link is concerned.
fn request(stan: u32, terminal: &str) -> Message {
    let mut message = Message::new(Mti::parse(b"0200").unwrap());
    for (field, value) in [
        (3, "000000"),
        (4, "000000001000"),
        (7, "1124160000"),
        (11, &format!("{stan:06}")),
        (37, &format!("{stan:012}")),
        (41, terminal),
    ] {
        message.set(field, value.as_bytes());
    }
    message
}

fn with(mut message: Message, field: u8, value: &str) -> Message {
    message.set(field, value.as_bytes());
    message
}

fn without(mut message: Message, fields: &[u8]) -> Message {
    for field in fields {
        message.remove(*field);
    }
    message
}

fn stan(message: &Message) -> &str {
    message.text(11).unwrap()
}

fn is_not_sent(answer: &Answer) -> bool {
    matches!(answer, Err(NotAnswered::NotSent { .. }))
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Err(NotAnswered::Unknown { .. }))
}
