//! One conversation with a host, message by message, for people: sign-on, echo, a verification of nothing, sign-off. Without a
//! store and without money; the connection is the conversation's own.

use super::bank::{dialler, home, language};
use super::config::Settings;
use super::frame::LIMIT;
use super::kind::Kind;
use super::link::Language;
use super::mask;
use super::message::Message;
use super::operation::{Spoken, managing};
use super::values::Scratch;
use crate::acceptor::Acceptor;
use crate::acquirer::{Ask, Funding, Named, Operation, Outcome, Trace};
use crate::card::Card;
use crate::clock::{Clock, Stopwatch};
use crate::error::Error;
use crate::money::Money;
use crate::random::Random;
use crate::tls::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// How long the host may take to accept the connection, milliseconds.
const CONNECT_MS: u64 = 10_000;

/// A message with what of it may be shown: number, name, masked value.
pub struct Shown {
    pub mti: String,
    pub fields: Vec<(String, String, String)>,
}

/// A message that was sent. Without an answer it is the last.
pub struct Exchange {
    pub kind: &'static str,
    pub sent: Shown,
    pub answered: Option<(Shown, Outcome)>,
    pub ms: u64,
}

impl Exchange {
    pub fn good(&self) -> bool {
        matches!(self.answered, Some((_, Outcome::Approved(_))))
    }
}

/// All that was said, and what broke the conversation off, if anything did: what came before says most about why.
pub struct Told {
    pub exchanges: Vec<Exchange>,
    pub error: Option<Error>,
}

/// Reads what the settings name, the dialect's file.
///
/// # Errors
/// What is wrong with it, with its key.
pub fn read(settings: &Settings) -> Result<(), Error> {
    language(&settings.dialect, home(settings)?).map(|_| ())
}

/// What is verified: the card, and as whom.
pub struct Subject {
    pub card: Card,
    pub acceptor: Acceptor,
    /// Zero, in the currency that is named.
    pub money: Money,
}

/// A conversation that is being held.
struct Talk<'a> {
    settings: &'a Settings,
    language: Language,
    stream: Box<dyn Stream>,
    clock: &'a Clock,
    random: &'a Random,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

/// Ends with the first message that was not answered with a yes.
///
/// The error: the settings or the dialect are wrong, there is no connection, a message cannot be written, or no answer came that
/// can be read.
pub async fn check(settings: &Settings, subject: Option<&Subject>, (clock, random): (&Clock, &Random)) -> Told {
    let mut exchanges = Vec::new();
    let error = converse(settings, subject, (clock, random), &mut exchanges).await.err();
    Told { exchanges, error }
}

async fn converse(
    settings: &Settings,
    subject: Option<&Subject>,
    (clock, random): (&Clock, &Random),
    told: &mut Vec<Exchange>,
) -> Result<(), Error> {
    let language = language(&settings.dialect, home(settings)?)?;
    let dial = dialler(settings, clock)?;
    let dialled = clock.within(CONNECT_MS, dial.dial()).await;
    let refused = |why: &str| Error::internal(format!("cannot connect to {}: {why}", settings.address));
    let stream = dialled.ok_or_else(|| refused("no answer"))?.map_err(|error| refused(&error.to_string()))?;
    let buffer = Zeroizing::new(vec![0; 2 * LIMIT]);
    let mut talk = Talk { settings, language, stream, clock, random, buffer, filled: 0 };
    for kind in [Kind::SignOn, Kind::Echo, Kind::Verify, Kind::SignOff] {
        let wanted = match kind {
            Kind::SignOn => settings.sign_on,
            // Hosts to which it would mean all our connections are not told so.
            Kind::SignOff => settings.sign_off,
            Kind::Verify => subject.is_some(),
            _ => true,
        };
        if !wanted || !talk.language.speech.speaks(kind) {
            continue;
        }
        let said = talk.message(kind, subject).and_then(|message| Ok((talk.framed(&message)?, message)));
        let (frame, message) = said.map_err(|error| error.context(&format!("the {} cannot be said", kind.name())))?;
        let (exchange, error) = talk.exchange(kind, &message, &frame).await;
        let good = exchange.good();
        told.push(exchange);
        if let Some(error) = error {
            return Err(error.context(kind.name()));
        }
        if !good {
            break;
        }
    }
    Ok(())
}

impl Talk<'_> {
    /// And why there is no answer, where there is none.
    async fn exchange(&mut self, kind: Kind, message: &Message, frame: &[u8]) -> (Exchange, Option<Error>) {
        let watch = Stopwatch::start();
        let deadline = self.settings.deadlines.charge_ms;
        let answer = self.clock.within(deadline, self.ask(message, frame)).await;
        let ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let answer = answer.unwrap_or_else(|| Err(Error::internal(format!("no answer within {deadline} ms"))));
        let answered = answer.map(|answer| (self.shown(&answer), self.language.speech.outcome(kind, &answer)));
        let (answered, error) = match answered {
            Ok(answered) => (Some(answered), None),
            Err(error) => (None, Some(error)),
        };
        (Exchange { kind: kind.name(), sent: self.shown(message), answered, ms }, error)
    }

    fn message(&self, kind: Kind, subject: Option<&Subject>) -> Result<Message, Error> {
        let Language { speech, home, .. } = &self.language;
        let now = self.clock.now();
        // Of no payment, so of no store: two checks at the same second are very unlikely to draw the same.
        let draw = u64::from_le_bytes(self.random.bytes());
        let stan = 1 + i64::try_from(draw % 999_999).unwrap_or(0);
        let trace = Trace { stan, rrn: format!("{:012}", draw % 1_000_000_000_000), sent_at: now };
        let mut scratch = Scratch::default();
        let said = match subject.filter(|_| kind == Kind::Verify) {
            None => speech.say(kind, 0, &managing(stan, now, home, &mut scratch).map_err(Error::internal)?),
            Some(subject) => {
                let ask = Ask {
                    reference: "check",
                    named: Some(Named { trace: &trace, acceptor: &subject.acceptor, tries: 0 }),
                    money: subject.money,
                    funding: Funding::Card { pan: &subject.card.pan, expiry: subject.card.expiry, cvc: None },
                    device: None,
                    stored_credential: None,
                    authentication: None,
                };
                let spoken = speech.spoken(&Operation::Verify(ask), home, &mut scratch).map_err(Error::internal)?;
                let Spoken { kind, tries, values } = spoken;
                speech.say(kind, tries, &values)
            }
        };
        said.map_err(Error::internal)
    }

    fn framed(&self, message: &Message) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (mut body, mut frame) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
        self.language.codec.encode(message, &mut body).map_err(Error::internal)?;
        self.language.frame.wrap(None, &body, &mut frame).map_err(Error::internal)?;
        Ok(frame)
    }

    /// Writes it and reads until its answer; what else the host says meanwhile is passed over.
    async fn ask(&mut self, message: &Message, frame: &[u8]) -> Result<Message, Error> {
        self.stream.write_all(frame).await.map_err(|error| Error::internal(format!("cannot write: {error}")))?;
        self.stream.flush().await.map_err(|error| Error::internal(format!("cannot write: {error}")))?;
        let unread = |wrong: super::Wrong| Error::internal(format!("the host's answer cannot be read: {wrong}"));
        loop {
            if let Some(framed) = self.language.frame.split(&self.buffer[..self.filled]).map_err(unread)? {
                let taken = framed.taken;
                let read = self.language.codec.decode(framed.message);
                let empty = framed.message.is_empty();
                self.buffer.copy_within(taken..self.filled, 0);
                self.filled -= taken;
                if empty {
                    continue;
                }
                let read = read.map_err(unread)?;
                if read.mti().answers(message.mti()) && read.get(11) == message.get(11) {
                    return Ok(read);
                }
                continue;
            }
            let count = self.stream.read(&mut self.buffer[self.filled..]).await;
            match count.map_err(|error| Error::internal(format!("cannot read: {error}")))? {
                0 => return Err(Error::internal("the host closed the connection instead of answering")),
                count => self.filled += count,
            }
        }
    }

    fn shown(&self, message: &Message) -> Shown {
        Shown { mti: message.mti().to_string(), fields: mask::rows(&self.language.dialect, message) }
    }
}
