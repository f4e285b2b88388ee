//! The acquirers file: which hosts there are, where, and what was agreed with them. How each is spoken to, its dialect says.

use super::dialect::GENERIC;
use crate::acceptor::SANDBOX;
use crate::error::Error;
use crate::tls::Peer;
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most connections to one host, and the most requests in flight on each.
const MOST_CONNECTIONS: usize = 64;
const WIDEST_WINDOW: usize = 10_000;

/// The longest silence before an echo, seconds: an hour.
const LONGEST_ECHO_S: u64 = 3_600;

/// The longest that an answer may be waited for, milliseconds: payments hold a connection of a caller's that long.
const LONGEST_DEADLINE_MS: u64 = 45_000;

/// `[acquirers.NAME]`, as it stands there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub protocol: Protocol,
    /// The name of a dialect that is built in, or the path of a file, from the folder of the acquirers file.
    pub dialect: String,
    pub mode: Mode,
    /// `host:port`
    pub address: String,
    #[serde(default = "one")]
    pub connections: usize,
    /// Requests in flight for each connection.
    #[serde(default = "window")]
    pub window: usize,
    pub tls: Option<Tls>,
    /// Acquiring institution identification code (field 32): up to 11 digits.
    pub institution: Option<String>,
    /// Of fields 12 and 13, as in the IANA database. UTC when it is left out.
    pub time_zone: Option<String>,
    /// Whether each connection begins with a sign-on.
    #[serde(default = "yes")]
    pub sign_on: bool,
    /// Whether each connection ends with a sign-off. Many hosts keep one sign-on for all connections of an institution: a process that
    /// stops would sign off the others.
    #[serde(default)]
    pub sign_off: bool,
    /// After how many seconds of silence the host is asked for an echo; 0: never.
    #[serde(default = "minute")]
    pub echo_s: u64,
    #[serde(default)]
    pub deadlines: Deadlines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Iso8583,
}

/// A test acquirer is for test requests, a live one for live requests (contract section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Live,
    Test,
}

/// Paths are from the folder of the acquirers file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// What the host's certificate names; the host of `address` when it is left out.
    pub server_name: Option<String>,
    /// PEM: who may have signed it; the machine's own roots when it is left out.
    pub roots: Option<PathBuf>,
    /// PEM: what is shown to the host, and its key. Both or neither.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// How long an answer is waited for, milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// Of charges and verifications.
    pub charge_ms: u64,
    /// Of captures, refunds, voids.
    pub follow_ms: u64,
    /// Of reversals.
    pub reversal_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { charge_ms: 25_000, follow_ms: 25_000, reversal_ms: 25_000 }
    }
}

fn one() -> usize {
    1
}

fn window() -> usize {
    256
}

fn yes() -> bool {
    true
}

fn minute() -> u64 {
    60
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    acquirers: BTreeMap<String, Settings>,
}

/// Reads an acquirers file; paths in it come out as seen from here.
///
/// # Errors
/// What is wrong, with the key, for the operator.
pub fn read(path: &Path) -> Result<BTreeMap<String, Settings>, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::internal(format!("cannot read {}: {error}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|wrong| Error::internal(format!("{}: {wrong}", path.display())))
}

fn parse(text: &str, folder: &Path) -> Result<BTreeMap<String, Settings>, String> {
    let mut file: File = super::read_toml(text)?;
    for (name, settings) in &mut file.acquirers {
        check_name(name)?;
        settings.check().map_err(|wrong| format!("acquirers.{name}.{wrong}"))?;
        settings.seen_from(folder);
    }
    Ok(file.acquirers)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
        return Err(format!("acquirers.{name}: a name is 1 to 32 of a-z, 0-9 and -"));
    }
    if name == SANDBOX {
        return Err(format!("acquirers.{SANDBOX}: this name is the built-in sandbox's"));
    }
    Ok(())
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) { Ok(()) } else { Err(format!("{key}: 1 to {most}")) }
        };
        within("connections", self.connections, MOST_CONNECTIONS)?;
        within("window", self.window, WIDEST_WINDOW)?;
        if self.echo_s > LONGEST_ECHO_S {
            return Err(format!("echo_s: at most {LONGEST_ECHO_S}"));
        }
        if self.host().is_none() {
            return Err("address: host:port, such as host.example:5000 or [2001:db8::1]:5000".to_owned());
        }
        if self
            .institution
            .as_ref()
            .is_some_and(|id| !(1..=11).contains(&id.len()) || !id.bytes().all(|c| c.is_ascii_digit()))
        {
            return Err("institution: up to 11 digits".to_owned());
        }
        self.zone()?;
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            return Err("tls: certificate and key go together".to_owned());
        }
        let deadlines = &self.deadlines;
        for (key, ms) in [
            ("charge_ms", deadlines.charge_ms),
            ("follow_ms", deadlines.follow_ms),
            ("reversal_ms", deadlines.reversal_ms),
        ] {
            if !(1..=LONGEST_DEADLINE_MS).contains(&ms) {
                return Err(format!("deadlines.{key}: 1 to {LONGEST_DEADLINE_MS}"));
            }
        }
        Ok(())
    }

    /// The host of `address`, without the brackets of an IPv6 address.
    pub fn host(&self) -> Option<&str> {
        let (host, port) = self.address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = !host.is_empty() && (bare.is_some() || !host.contains(':'));
        (fits && port.parse::<u16>().is_ok_and(|port| port != 0)).then_some(bare.unwrap_or(host))
    }

    /// # Errors
    /// It is not one of the IANA database.
    pub fn zone(&self) -> Result<TimeZone, String> {
        let Some(name) = &self.time_zone else { return Ok(TimeZone::UTC) };
        TimeZone::get(name).map_err(|_| format!("time_zone: {name} is not in the IANA time zone database"))
    }

    pub fn live(&self) -> bool {
        self.mode == Mode::Live
    }

    fn seen_from(&mut self, folder: &Path) {
        let files = self.tls.iter_mut().flat_map(|tls| [&mut tls.roots, &mut tls.certificate, &mut tls.key]);
        for path in files.flatten() {
            *path = folder.join(&path);
        }
        if self.dialect != GENERIC.0 {
            self.dialect = folder.join(&self.dialect).display().to_string();
        }
    }
}

impl Tls {
    pub fn peer(&self) -> Peer {
        Peer { roots: self.roots.clone(), shown: self.certificate.clone().zip(self.key.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "[acquirers.north]\nprotocol = \"iso8583\"\ndialect = \"generic-1987\"\nmode = \"test\"\n\
                            address = \"host.example:5000\"\n";

    fn read(text: &str) -> Result<BTreeMap<String, Settings>, String> {
        parse(text, Path::new("/etc/fuda"))
    }

    #[test]
    fn the_least_and_the_most() {
        let file = read(SMALLEST).unwrap();
        let north = &file["north"];
        assert_eq!((north.connections, north.window, north.echo_s, north.sign_on), (1, 256, 60, true));
        assert_eq!((north.dialect.as_str(), north.host(), north.live()), ("generic-1987", Some("host.example"), false));
        let text = "[acquirers.bank-2]\nprotocol = \"iso8583\"\ndialect = \"dialects/bank.toml\"\nmode = \"live\"\n\
                    address = \"[2001:db8::1]:5000\"\nconnections = 4\nwindow = 1000\ninstitution = \"12345678901\"\n\
                    time_zone = \"Asia/Tokyo\"\nsign_on = false\necho_s = 0\n\
                    tls = { server_name = \"bank.example\", roots = \"roots.pem\", certificate = \"/keys/us.pem\", key = \"us.key\" }\n\
                    deadlines = { charge_ms = 8000 }\n";
        let file = read(text).unwrap();
        let bank = &file["bank-2"];
        let tls = bank.tls.as_ref().unwrap();
        assert_eq!(
            (bank.host(), bank.live(), bank.dialect.as_str()),
            (Some("2001:db8::1"), true, "/etc/fuda/dialects/bank.toml")
        );
        assert_eq!(tls.roots.as_deref(), Some(Path::new("/etc/fuda/roots.pem")));
        assert_eq!(tls.certificate.as_deref(), Some(Path::new("/keys/us.pem")));
        assert_eq!((bank.deadlines.charge_ms, bank.deadlines.follow_ms), (8_000, 25_000));
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn mistakes_name_the_key() {
        for (was, is, says) in [
            ("mode = \"test\"", "mode = \"prod\"", "mode"),
            ("mode = \"test\"", "", "mode"),
            ("iso8583", "http", "protocol"),
            ("[acquirers.north]", "[acquirers.North]", "acquirers.North"),
            ("[acquirers.north]", "[acquirers.sandbox]", "acquirers.sandbox"),
            ("[acquirers.north]", "[acquirer.north]", "acquirer"),
            ("host.example:5000", "host.example", "acquirers.north.address"),
            ("host.example:5000", "host.example:0", "acquirers.north.address"),
            ("host.example:5000", ":5000", "acquirers.north.address"),
            ("host.example:5000", "2001:db8::1:5000", "acquirers.north.address"),
            ("mode =", "windows = 1\nmode =", "windows"),
            ("mode =", "window = 0\nmode =", "acquirers.north.window"),
            ("mode =", "connections = 65\nmode =", "acquirers.north.connections"),
            ("mode =", "institution = \"12a\"\nmode =", "acquirers.north.institution"),
            ("mode =", "time_zone = \"Asia/Edo\"\nmode =", "acquirers.north.time_zone"),
            ("mode =", "tls = { key = \"us.key\" }\nmode =", "acquirers.north.tls"),
            ("mode =", "tls = { verify = false }\nmode =", "verify"),
            ("mode =", "deadlines = { charge_ms = 0 }\nmode =", "acquirers.north.deadlines.charge_ms"),
            ("mode =", "deadlines = { reversal_ms = 45001 }\nmode =", "acquirers.north.deadlines.reversal_ms"),
        ] {
            let wrong = read(&SMALLEST.replace(was, is)).unwrap_err();
            assert!(wrong.contains(says) && wrong.lines().count() == 1, "{is}: {wrong}");
        }
    }
}
