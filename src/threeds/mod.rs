//! Is it the cardholder? EMV 3-D Secure 2.2: the issuer says so at once, or asks the cardholder in the browser. One trait,
//! so that a real 3DS server takes the built-in one's place as an acquirer takes the sandbox bank's.

pub mod messages;
pub mod sandbox;
mod steer;

pub use steer::{STEERS, Steer};

use crate::acquirer::{Authentication, BoxFuture};
use crate::card::{Pan, Scheme};
use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use messages::{ARes, RReq, TransStatus};
use serde::{Deserialize, Serialize};

/// A 3DS server: it knows the directories of the schemes, and what the issuers tell it.
pub trait Authenticator: Send + Sync {
    fn name(&self) -> &'static str;

    /// How long its answers are waited for, milliseconds; after that the authentication could not be performed.
    fn deadline_ms(&self) -> u64;

    /// Whether the card's range takes part and asks for authentication (the card range data of PRes).
    fn asks(&self, pan: &Pan) -> bool;

    /// Sends the authentication request; the directory's answer.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    fn authenticate<'a>(&'a self, request: messages::AReq) -> BoxFuture<'a, Result<ARes, Error>>;

    /// What the issuer has said of a challenge, by the 3DS server's id of it; `None` while it has not ended.
    ///
    /// # Errors
    /// It cannot be asked now.
    fn result<'a>(&'a self, server_id: &'a str) -> BoxFuture<'a, Result<Option<RReq>, Error>>;
}

/// What an authentication came to, as the transaction keeps it. It is not secret, but what the scheme calls proof of it
/// (CAVV) is shown to the acquirer only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticated {
    pub status: TransStatus,
    /// Electronic commerce indicator, two digits, by scheme.
    pub eci: Option<String>,
    pub cavv: Option<String>,
    pub version: String,
    /// The directory server's id (`dsTransID`); none where the directory did not answer.
    pub directory_id: Option<String>,
}

impl Authenticated {
    pub fn of_answer(answer: &ARes) -> Authenticated {
        Authenticated {
            status: answer.status,
            eci: answer.eci.clone(),
            cavv: answer.authentication_value.clone(),
            version: answer.message_version.clone(),
            directory_id: Some(answer.directory_id.clone()),
        }
    }

    pub fn of_result(result: &RReq) -> Authenticated {
        Authenticated {
            status: result.status,
            eci: result.eci.clone(),
            cavv: result.authentication_value.clone(),
            version: result.message_version.clone(),
            directory_id: Some(result.directory_id.clone()),
        }
    }

    /// It could not be performed.
    pub fn unavailable() -> Authenticated {
        Authenticated {
            status: TransStatus::U,
            eci: None,
            cavv: None,
            version: messages::VERSION.to_owned(),
            directory_id: None,
        }
    }

    /// Whether the issuer, or the scheme in its stead, stands for the cardholder: Y and A with the ECI that says so, and the
    /// proof of 20 bytes.
    pub fn proves(&self) -> bool {
        let says = match self.status {
            TransStatus::Y => ["05", "02"],
            TransStatus::A => ["06", "01"],
            _ => return false,
        };
        let cavv = self.cavv.as_ref().and_then(|text| BASE64.decode(text).ok());
        self.eci.as_deref().is_some_and(|eci| says.contains(&eci)) && cavv.is_some_and(|bytes| bytes.len() == 20)
    }

    /// Whether the issuer says that it is not the cardholder, or wants no authorization to be tried; not that nobody could say.
    pub fn refuses(&self) -> bool {
        matches!(self.status, TransStatus::N | TransStatus::R)
    }

    /// For the acquirer: only what proves something is sent.
    pub fn for_acquirer(&self) -> Option<Authentication> {
        let (Some(eci), Some(cavv)) = (self.eci.clone(), self.cavv.clone()) else { return None };
        let directory_id = self.directory_id.clone().unwrap_or_default();
        self.proves().then(|| Authentication { eci, cavv, directory_id, version: self.version.clone() })
    }
}

/// The electronic commerce indicator of a result: Mastercard counts from 00, the others from 05 to 07.
pub fn eci(scheme: Scheme, status: TransStatus) -> &'static str {
    match (scheme == Scheme::Mastercard, status) {
        (true, TransStatus::Y) => "02",
        (true, TransStatus::A) => "01",
        (true, _) => "00",
        (false, TransStatus::Y) => "05",
        (false, TransStatus::A) => "06",
        (false, _) => "07",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proof_goes_to_the_bank() {
        let text = |text: &str| Some(text.to_owned());
        let made = |status, cavv: Option<String>| Authenticated {
            status,
            eci: text(eci(Scheme::Visa, status)),
            cavv,
            version: messages::VERSION.to_owned(),
            directory_id: text("ds"),
        };
        for status in [TransStatus::Y, TransStatus::A] {
            let proof = text("AAABBJg0VhI0VniQEjRWAAAAAAA=");
            assert!(made(status, proof.clone()).for_acquirer().is_some());
            assert!(Authenticated { eci: text("07"), ..made(status, proof) }.for_acquirer().is_none(), "no shift");
            assert!(made(status, text("AAAA")).for_acquirer().is_none(), "three bytes");
            assert!(made(status, None).for_acquirer().is_none(), "a status without its proof");
        }
        for status in [TransStatus::N, TransStatus::U, TransStatus::R, TransStatus::C, TransStatus::Other] {
            assert!(made(status, text("AAABBJg0VhI0VniQEjRWAAAAAAA=")).for_acquirer().is_none());
        }
        assert_eq!(eci(Scheme::Mastercard, TransStatus::Y), "02");
        assert_eq!(eci(Scheme::Jcb, TransStatus::A), "06");
    }
}
