//! A rule as somebody asks for it, on the wire or at the command line: the same names, the same checks, all the wrong
//! fields at once.

use super::lists::{self, Entry, List};
use super::rule::{EFFECTS, Effect, Per, Spec, Testing, UNITS, Unit, Velocity, Volume};
use crate::card::Pan;
use crate::error::FieldError;
use crate::money::{Currency, Money};
use jiff::tz::TimeZone;

/// The most entries of one list: 2,000,000 are some 32 MB in memory.
pub const MOST_ENTRIES: usize = 2_000_000;

/// The most that one window counts, so that its row stays short.
const MOST_COUNTED: i64 = 1_000;

/// Whom a kind of rule may concern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Entity,
    Merchant,
    Either,
}

struct Shape {
    kind: &'static str,
    scope: Scope,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const fn shape(kind: &'static str, scope: Scope, required: &'static [&'static str]) -> Shape {
    Shape { kind, scope, required, optional: &[] }
}

const SHAPES: [Shape; 12] = [
    shape("card_country", Scope::Entity, &["countries"]),
    shape("ip_block", Scope::Either, &["entries"]),
    shape("bin_block", Scope::Either, &["entries"]),
    shape("pan_block", Scope::Entity, &["entries"]),
    shape("issuing_country", Scope::Entity, &["countries"]),
    shape("max_amount", Scope::Merchant, &["currency", "amount"]),
    shape("min_amount", Scope::Merchant, &["currency", "amount"]),
    shape("ip_allow", Scope::Merchant, &["entries"]),
    shape("card_velocity", Scope::Merchant, &["limit", "window", "unit"]),
    shape("ip_velocity", Scope::Merchant, &["limit", "window", "unit"]),
    Shape { optional: &["time_zone"], ..shape("refund_volume", Scope::Merchant, &["currency", "amount", "per"]) },
    Shape { optional: &["off", "ip_declines", "bin_declines", "minutes"], ..shape("card_testing", Scope::Entity, &[]) },
];

/// The words of `kind`, in the order of the table above.
pub const KINDS: [&str; 12] = {
    let mut kinds = [""; 12];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = SHAPES[at].kind;
        at += 1;
    }
    kinds
};

/// What was asked, by name: empty texts count as missing.
#[derive(Default)]
pub struct Asked<'a> {
    pub kind: &'a str,
    pub merchant: Option<&'a str>,
    /// `effect`, `score`, `currency`, `amount`, `limit`, …
    pub values: Vec<(&'static str, &'a str)>,
    pub countries: Vec<&'a str>,
    pub entries: Vec<&'a str>,
}

/// A rule that may be written.
pub struct Draft {
    pub merchant: Option<String>,
    pub effect: Effect,
    pub score: i64,
    pub spec: Spec,
    pub list: List,
}

type Wrong = Vec<FieldError>;

/// `fingerprint` is how the vault knows a card: a number in a list is turned into it at once and kept nowhere.
///
/// # Errors
/// All the wrong fields; none quotes what was sent.
pub fn draft(asked: &Asked<'_>, fingerprint: &dyn Fn(&Pan) -> String) -> Result<Draft, Wrong> {
    let Some(shape) = SHAPES.iter().find(|shape| shape.kind == asked.kind) else {
        return Err(vec![FieldError::new("kind", "unknown", format!("Send one of: {}.", KINDS.join(", ")))]);
    };
    let mut reader = Reader { asked, wrong: Vec::new() };
    reader.check_names(shape);
    let (effect, score) = reader.effect(shape.kind);
    let spec = reader.spec(shape.kind);
    let list = if shape.required.contains(&"entries") { reader.list(shape.kind, fingerprint) } else { List::default() };
    match spec {
        Some(spec) if reader.wrong.is_empty() => {
            Ok(Draft { merchant: asked.merchant.map(str::to_owned), effect, score, spec, list })
        }
        _ => Err(reader.wrong),
    }
}

struct Reader<'a> {
    asked: &'a Asked<'a>,
    wrong: Wrong,
}

impl<'a> Reader<'a> {
    fn no(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.wrong.push(FieldError::new(field, code, message));
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.asked.values.iter().find(|(known, text)| *known == name && !text.is_empty()).map(|(_, text)| *text)
    }

    /// What is missing, and what another kind of rule would take: a limit that nobody reads would be a false comfort.
    fn check_names(&mut self, shape: &Shape) {
        let asked = self.asked;
        match (shape.scope, asked.merchant) {
            (Scope::Entity, Some(_)) => {
                let message = "This kind of rule is the whole entity's: leave merchant_id out.";
                self.no("merchant_id", "not_for_kind", message);
            }
            (Scope::Merchant, None) => {
                self.no("merchant_id", "missing", "This kind of rule is one merchant's: send its merchant_id.");
            }
            _ => {}
        }
        let given = |name: &str| match name {
            "countries" => !asked.countries.is_empty(),
            "entries" => !asked.entries.is_empty(),
            name => asked.values.iter().any(|(known, text)| *known == name && !text.is_empty()),
        };
        for name in shape.required {
            if !given(name) {
                self.no(name, "missing", format!("A rule of kind {} needs this field.", shape.kind));
            }
        }
        let names = asked.values.iter().map(|(name, _)| *name).chain(["countries", "entries"]);
        for name in names.filter(|name| given(name) && !matches!(*name, "effect" | "score")) {
            if !shape.required.contains(&name) && !shape.optional.contains(&name) {
                self.no(name, "not_for_kind", format!("A rule of kind {} has no such field.", shape.kind));
            }
        }
    }

    fn effect(&mut self, kind: &str) -> (Effect, i64) {
        let word = self.get("effect").unwrap_or("deny");
        let Some((effect, _)) = EFFECTS.into_iter().find(|(_, name)| *name == word) else {
            self.no("effect", "unknown", "Send one of: deny, shadow, score.");
            return (Effect::Deny, 0);
        };
        let fits = match kind {
            "card_testing" => effect == Effect::Deny,
            "refund_volume" => effect != Effect::Score,
            _ => true,
        };
        if !fits {
            self.no("effect", "not_for_kind", format!("A rule of kind {kind} cannot have this effect."));
        }
        match (effect, self.get("score")) {
            (Effect::Score, Some(_)) => (effect, self.number("score", 1, 100).unwrap_or(0)),
            (Effect::Score, None) => {
                self.no("score", "missing", "Say what the rule adds to the score: 1 to 100.");
                (effect, 0)
            }
            (_, Some(_)) => {
                self.no("score", "not_for_effect", "Only a rule with the effect `score` has a score.");
                (effect, 0)
            }
            (_, None) => (effect, 0),
        }
    }

    /// Required here means that [`Reader::check_names`] has said so already.
    fn number(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let text = self.get(name)?;
        let number = Some(text).filter(|text| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|text| text.parse().ok()).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.no(name, "range", format!("Send a number from {least} to {most}."));
        }
        number
    }

    fn spec(&mut self, kind: &str) -> Option<Spec> {
        Some(match kind {
            "card_country" => Spec::CardCountry { countries: self.countries()? },
            "issuing_country" => Spec::IssuingCountry { countries: self.countries()? },
            "ip_block" => Spec::IpBlock,
            "bin_block" => Spec::BinBlock,
            "pan_block" => Spec::PanBlock,
            "ip_allow" => Spec::IpAllow,
            "card_velocity" => Spec::CardVelocity(self.velocity()?),
            "ip_velocity" => Spec::IpVelocity(self.velocity()?),
            "max_amount" => {
                let (currency, amount_minor) = self.amount()?;
                Spec::MaxAmount { currency, amount_minor }
            }
            "min_amount" => {
                let (currency, amount_minor) = self.amount()?;
                Spec::MinAmount { currency, amount_minor }
            }
            "refund_volume" => Spec::RefundVolume(self.volume()?),
            _ => Spec::CardTesting(self.testing()?),
        })
    }

    fn countries(&mut self) -> Option<Vec<String>> {
        let good = |text: &&str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        if self.asked.countries.len() > 300 || !self.asked.countries.iter().all(good) {
            self.no("countries", "format", "Send two letters each, ISO 3166-1 alpha-2, such as \"JP\"; at most 300.");
            return None;
        }
        let mut countries: Vec<String> = self.asked.countries.iter().map(|text| text.to_ascii_uppercase()).collect();
        countries.sort();
        countries.dedup();
        Some(countries)
    }

    fn amount(&mut self) -> Option<(String, i64)> {
        let (currency, amount) = (self.get("currency")?, self.get("amount")?);
        let Some(currency) = Currency::parse(currency) else {
            self.no("currency", "format", "Send an ISO 4217 code in capitals, such as \"JPY\".");
            return None;
        };
        match Money::parse(amount, currency) {
            Ok(money) => Some((currency.code().to_owned(), money.minor)),
            Err(error) => {
                self.no("amount", error.code(), error.message());
                None
            }
        }
    }

    fn velocity(&mut self) -> Option<Velocity> {
        let limit = self.number("limit", 1, MOST_COUNTED);
        let word = self.get("unit").unwrap_or_default();
        let unit = UNITS.into_iter().find(|(_, name)| *name == word).map(|(unit, _)| unit);
        if unit.is_none() && !word.is_empty() {
            self.no("unit", "unknown", "Send one of: minutes, hours, days, months.");
        }
        let most = if unit == Some(Unit::Months) { 12 } else { 1_000 };
        let window = self.number("window", 1, most);
        Some(Velocity { limit: limit?, window: window?, unit: unit? })
    }

    fn volume(&mut self) -> Option<Volume> {
        let per = match self.get("per") {
            Some("day") => Some(Per::Day),
            Some("month") => Some(Per::Month),
            Some(_) => {
                self.no("per", "unknown", "Send one of: day, month.");
                None
            }
            None => None,
        };
        let time_zone = self.get("time_zone").unwrap_or("UTC");
        if time_zone.len() > 128 || TimeZone::get(time_zone).is_err() {
            self.no("time_zone", "format", "Send an IANA time zone name, such as \"Asia/Tokyo\".");
        }
        let (currency, amount_minor) = self.amount()?;
        Some(Volume { currency, amount_minor, per: per?, time_zone: time_zone.to_owned() })
    }

    fn testing(&mut self) -> Option<Testing> {
        let plain = Testing::default();
        let off = match self.get("off") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.no("off", "type", "Send true or false.");
                return None;
            }
        };
        let mut or = |name, default, most| match self.get(name) {
            Some(_) => self.number(name, 1, most),
            None => Some(default),
        };
        let ip_declines = or("ip_declines", plain.ip_declines, MOST_COUNTED);
        let bin_declines = or("bin_declines", plain.bin_declines, MOST_COUNTED);
        let minutes = or("minutes", plain.minutes, 1_440);
        Some(Testing { off, ip_declines: ip_declines?, bin_declines: bin_declines?, minutes: minutes? })
    }

    /// The first wrong entry by its place: quoting it would put what may be a card number into an answer and a log.
    fn list(&mut self, kind: &str, fingerprint: &dyn Fn(&Pan) -> String) -> List {
        if self.asked.entries.len() > MOST_ENTRIES {
            self.no("entries", "too_many", format!("A list takes at most {MOST_ENTRIES} entries."));
            return List::default();
        }
        let read = |text: &str| -> Option<Entry> {
            match kind {
                "ip_block" | "ip_allow" => lists::ip_entry(text),
                "bin_block" => lists::bin_key(text).map(Entry::Bin),
                _ => {
                    let known = lists::fingerprint_of(text);
                    let of_card = || lists::fingerprint_of(&fingerprint(&Pan::parse(text).ok()?));
                    known.or_else(of_card).map(Entry::Card)
                }
            }
        };
        let mut wrong = None;
        let entries = self.asked.entries.iter().enumerate().map_while(|(at, text)| {
            let entry = read(text.trim());
            if entry.is_none() {
                wrong = Some(at + 1);
            }
            entry
        });
        let list = List::of(entries);
        if let Some(at) = wrong {
            let what = match kind {
                "ip_block" | "ip_allow" => {
                    "an IPv4 or IPv6 address or a CIDR block whose bits behind the prefix are zero"
                }
                "bin_block" => "six to eight digits",
                _ => "a card's fingerprint as a stored card shows it, or a card number",
            };
            self.no("entries", "format", format!("Entry {at} is not {what}."));
        }
        list
    }
}
