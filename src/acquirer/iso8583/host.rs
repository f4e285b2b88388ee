//! The other end of the line: the sandbox's bank as a host that speaks any dialect. Its books are the sandbox's; it knows a message
//! by its terminal, its trace number and its time, as real hosts do, and our references not at all.

use super::bank::language;
use super::frame::{LIMIT, Tpdu};
use super::hear::Heard;
use super::kind::Kind;
use super::link::Language;
use super::message::Message;
use super::operation::Home;
use super::values::Variable;
use crate::acceptor::Acceptor;
use crate::acquirer::sandbox::Sandbox;
use crate::acquirer::{Acquirer as _, Approval, Ask, Device, Follow, Funding, Named, Operation, Original, Outcome};
use crate::acquirer::{Reversal, Trace};
use crate::clock::Clock;
use crate::error::Error;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use zeroize::Zeroizing;

/// How long the bank may think, milliseconds: cards that are never answered must not gather here.
const THINKS_MS: u64 = 60_000;

/// Requests of one connection that are worked on at once; then no more are read until one has ended.
const AT_ONCE: usize = 4_096;

/// Format error: a message that no table of the dialect explains.
const FORMAT_ERROR: i64 = 30;

/// Invalid card number, expired card: what the message names is none.
const NO_CARD: i64 = 14;

pub struct Host {
    bank: Sandbox,
    language: Language,
    clock: Clock,
    /// Whether what follows names its original by field 7; else by the local time.
    by_utc: bool,
}

impl Host {
    /// # Errors
    /// The dialect cannot be read or is wrong: with its file and key.
    pub fn new(bank: Sandbox, dialect: &str, clock: &Clock) -> Result<Host, Error> {
        // A host says nothing of itself.
        let language = language(dialect, Home { institution: None, time_zone: TimeZone::UTC })?;
        let names = |variable| {
            let reverse = language.speech.template(Kind::Reverse);
            let texts = reverse.iter().flat_map(|template| &template.fields).flat_map(|field| field.source.texts());
            texts.flat_map(|text| text.variables()).any(|other| other == variable)
        };
        let by_utc = names(Variable::Original) || names(Variable::OriginalTime);
        Ok(Host { bank, language, clock: clock.clone(), by_utc })
    }

    /// Until the task is ended.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tracing::info!(%peer, "connected");
                    let host = self.clone();
                    tokio::spawn(async move {
                        let why = host.converse(stream).await;
                        tracing::info!(%peer, why, "a connection ended");
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.clock.sleep(100).await;
                }
            }
        }
    }

    /// Why it ended.
    async fn converse(self: Arc<Self>, stream: TcpStream) -> String {
        // Without it small answers wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "TCP_NODELAY");
        }
        let (mut reading, mut writing) = stream.into_split();
        let (answers, mut waiting) = mpsc::channel::<Zeroizing<Vec<u8>>>(AT_ONCE);
        let writer = tokio::spawn(async move {
            while let Some(frame) = waiting.recv().await {
                let mut batch = Zeroizing::new(frame.to_vec());
                while batch.len() < LIMIT
                    && let Ok(next) = waiting.try_recv()
                {
                    batch.extend_from_slice(&next);
                }
                if writing.write_all(&batch).await.is_err() {
                    return;
                }
            }
        });
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut buffer = Zeroizing::new(vec![0; 8 * LIMIT]);
        let mut filled = 0;
        let why = loop {
            match reading.read(&mut buffer[filled..]).await {
                Ok(0) => break "the other end closed it".to_owned(),
                Ok(count) => filled += count,
                Err(error) => break error.to_string(),
            }
            let mut taken = 0;
            let lost = loop {
                match self.language.frame.split(&buffer[taken..filled]) {
                    Ok(Some(framed)) => {
                        taken += framed.taken;
                        let Ok(place) = room.clone().acquire_owned().await else { break None };
                        let (host, answers) = (self.clone(), answers.clone());
                        let (tpdu, bytes) = (framed.tpdu, Zeroizing::new(framed.message.to_vec()));
                        tokio::spawn(async move {
                            let _place = place;
                            if let Some(frame) = host.answer(tpdu, &bytes).await {
                                // The connection may be gone.
                                answers.send(frame).await.ok();
                            }
                        });
                    }
                    Ok(None) => break None,
                    Err(wrong) => break Some(wrong.to_string()),
                }
            };
            if let Some(wrong) = lost {
                break wrong;
            }
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
        };
        writer.abort();
        why
    }

    /// `None`: it stays silent.
    async fn answer(&self, tpdu: Option<Tpdu>, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let Language { codec, frame, speech, .. } = &self.language;
        let request = match codec.decode(bytes) {
            Ok(request) => request,
            Err(wrong) => {
                if !bytes.is_empty() {
                    tracing::warn!(length = bytes.len(), %wrong, "a message cannot be read");
                }
                return None;
            }
        };
        let outcome = match speech.hear(&request) {
            Some(heard) => self.clock.within(THINKS_MS, self.act(&heard)).await?,
            None => {
                tracing::warn!(mti = %request.mti(), "no message of the dialect");
                Outcome::Declined { response_code: FORMAT_ERROR }
            }
        };
        let answer: Message = speech.answer(&request, &outcome)?;
        let (mut body, mut framed) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
        let written = codec.encode(&answer, &mut body);
        let written = written.and_then(|()| frame.wrap(tpdu.map(Tpdu::answer), &body, &mut framed));
        if let Err(wrong) = written {
            tracing::warn!(%wrong, "an answer cannot be written");
            return None;
        }
        Some(framed)
    }

    async fn act(&self, heard: &Heard<'_>) -> Outcome {
        if heard.kind.manages() {
            let approval = Approval { response_code: 0, auth_code: None, network_transaction_id: None };
            return Outcome::Approved(approval);
        }
        let outcome = self.asked(heard).await;
        let stan = heard.values.get(Variable::Stan).unwrap_or_default();
        tracing::info!(kind = heard.kind.name(), tries = heard.tries, stan, "asked");
        outcome
    }

    async fn asked(&self, heard: &Heard<'_>) -> Outcome {
        let declined = |response_code| Outcome::Declined { response_code };
        let (Some(reference), Some(money)) = (self.name(heard), heard.money()) else { return declined(FORMAT_ERROR) };
        let original = match self.original(heard) {
            Some(original) => original,
            // "Not found" would be said of what stands.
            None if heard.kind.follows() => return declined(FORMAT_ERROR),
            None => String::new(),
        };
        let original = Original::known_as(&original, money);
        let (trace, acceptor) = (trace(heard), acceptor(heard));
        let named = Some(Named { trace: &trace, acceptor: &acceptor, tries: heard.tries });
        let follow = Follow { reference: &reference, named, original, money };
        match heard.kind {
            Kind::Capture => return self.bank.send(Operation::Capture(follow)).await,
            Kind::Refund => return self.bank.send(Operation::Refund(follow)).await,
            Kind::Void => return self.bank.send(Operation::Void(follow)).await,
            Kind::Release => return self.bank.send(Operation::Release(follow)).await,
            Kind::Reverse => return self.bank.send(Operation::Reverse(Reversal { named, original })).await,
            _ => {}
        }
        let (Some(pan), Some(expiry)) = (heard.pan(), heard.expiry()) else { return declined(NO_CARD) };
        let (cvc, cryptogram, authentication) = (heard.cvc(), heard.cryptogram(), heard.authentication());
        let eci = heard.values.get(Variable::Eci);
        let ask = Ask {
            reference: &reference,
            named,
            money,
            funding: Funding::Card { pan: &pan, expiry, cvc: cvc.as_ref() },
            device: cryptogram.as_ref().map(|cryptogram| Device { cryptogram, eci }),
            stored_credential: heard.stored_credential(),
            authentication: authentication.as_ref(),
        };
        match heard.kind {
            Kind::Authorize => self.bank.send(Operation::Authorize(ask)).await,
            Kind::Verify => self.bank.send(Operation::Verify(ask)).await,
            _ => self.bank.send(Operation::Purchase(ask)).await,
        }
    }

    /// As the books call the message.
    fn name(&self, heard: &Heard<'_>) -> Option<String> {
        let value = |variable| heard.values.get(variable);
        let time = match self.by_utc {
            true => value(Variable::Time)?.to_owned(),
            false => format!("{}{}", value(Variable::LocalDate)?, value(Variable::LocalTime)?),
        };
        Some(format!("{}-{}-{time}", value(Variable::Terminal)?, value(Variable::Stan)?))
    }

    /// And the one that it is about.
    fn original(&self, heard: &Heard<'_>) -> Option<String> {
        let value = |variable| heard.values.get(variable);
        let time = match self.by_utc {
            true => value(Variable::OriginalTime)?.to_owned(),
            false => format!("{}{}", value(Variable::OriginalLocalDate)?, value(Variable::OriginalLocalTime)?),
        };
        Some(format!("{}-{}-{time}", value(Variable::Terminal)?, value(Variable::OriginalStan)?))
    }
}

fn trace(heard: &Heard<'_>) -> Trace {
    let text = |variable| heard.values.get(variable).unwrap_or_default();
    Trace { stan: text(Variable::Stan).parse().unwrap_or(0), rrn: text(Variable::Rrn).to_owned(), sent_at: 0 }
}

fn acceptor(heard: &Heard<'_>) -> Acceptor {
    let text = |variable| heard.values.get(variable).unwrap_or_default().to_owned();
    let (terminal, acceptor) = (text(Variable::Terminal), text(Variable::Acceptor));
    Acceptor { terminal, acceptor, category: None, place: None }
}
