//! What messages are for, by the names of a dialect's tables.

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SignOn,
    SignOff,
    Echo,
    Authorize,
    Purchase,
    Verify,
    Capture,
    Refund,
    Void,
    Release,
    Reverse,
}

/// In the order of [`Kind`], with the names of the dialect's tables.
pub const KINDS: [(Kind, &str); 11] = [
    (Kind::SignOn, "sign_on"),
    (Kind::SignOff, "sign_off"),
    (Kind::Echo, "echo"),
    (Kind::Authorize, "authorize"),
    (Kind::Purchase, "purchase"),
    (Kind::Verify, "verify"),
    (Kind::Capture, "capture"),
    (Kind::Refund, "refund"),
    (Kind::Void, "void"),
    (Kind::Release, "release"),
    (Kind::Reverse, "reverse"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// Network management: not about a payment.
    pub fn manages(self) -> bool {
        matches!(self, Kind::SignOn | Kind::SignOff | Kind::Echo)
    }

    /// About an earlier message.
    pub fn follows(self) -> bool {
        matches!(self, Kind::Capture | Kind::Refund | Kind::Void | Kind::Release | Kind::Reverse)
    }

    /// About a card, and no earlier message.
    pub fn charges(self) -> bool {
        !self.manages() && !self.follows()
    }

    /// A host may do without sign-ons and echoes, and may release by itself what a capture leaves.
    pub fn may_be_missing(self) -> bool {
        self.manages() || self == Kind::Release
    }
}
