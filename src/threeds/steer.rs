//! How the sandbox's directory answers, on request: a merchant's own tests see every end of an authentication, with any
//! card, by the header `Fuda-Sandbox-Authentication`.

use super::messages::TransStatus;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    Status(TransStatus),
    /// The directory never answers.
    Silent,
}

/// The header's words, in the order in which the documents list them.
pub const STEERS: [(&str, Steer); 7] = [
    ("challenge", Steer::Status(TransStatus::C)),
    ("frictionless", Steer::Status(TransStatus::Y)),
    ("attempted", Steer::Status(TransStatus::A)),
    ("denied", Steer::Status(TransStatus::N)),
    ("rejected", Steer::Status(TransStatus::R)),
    ("unavailable", Steer::Status(TransStatus::U)),
    ("silent", Steer::Silent),
];

impl Steer {
    /// `None` for a word that is not in [`STEERS`].
    pub fn parse(word: &str) -> Option<Steer> {
        STEERS.iter().find(|(name, _)| *name == word).map(|(_, steer)| *steer)
    }

    pub fn word(self) -> &'static str {
        STEERS.iter().find(|(_, steer)| *steer == self).map_or("", |(name, _)| name)
    }
}
