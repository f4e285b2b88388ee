//! The line to an acquirer's host: persistent connections that are opened again when they break, many requests in flight on each,
//! and every answer given to whom it belongs. Nothing waits here for better times: what cannot go at once is not sent.

use super::Wrong;
use super::codec::Codec;
use super::connection::Connection;
use super::dial::Dial;
use super::dialect::Dialect;
use super::frame::{Frame, Tpdu};
use super::kind::Kind;
use super::mask;
use super::message::{Message, room};
use super::operation::Home;
use super::pending::{Answer, Book, Echoes, Entry, Key, NotAnswered, Owner, Request};
use super::speech::Speech;
use crate::acquirer::{Late, News};
use crate::clock::{Clock, Millis};
use crate::random::Random;
use metrics::{Counter, Gauge};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// What a link is set up with.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The acquirer's name, in logs and metrics.
    pub acquirer: String,
    /// At least 1.
    pub connections: usize,
    /// Requests in flight for each connection, at least 1. One more is not sent.
    pub window: usize,
    /// Whether a connection begins with a sign-on (network management, field 70: 001).
    pub sign_on: bool,
    /// Whether it ends with a sign-off (002).
    pub sign_off: bool,
    /// After how long a silence the host is asked for an echo (field 70: 301), milliseconds. `None`: never.
    pub echo_ms: Option<u64>,
}

/// How a host is spoken to, made of its dialect.
pub struct Language {
    pub dialect: Dialect,
    pub codec: Arc<Codec>,
    pub frame: Frame,
    pub speech: Speech,
    /// As whom we speak.
    pub home: Home,
}

/// What the callers and the connections of a link share.
pub(super) struct Shared {
    pub terms: Terms,
    pub language: Language,
    pub dial: Arc<dyn Dial>,
    pub clock: Clock,
    pub random: Random,
    pub stop: CancellationToken,
    /// By connection: there is something to write.
    pub work: Vec<Notify>,
    book: Mutex<Book>,
    news: mpsc::Sender<News>,
    /// Of the link's own messages (field 11); no payment's, so it need not outlive the process.
    stan: AtomicU32,
    gauges: Gauges,
}

struct Gauges {
    up: Gauge,
    in_flight: Gauge,
    late: Counter,
    connected: Counter,
}

/// A line. Dropped without [`Link::stop`], it signs off by itself.
pub struct Link {
    shared: Arc<Shared>,
    connections: TaskTracker,
    _stop: DropGuard,
}

impl Link {
    /// Begins to connect; returns at once, before a connection is up. `news` is never waited for: what its channel has no room for is
    /// dropped and logged.
    pub fn start(
        terms: Terms,
        language: Language,
        dial: Arc<dyn Dial>,
        clock: &Clock,
        random: &Random,
        news: mpsc::Sender<News>,
    ) -> Link {
        let stop = CancellationToken::new();
        let echoes = |field| language.speech.echoes(field);
        let echoes = Echoes { terminal: echoes(41), time: echoes(7), rrn: echoes(37) };
        let first_stan = u32::from_le_bytes(random.bytes()) % 999_999;
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(terms.connections, terms.window, echoes)),
            work: (0..terms.connections).map(|_| Notify::new()).collect(),
            stan: AtomicU32::new(first_stan),
            gauges: Gauges::of(&terms.acquirer),
            clock: clock.clone(),
            random: random.clone(),
            stop: stop.clone(),
            terms,
            language,
            dial,
            news,
        });
        let connections = TaskTracker::new();
        for lane in 0..shared.terms.connections {
            connections.spawn(Connection::new(shared.clone(), lane).run());
        }
        connections.close();
        Link { shared, connections, _stop: stop.drop_guard() }
    }

    /// Sends a request and waits for its answer: as long as the caller does. One that is dropped before has given up; its answer
    /// becomes [`News::Late`], by the name under which the store has it.
    ///
    /// # Errors
    /// [`NotAnswered::NotSent`] at once when it cannot go at once; [`NotAnswered::Unknown`] when the connection breaks.
    pub async fn send(&self, kind: Kind, message: Message, rrn: Option<String>) -> Answer {
        let (request, frame) = self.shared.write(kind, &message, rrn.clone())?;
        // It names a card; the frame is zeroed as soon as it is on its way.
        drop(message);
        let (lane, entry, answer) = self.shared.book().enter(request, frame)?;
        self.shared.wait((kind, rrn), lane, (entry, answer)).await
    }

    pub fn language(&self) -> &Language {
        &self.shared.language
    }

    /// Whether any connection is up.
    pub fn up(&self) -> bool {
        self.shared.book().connections_up() > 0
    }

    /// Sends nothing new, waits for what is in flight, signs off, and closes. Ends within a minute.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.connections.wait().await;
    }
}

impl Shared {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        // No code that holds the lock can panic half-way through a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one of the link's own messages over this connection.
    pub async fn exchange(&self, lane: usize, kind: Kind, message: &Message) -> Answer {
        let (request, frame) = self.write(kind, message, None)?;
        let entered = self.book().enter_on(lane, request, frame)?;
        self.wait((kind, None), lane, entered).await
    }

    /// Answers a request of the host's.
    pub fn reply(&self, lane: usize, tpdu: Option<Tpdu>, message: &Message) -> Result<(), Wrong> {
        let frame = self.frame(tpdu.map(Tpdu::answer), message)?;
        if !self.book().reply(lane, frame) {
            return Err(Wrong::new(None, "it asks and does not read"));
        }
        self.work[lane].notify_one();
        Ok(())
    }

    fn write(
        &self,
        kind: Kind,
        message: &Message,
        rrn: Option<String>,
    ) -> Result<(Request, Zeroizing<Vec<u8>>), NotAnswered> {
        let frame = self.frame(None, message).map_err(|wrong| {
            tracing::error!(acquirer = self.terms.acquirer, mti = %message.mti(), %wrong, "a message cannot be written");
            NotAnswered::NotSent { why: "the message cannot be written in the acquirer's dialect" }
        })?;
        let key = Key::of(message).ok_or(NotAnswered::NotSent { why: "the message has no trace number" })?;
        Ok((Request { kind, key, rrn }, frame))
    }

    fn frame(&self, tpdu: Option<Tpdu>, message: &Message) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        let mut body = Zeroizing::new(Vec::with_capacity(512));
        self.language.codec.encode(message, &mut body)?;
        let mut frame = Zeroizing::new(Vec::new());
        // The length, and a TPDU.
        room(&mut frame, body.len() + 16);
        self.language.frame.wrap(tpdu, &body, &mut frame)?;
        Ok(frame)
    }

    async fn wait(
        &self,
        (kind, rrn): (Kind, Option<String>),
        lane: usize,
        (entry, answer): (Entry, oneshot::Receiver<Answer>),
    ) -> Answer {
        self.work[lane].notify_one();
        self.gauges.in_flight.increment(1);
        let mut ticket = Ticket { shared: self, kind, rrn, entry, answer, answered: false };
        let answer = (&mut ticket.answer).await;
        ticket.answered = true;
        // The book ends no entry without an answer.
        answer.unwrap_or(Err(NotAnswered::Unknown { why: "the connection to the acquirer broke" }))
    }

    /// An answer has come: its caller's, or nobody's any more.
    pub fn answered(&self, message: Message) {
        let owner = match Key::of(&message) {
            Some(key) => self.book().owner(&key, self.clock.now()),
            None => Owner::Nobody,
        };
        match owner {
            Owner::Caller(request, caller) => {
                // The caller went this very moment.
                if let Err(Ok(message)) = caller.send(Ok(message)) {
                    self.late(Some(&request), 0, &message);
                }
            }
            Owner::Gone(request, ms) => self.late(Some(&request), ms, &message),
            Owner::Nobody => self.late(None, 0, &message),
        }
    }

    /// `request`: what it answers, as far as this process remembers.
    fn late(&self, request: Option<&Request>, late_ms: Millis, message: &Message) {
        let acquirer = self.terms.acquirer.as_str();
        let line = mask::line(&self.language.dialect, message);
        let what =
            if request.is_some() { "an answer after its caller had gone" } else { "an answer to no known request" };
        tracing::warn!(acquirer, late_ms, message = line, "{what}");
        self.gauges.late.increment(1);
        let answer = Key::of(message);
        let stan = answer.as_ref().map(|key| i64::from(key.stan));
        let sent = request.and_then(|request| request.rrn.clone().or(request.key.rrn.clone()));
        let rrn = sent.or(answer.and_then(|key| key.rrn));
        // Network management tells nothing about money.
        if let (Some(stan), Some(rrn), false) = (stan, rrn, message.mti().class() == b'8') {
            let speech = &self.language.speech;
            let outcome = match request {
                Some(request) => speech.late_outcome(request.kind, message),
                // Of a verification that nobody remembers, no code says more than of a payment.
                None => speech.outcome(Kind::Purchase, message),
            };
            let reversal = request.map(|request| request.kind == Kind::Reverse);
            self.tell(News::Late(Late { stan, rrn, reversal, outcome }));
        }
    }

    fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            tracing::warn!(
                acquirer = self.terms.acquirer,
                "a late answer or a link's coming up was told to nobody: too many"
            );
        }
    }

    /// A connection may be used for payments from now on.
    pub fn came_up(&self, lane: usize) {
        let up = {
            let mut book = self.book();
            book.up(lane);
            book.connections_up()
        };
        self.gauges.connected.increment(1);
        self.show();
        if up == 1 {
            self.tell(News::Up);
        }
    }

    /// A connection takes no new payments.
    pub fn closes(&self, lane: usize) {
        self.book().close(lane);
        self.show();
    }

    /// A connection is no more.
    pub fn broke(&self, lane: usize) {
        self.book().broken(lane, self.clock.now());
        self.show();
    }

    #[allow(clippy::cast_precision_loss)] // gauges are floats
    fn show(&self) {
        let up = self.book().connections_up();
        self.gauges.up.set(up as f64);
    }

    /// For field 11 of the link's own messages.
    pub fn next_stan(&self) -> i64 {
        i64::from(1 + self.stan.fetch_add(1, Ordering::Relaxed) % 999_999)
    }
}

impl Gauges {
    fn of(acquirer: &str) -> Gauges {
        let acquirer = || acquirer.to_owned();
        Gauges {
            up: metrics::gauge!("fuda_acquirer_up", "acquirer" => acquirer()),
            in_flight: metrics::gauge!("fuda_acquirer_in_flight", "acquirer" => acquirer()),
            late: metrics::counter!("fuda_acquirer_late_answers_total", "acquirer" => acquirer()),
            connected: metrics::counter!("fuda_acquirer_connected_total", "acquirer" => acquirer()),
        }
    }
}

/// A caller's place; frees it however the caller ends.
struct Ticket<'a> {
    shared: &'a Shared,
    kind: Kind,
    rrn: Option<String>,
    entry: Entry,
    answer: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.shared.gauges.in_flight.decrement(1);
        // From here on an answer finds nobody, and is told as a late one by who brings it.
        self.answer.close();
        if self.answered || self.shared.book().give_up(self.entry, self.shared.clock.now()) {
            return;
        }
        // The answer was there, and the caller went without looking.
        if let Ok(Ok(message)) = self.answer.try_recv() {
            let request = Key::of(&message).map(|key| Request { kind: self.kind, key, rrn: self.rrn.take() });
            self.shared.late(request.as_ref(), 0, &message);
        }
    }
}

#[cfg(test)]
mod tests;
