//! A dialect: one host's fields, encodings and messages, as a TOML file says them (docs/ISO8583.md).

use serde::Deserialize;

/// Built in, under its name.
pub const GENERIC: (&str, &str) = ("generic-1987", include_str!("dialects/generic-1987.toml"));

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// How our operations become messages; `speech.rs` reads them.
    #[serde(default)]
    pub messages: toml::Table,
    #[serde(default)]
    pub common: toml::Table,
    #[serde(default)]
    pub response_codes: toml::Table,
}

impl Dialect {
    /// # Errors
    /// What is wrong with the file, with the key; for the operator.
    pub fn parse(text: &str) -> Result<Dialect, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}
