//! An acquirer whose host speaks ISO 8583: what the gateway asks goes as a message over the link, and what the host answers comes
//! back as an outcome.

use super::codec::Codec;
use super::config::Settings;
use super::dial::{Dial, Tcp};
use super::dialect::{Dialect, GENERIC};
use super::frame::Frame;
use super::kind::Kind;
use super::link::{Language, Link, Terms};
use super::operation::{Home, Spoken};
use super::pending::NotAnswered;
use super::speech::Speech;
use super::traces::Traces;
use super::values::{Scratch, Variable};
use crate::acquirer::{Abilities, Acquirer, BoxFuture, News, Operation, Outcome, Trace};
use crate::clock::{Clock, Millis};
use crate::db::Db;
use crate::error::Error;
use crate::random::Random;
use crate::tls;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio_rustls::TlsConnector;

pub struct Bank {
    name: String,
    live: bool,
    abilities: Abilities,
    link: Link,
    traces: Traces,
}

impl Bank {
    /// Begins to connect; returns at once. `news` is what the host says by itself.
    ///
    /// # Errors
    /// The dialect, a certificate or a key cannot be read or is wrong: with its file, for the operator.
    pub fn start(
        name: &str,
        settings: &Settings,
        db: &Db,
        (clock, random): (&Clock, &Random),
        news: Sender<News>,
    ) -> Result<Bank, Error> {
        let say = |wrong: String| Error::internal(format!("acquirers.{name}.{wrong}"));
        let language = language(&settings.dialect, home(settings).map_err(|error| say(error.cause().to_owned()))?);
        let language = language.map_err(|error| error.context(&format!("acquirers.{name}.dialect")))?;
        let habits = language.speech.habits;
        let deadlines = settings.deadlines;
        let abilities = Abilities {
            charge_ms: deadlines.charge_ms,
            follow_ms: deadlines.follow_ms,
            reversal_ms: deadlines.reversal_ms,
            greatest_lateness_ms: i64::from(habits.greatest_lateness_s) * 1000,
            remembers_ms: i64::from(habits.remembers_s) * 1000,
            capture: habits.capture.into(),
            refund: habits.refund.into(),
            void: habits.void.into(),
            inquire: false,
            releases_remainder: habits.releases_remainder,
            names_cards: true,
            accounts: false,
        };
        let terms = Terms {
            acquirer: name.to_owned(),
            connections: settings.connections,
            window: settings.window,
            sign_on: settings.sign_on,
            sign_off: settings.sign_off,
            echo_ms: (settings.echo_s > 0).then_some(settings.echo_s * 1000),
        };
        for (key, kind, wanted) in [
            ("sign_on", Kind::SignOn, terms.sign_on),
            ("sign_off", Kind::SignOff, terms.sign_off),
            ("echo_s", Kind::Echo, terms.echo_ms.is_some()),
        ] {
            if wanted && !language.speech.speaks(kind) {
                return Err(say(format!("{key}: the dialect has no message for it")));
            }
        }
        let dial = dialler(settings, clock).map_err(|error| error.context(&format!("acquirers.{name}")))?;
        if settings.live() && settings.tls.is_none() {
            tracing::warn!(
                acquirer = name,
                "live and without TLS: card numbers cross the network as they are. Only over a line of one's own (PCI DSS 4.2.1)"
            );
        }
        let link = Link::start(terms, language, dial, clock, random, news);
        Ok(Bank { name: name.to_owned(), live: settings.live(), abilities, link, traces: Traces::new(db, name) })
    }

    /// For what looks at the line itself.
    pub fn link(&self) -> &Link {
        &self.link
    }

    async fn ask(&self, operation: Operation<'_>) -> Outcome {
        let Language { speech, home, .. } = self.link.language();
        let said = {
            let mut scratch = Scratch::default();
            match speech.spoken(&operation, home, &mut scratch) {
                Ok(Spoken { kind, tries, values }) => {
                    let rrn = values.get(Variable::Rrn).map(str::to_owned);
                    speech.say(kind, tries, &values).map(|message| (kind, message, rrn))
                }
                Err(why) => return Outcome::NotSent { why },
            }
        };
        let (kind, message, rrn) = match said {
            Ok(said) => said,
            Err(wrong) => {
                tracing::error!(acquirer = self.name, %wrong, "a message cannot be made");
                return Outcome::NotSent { why: "the message cannot be said in the acquirer's dialect" };
            }
        };
        match self.link.send(kind, message, rrn).await {
            Ok(answer) => speech.outcome(kind, &answer),
            Err(NotAnswered::NotSent { why }) => Outcome::NotSent { why },
            Err(NotAnswered::Unknown { why }) => Outcome::Unknown { why },
        }
    }
}

impl Acquirer for Bank {
    fn name(&self) -> &str {
        &self.name
    }

    fn live(&self) -> bool {
        self.live
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn trace(&self, now: Millis) -> BoxFuture<'_, Result<Option<Trace>, Error>> {
        Box::pin(async move { self.traces.next(now).await.map(Some) })
    }

    fn send<'a>(&'a self, operation: Operation<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.ask(operation))
    }
}

/// As whom we speak.
///
/// # Errors
/// The time zone is none.
pub(super) fn home(settings: &Settings) -> Result<Home, Error> {
    let time_zone = settings.zone().map_err(Error::internal)?;
    Ok(Home { institution: settings.institution.clone(), time_zone })
}

/// `name`: a dialect that is built in, or a file.
///
/// # Errors
/// What is wrong with the dialect, with the file and the key.
pub(super) fn language(name: &str, home: Home) -> Result<Language, Error> {
    let text = if name == GENERIC.0 {
        GENERIC.1.to_owned()
    } else {
        let unread = |error| Error::internal(format!("cannot read {name}: {error} (built in: {})", GENERIC.0));
        std::fs::read_to_string(name).map_err(unread)?
    };
    Language::of(&text, home).map_err(|wrong| Error::internal(format!("{name}: {wrong}")))
}

impl Language {
    /// `text`: a dialect's file.
    ///
    /// # Errors
    /// What is wrong with it, with the key.
    pub fn of(text: &str, home: Home) -> Result<Language, String> {
        let dialect = Dialect::parse(text)?;
        let codec = Arc::new(Codec::new(&dialect)?);
        let speech = Speech::new(&dialect, codec.clone())?;
        Ok(Language { frame: Frame::new(&dialect)?, dialect, codec, speech, home })
    }
}

pub(super) fn dialler(settings: &Settings, clock: &Clock) -> Result<Arc<dyn Dial>, Error> {
    let tls = match &settings.tls {
        None => None,
        Some(tls) => {
            let name = tls.server_name.as_deref().or(settings.host()).unwrap_or_default().to_owned();
            let named = ServerName::try_from(name).map_err(|_| Error::internal("tls.server_name: not a name"))?;
            Some((TlsConnector::from(Arc::new(tls::client_for(&tls.peer())?)), named))
        }
    };
    Ok(Arc::new(Tcp { address: settings.address.clone(), tls, clock: clock.clone() }))
}

#[cfg(test)]
mod tests;
