//! One connection of a link and its life: connect, sign on, write, read, ask for an echo in silence, sign off; and again after
//! a pause that grows.

use super::frame::{LIMIT, Tpdu};
use super::kind::Kind;
use super::link::{Language, Shared};
use super::mask;
use super::message::Message;
use super::operation::managing;
use super::pending::{BATCH, NotAnswered};
use super::values::Scratch;
use crate::acquirer::{Approval, Outcome};
use crate::clock::Millis;
use crate::tls::Stream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use zeroize::{Zeroize as _, Zeroizing};

/// How long the host may take to accept a connection, its TLS included, milliseconds.
const CONNECT_MS: u64 = 10_000;

/// How long it may take to answer a sign-on or an echo, milliseconds.
const MANAGEMENT_MS: u64 = 10_000;

/// How long the rest of a message may take to come, milliseconds: a host that stops half-way has lost its place.
const REST_MS: u64 = 10_000;

/// How long a stop waits for what is in flight, milliseconds: no deadline is longer.
const DRAIN_MS: u64 = 45_000;

/// How often it looks, milliseconds.
const DRAIN_LOOK_MS: u64 = 20;

/// How long it waits for the answer to the sign-off, milliseconds.
const SIGN_OFF_MS: u64 = 2_000;

/// The shortest and the longest pause before a connection is tried again, milliseconds; the half of it by chance.
const PAUSE_MS: u64 = 100;
const LONGEST_PAUSE_MS: u64 = 30_000;

/// How long a connection must have been up, milliseconds, for the next pause to be the shortest.
const STEADY_MS: Millis = 1_000;

/// What is read at once, bytes: room for several messages, and for the rest of one.
const BUFFER: usize = 64 * 1024;

/// How a connection ended.
enum End {
    /// As asked.
    Stopped,
    Broken(String),
}

pub(super) struct Connection {
    shared: Arc<Shared>,
    lane: usize,
    /// A message has come.
    heard: Notify,
    /// Since when it is up, or was when it broke; 0: it was not.
    up_since: AtomicI64,
}

impl Connection {
    pub fn new(shared: Arc<Shared>, lane: usize) -> Connection {
        Connection { shared, lane, heard: Notify::new(), up_since: AtomicI64::new(0) }
    }

    /// Until the link is stopped.
    pub async fn run(self) {
        let connection = Arc::new(self);
        let shared = connection.shared.clone();
        let mut failures = 0u32;
        loop {
            let dialled = shared.clock.within(CONNECT_MS, shared.dial.dial());
            let Some(dialled) = shared.stop.run_until_cancelled(dialled).await else { return };
            connection.up_since.store(0, Ordering::Relaxed);
            let end = match dialled {
                Some(Ok(stream)) => {
                    let talking = connection.clone();
                    // In a task of its own: one that panics is not the last.
                    let talked = tokio::spawn(async move { talking.talk(stream).await }).await;
                    shared.broke(connection.lane);
                    talked.unwrap_or_else(|_| End::Broken("it panicked".to_owned()))
                }
                Some(Err(error)) => End::Broken(format!("cannot connect: {error}")),
                None => End::Broken("cannot connect: no answer".to_owned()),
            };
            let End::Broken(why) = end else { return };
            let up_since = connection.up_since.load(Ordering::Relaxed);
            let steady = up_since > 0 && shared.clock.now() - up_since >= STEADY_MS;
            failures = if steady { 1 } else { failures + 1 };
            let pause = pause(failures, u64::from_le_bytes(shared.random.bytes()));
            let (acquirer, number) = (&shared.terms.acquirer, connection.lane);
            tracing::warn!(acquirer, connection = number, why, again_in_ms = pause, "no connection to the acquirer");
            if shared.stop.run_until_cancelled(shared.clock.sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn talk(&self, stream: Box<dyn Stream>) -> End {
        let (reading, writing) = tokio::io::split(stream);
        tokio::select! {
            end = self.read(reading) => end,
            end = self.write(writing) => end,
            end = self.keep() => end,
        }
    }

    /// The connection's own conversation.
    async fn keep(&self) -> End {
        if self.shared.terms.sign_on {
            let signed_on = self.manage(Kind::SignOn, MANAGEMENT_MS);
            match self.shared.stop.run_until_cancelled(signed_on).await {
                None => return End::Stopped,
                Some(Ok(())) => {}
                Some(Err(why)) => return End::Broken(format!("sign-on: {why}")),
            }
        }
        tracing::info!(acquirer = self.shared.terms.acquirer, connection = self.lane, "connected to the acquirer");
        self.up_since.store(self.shared.clock.now(), Ordering::Relaxed);
        self.shared.came_up(self.lane);
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            why = self.listen_for_silence() => return End::Broken(why),
        }
        self.shared.closes(self.lane);
        self.shared.clock.within(DRAIN_MS, self.drain()).await;
        if self.shared.terms.sign_off
            && let Err(why) = self.manage(Kind::SignOff, SIGN_OFF_MS).await
        {
            tracing::warn!(acquirer = self.shared.terms.acquirer, connection = self.lane, why, "no sign-off");
        }
        End::Stopped
    }

    /// Asks for an echo after each silence; ends with what was wrong with the answer.
    async fn listen_for_silence(&self) -> String {
        let Some(echo_ms) = self.shared.terms.echo_ms else { return std::future::pending().await };
        loop {
            if self.shared.clock.within(echo_ms, self.heard.notified()).await.is_none()
                && let Err(why) = self.manage(Kind::Echo, MANAGEMENT_MS).await
            {
                return format!("echo: {why}");
            }
        }
    }

    async fn drain(&self) {
        while self.shared.book().in_flight(self.lane) > 0 {
            self.shared.clock.sleep(DRAIN_LOOK_MS).await;
        }
    }

    async fn manage(&self, kind: Kind, ms: u64) -> Result<(), String> {
        let (stan, now) = (self.shared.next_stan(), self.shared.clock.now());
        let Language { speech, home, .. } = &self.shared.language;
        let message = {
            let mut scratch = Scratch::default();
            let values = managing(stan, now, home, &mut scratch)?;
            speech.say(kind, 0, &values).map_err(|wrong| wrong.to_string())?
        };
        match self.shared.clock.within(ms, self.shared.exchange(self.lane, kind, &message)).await {
            None => Err("no answer".to_owned()),
            Some(Err(NotAnswered::NotSent { why } | NotAnswered::Unknown { why })) => Err(why.to_owned()),
            Some(Ok(answer)) => match speech.outcome(kind, &answer) {
                Outcome::Approved(_) => Ok(()),
                Outcome::Declined { response_code } => Err(format!("the host answered {response_code:02}")),
                Outcome::Unknown { why } | Outcome::NotSent { why } => Err(why.to_owned()),
            },
        }
    }

    /// Writes whatever waits, as much at once as there is.
    async fn write(&self, mut stream: impl AsyncWrite + Unpin) -> End {
        // The last frame may reach over the end of the batch: it never grows.
        let mut batch = Zeroizing::new(Vec::with_capacity(BATCH + LIMIT + 16));
        loop {
            self.shared.work[self.lane].notified().await;
            while self.shared.book().take(self.lane, &mut batch) {
                let written = match stream.write_all(&batch).await {
                    Ok(()) => stream.flush().await,
                    Err(error) => Err(error),
                };
                batch.as_mut_slice().zeroize();
                batch.clear();
                if let Err(error) = written {
                    return End::Broken(format!("cannot write: {error}"));
                }
            }
        }
    }

    async fn read(&self, mut stream: impl AsyncRead + Unpin) -> End {
        let mut buffer = Zeroizing::new(vec![0; BUFFER]);
        let mut filled = 0;
        loop {
            let next = stream.read(&mut buffer[filled..]);
            let read = if filled == 0 { Some(next.await) } else { self.shared.clock.within(REST_MS, next).await };
            match read {
                None => return End::Broken("the host stopped within a message".to_owned()),
                Some(Ok(0)) => return End::Broken("the host closed the connection".to_owned()),
                Some(Ok(count)) => filled += count,
                Some(Err(error)) => return End::Broken(format!("cannot read: {error}")),
            }
            let mut taken = 0;
            loop {
                match self.shared.language.frame.split(&buffer[taken..filled]) {
                    Ok(Some(framed)) => {
                        taken += framed.taken;
                        self.heard.notify_one();
                        // A length of zero keeps the connection alive and says nothing.
                        if !framed.message.is_empty() {
                            self.hear(framed.tpdu, framed.message);
                        }
                    }
                    Ok(None) => break,
                    Err(wrong) => return End::Broken(format!("the host's messages cannot be told apart: {wrong}")),
                }
            }
            buffer.copy_within(taken..filled, 0);
            buffer[filled - taken..filled].zeroize();
            filled -= taken;
        }
    }

    fn hear(&self, tpdu: Option<Tpdu>, bytes: &[u8]) {
        let acquirer = self.shared.terms.acquirer.as_str();
        match self.shared.language.codec.decode(bytes) {
            // Where the next one begins is known: the connection goes on.
            Err(wrong) => {
                tracing::warn!(acquirer, length = bytes.len(), %wrong, "a message of the host's cannot be read")
            }
            Ok(message) => match message.mti().answer() {
                Some(_) => self.asked(tpdu, &message),
                None => self.shared.answered(message),
            },
        }
    }

    /// The host asks too: for echoes, mostly. It is answered yes.
    fn asked(&self, tpdu: Option<Tpdu>, request: &Message) {
        let (acquirer, language) = (self.shared.terms.acquirer.as_str(), &self.shared.language);
        let yes = Outcome::Approved(Approval { response_code: 0, auth_code: None, network_transaction_id: None });
        let answer = match request.mti().class() {
            b'8' => language.speech.answer(request, &yes),
            _ => None,
        };
        let Some(answer) = answer else {
            let message = mask::line(&language.dialect, request);
            tracing::warn!(acquirer, message, "the host asks for what has no answer");
            return;
        };
        if let Err(wrong) = self.shared.reply(self.lane, tpdu, &answer) {
            tracing::warn!(acquirer, %wrong, "a request of the host's was not answered");
        }
    }
}

/// How long until the next try, milliseconds: twice as long after each failure, half of it by chance, so that many gateways do not
/// come back at once.
fn pause(failures: u32, draw: u64) -> u64 {
    let longest = PAUSE_MS.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE_MS);
    longest / 2 + draw % (longest / 2 + 1)
}
