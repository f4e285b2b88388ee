//! Identifiers. Transactions carry UUIDs of version 7 (they sort by time, so inserts append); tokens are version 4 and
//! tell nothing. On the wire 36 lower-case characters, in the database 16 bytes.

use crate::clock::Millis;
use crate::random::Random;
use std::fmt;
use uuid::Uuid;

/// Set by the outermost layer on every request; stands in refusals, pages' answers and log lines.
#[derive(Clone)]
pub struct RequestId(pub String);

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Accepts exactly the form we print: 36 characters, lower case, with hyphens.
            pub fn parse(text: &str) -> Option<$name> {
                let id = Uuid::try_parse(text).ok()?;
                (id.hyphenated().to_string() == text).then_some($name(id))
            }

            pub fn from_bytes(bytes: &[u8]) -> Option<$name> {
                Uuid::from_slice(bytes).ok().map($name)
            }

            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<$name> for [u8; 16] {
            fn from(id: $name) -> [u8; 16] {
                id.0.into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                $name::parse(&text).ok_or_else(|| serde::de::Error::custom("not an id"))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }
    };
}

id_type!(
    /// A company: the owner of tokens and keys.
    EntityId
);
id_type!(
    /// One transaction of any kind.
    TransactionId
);
id_type!(
    /// A stored card.
    TokenId
);
id_type!(
    /// A link to the hosted payment page.
    LinkId
);
id_type!(
    /// A subscription (contract section 7).
    SubscriptionId
);

/// One event that the merchant is told of: `evt_` and 32 hexadecimal digits, the `webhook-id` of each of its tries
/// (contract section 9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    pub fn from_array(bytes: [u8; 16]) -> EventId {
        EventId(Uuid::from_bytes(bytes))
    }

    pub fn new(now: Millis, random: &Random) -> EventId {
        EventId(by_time(now, random))
    }

    /// Accepts exactly the form we print.
    pub fn parse(text: &str) -> Option<EventId> {
        let id = EventId(Uuid::try_parse(text.strip_prefix("evt_")?).ok()?);
        (id.to_string() == text).then_some(id)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<EventId> {
        Uuid::from_slice(bytes).ok().map(EventId)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{}", self.0.simple())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A random UUID as other protocols want one, 36 lower-case characters.
pub fn random_uuid(random: &Random) -> String {
    uuid::Builder::from_random_bytes(random.bytes()).into_uuid().hyphenated().to_string()
}

fn by_time(now: Millis, random: &Random) -> Uuid {
    let millis = u64::try_from(now).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random.bytes()).into_uuid()
}

impl TransactionId {
    pub fn from_array(bytes: [u8; 16]) -> TransactionId {
        TransactionId(Uuid::from_bytes(bytes))
    }

    pub fn new(now: Millis, random: &Random) -> TransactionId {
        TransactionId(by_time(now, random))
    }

    /// When it was made, by real time: a test clock moves no ids.
    pub fn made_at(self) -> Millis {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        Millis::from_be_bytes(millis)
    }
}

impl LinkId {
    pub fn new(now: Millis, random: &Random) -> LinkId {
        LinkId(by_time(now, random))
    }
}

impl SubscriptionId {
    pub fn from_array(bytes: [u8; 16]) -> SubscriptionId {
        SubscriptionId(Uuid::from_bytes(bytes))
    }

    pub fn new(now: Millis, random: &Random) -> SubscriptionId {
        SubscriptionId(by_time(now, random))
    }
}

impl TokenId {
    pub fn from_array(bytes: [u8; 16]) -> TokenId {
        TokenId(Uuid::from_bytes(bytes))
    }

    pub fn new(random: &Random) -> TokenId {
        TokenId(uuid::Builder::from_random_bytes(random.bytes()).into_uuid())
    }
}

impl EntityId {
    pub fn new(random: &Random) -> EntityId {
        EntityId(uuid::Builder::from_random_bytes(random.bytes()).into_uuid())
    }
}

/// A request's id for answers and logs: 26 characters are enough to find one line.
pub fn request_id(now: Millis, random: &Random) -> String {
    by_time(now, random).simple().to_string()
}
