//! The gateway's own result codes (contract section 10): one row each, with HTTP status, response code and public text.

/// A gateway code, as it stands in `gateway_response.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Info0000,
    Info0001,
    Info0002,
    Info0003,
    Info1000,
    Info3000,
    Err3001,
    Err3002,
    Err3003,
    Err3004,
    Err3005,
    Err3006,
    Err3007,
    Err3008,
    Err3009,
    Err3010,
    Err3011,
    Err3012,
    Err3013,
    Err3014,
    Err3015,
    Err3016,
    Err3017,
    Err3018,
    Err3019,
    Err3020,
    Err1000,
    Err1001,
    Err1002,
    Err1003,
    Err1004,
    Err1005,
    Err1006,
    Err1007,
    Err1008,
    Err1009,
    Err1010,
    Err1016,
    Err1011,
    Err1012,
    Err1013,
    Err1014,
    Err1015,
    Val0001,
    Val0002,
    Val0003,
    Val0004,
    Val0005,
    Val0006,
    Val0007,
    Err0500,
}

/// What a code means on the wire and when it is used.
pub struct Meaning {
    pub code: Code,
    pub name: &'static str,
    pub http_status: u16,
    /// The acquirer-style response code that goes with it; `None` where the issuer's own is shown or none applies.
    pub response_code: Option<i64>,
    pub message: &'static str,
    pub when: &'static str,
}

impl Code {
    /// The row of the table; the table is in the order of the enum, which a test holds.
    pub fn meaning(self) -> &'static Meaning {
        &MEANINGS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.meaning().name
    }

    pub fn from_name(name: &str) -> Option<Code> {
        MEANINGS.iter().find(|row| row.name == name).map(|row| row.code)
    }

    /// `INFO…` codes report success or progress, all others refuse.
    pub fn is_info(self) -> bool {
        self.name().starts_with("INFO")
    }
}

const fn row(
    code: Code,
    name: &'static str,
    http_status: u16,
    response_code: Option<i64>,
    message: &'static str,
    when: &'static str,
) -> Meaning {
    Meaning { code, name, http_status, response_code, message, when }
}

#[rustfmt::skip] // one row a line: the table reads as a table
pub const MEANINGS: &[Meaning] = &[
    row(Code::Info0000, "INFO0000", 201, Some(0), "Payment Successful.", "payment or authorization approved (200 in a status answer)"),
    row(Code::Info0001, "INFO0001", 201, Some(0), "Amount successfully captured.", "capture approved"),
    row(Code::Info0002, "INFO0002", 201, Some(0), "Amount successfully refunded.", "refund approved"),
    row(Code::Info0003, "INFO0003", 201, Some(0), "Authorization Successfully Cancelled.", "void approved"),
    row(Code::Info1000, "INFO1000", 200, Some(578), "Authentication required.", "3-D Secure challenge or method step pending"),
    row(Code::Info3000, "INFO3000", 200, None, "Subscription Updated.", "pause, resume, cancel"),
    row(Code::Err3001, "ERR3001", 412, Some(-8000), "Transaction is restricted", "entity: card country is blocked"),
    row(Code::Err3002, "ERR3002", 412, Some(-8001), "Transaction is restricted", "entity: customer IP is blocked"),
    row(Code::Err3003, "ERR3003", 412, Some(-8002), "Transaction is restricted", "entity: card BIN is blocked"),
    row(Code::Err3004, "ERR3004", 412, Some(-8003), "Transaction is restricted", "entity: PAN is blocked (matched by fingerprint, never by a stored PAN)"),
    row(Code::Err3005, "ERR3005", 412, Some(-8004), "Transaction is restricted", "entity: issuing country is blocked"),
    row(Code::Err3006, "ERR3006", 412, Some(-8005), "Amount is outside the allowed range", "merchant: above the maximum amount"),
    row(Code::Err3007, "ERR3007", 412, Some(-8007), "Transaction is restricted", "merchant: customer IP is blocked"),
    row(Code::Err3008, "ERR3008", 412, Some(-8008), "Transaction is restricted", "merchant: same card more than n times in m minutes"),
    row(Code::Err3009, "ERR3009", 412, Some(-8009), "Risk rule decline", "merchant: same card more than n times in m hours"),
    row(Code::Err3010, "ERR3010", 412, Some(-8010), "Risk rule decline", "merchant: same card more than n times in m days"),
    row(Code::Err3011, "ERR3011", 412, Some(-8011), "Risk rule decline", "merchant: same card more than n times in m months"),
    row(Code::Err3012, "ERR3012", 412, Some(-8012), "Risk rule decline", "merchant: same IP more than n times in m minutes"),
    row(Code::Err3013, "ERR3013", 412, Some(-8013), "Risk rule decline", "merchant: same IP more than n times in m hours"),
    row(Code::Err3014, "ERR3014", 412, Some(-8014), "Risk rule decline", "merchant: same IP more than n times in m days"),
    row(Code::Err3015, "ERR3015", 412, Some(-8015), "Risk rule decline", "merchant: same IP more than n times in m months"),
    row(Code::Err3016, "ERR3016", 412, Some(-8006), "Amount is outside the allowed range", "merchant: below the minimum amount"),
    row(Code::Err3017, "ERR3017", 412, Some(-8017), "Transaction is restricted", "merchant: customer IP is outside the merchant's allow list"),
    row(Code::Err3018, "ERR3018", 412, Some(-8018), "Transaction is restricted", "merchant: card BIN is blocked"),
    row(Code::Err3019, "ERR3019", 412, Some(-8019), "Insufficient refund balance", "refund above what is left of the captured transaction"),
    row(Code::Err3020, "ERR3020", 412, Some(-8020), "Insufficient refund balance", "refund above the merchant's refund volume limit for the day or month"),
    row(Code::Err1000, "ERR1000", 201, None, "Payment declined.", "the issuer or acquirer declined; response_code says why"),
    row(Code::Err1001, "ERR1001", 406, Some(14), "Card number is not valid.", "fails Luhn, length, or no accepted scheme"),
    row(Code::Err1002, "ERR1002", 406, Some(54), "Card has expired.", "expiry of a card in the request is in the past; the acquirer is not asked"),
    row(Code::Err1003, "ERR1003", 404, Some(25), "Stored payment method not found.", "unknown, deleted, or another entity's token: one answer for the three"),
    row(Code::Err1004, "ERR1004", 404, Some(25), "Transaction not found.", "unknown or another entity's transaction: one answer for both"),
    row(Code::Err1005, "ERR1005", 412, Some(12), "Transaction is not in a state that allows this.", "capture of a void, void of a captured, second capture, refund of a PRE_AUTH, another operation on it unresolved, delete of a token in use, pause of a cancelled subscription"),
    row(Code::Err1006, "ERR1006", 412, Some(836), "Amount is greater than authorised.", "capture above the authorised amount"),
    row(Code::Err1007, "ERR1007", 412, Some(94), "Idempotency key was used with a different request.", "same key, other body"),
    row(Code::Err1008, "ERR1008", 412, Some(94), "A request with this idempotency key is still running.", "same key, first still in flight"),
    row(Code::Err1009, "ERR1009", 201, Some(65), "Cardholder authentication failed.", "3-D Secure failed, abandoned or timed out (also the issuer's soft decline: \"authentication requested\")"),
    row(Code::Err1010, "ERR1010", 504, Some(68), "Time out", "a payment or authorization without an answer in time: it is reversed and can never become approved"),
    row(Code::Err1016, "ERR1016", 504, Some(578), "The result is not known yet and will be completed. Do not send it again.", "capture, refund or void without an answer"),
    row(Code::Err1011, "ERR1011", 502, Some(91), "Acquirer is not available.", "no connection; nothing was sent"),
    row(Code::Err1012, "ERR1012", 404, Some(25), "Subscription not found.", "unknown or another entity's"),
    row(Code::Err1013, "ERR1013", 404, Some(25), "Payment page link not found.", "unknown link"),
    row(Code::Err1014, "ERR1014", 412, Some(12), "Payment page link is no longer valid.", "paid, cancelled, expired, or out of attempts"),
    row(Code::Err1015, "ERR1015", 412, Some(58), "Merchant is not set up for this payment method.", "no such wallet or scheme on this merchant ID"),
    row(Code::Val0001, "VAL0001", 400, Some(30), "Request body is not valid JSON.", "parse error; says line and column"),
    row(Code::Val0002, "VAL0002", 400, Some(30), "Request is not valid.", "one or more fields missing or wrong; errors[] names each"),
    row(Code::Val0003, "VAL0003", 413, Some(30), "Request body is too large.", "above 64 KiB"),
    row(Code::Val0004, "VAL0004", 415, Some(30), "Content-Type must be application/json.", "a body whose Content-Type is not application/json"),
    row(Code::Val0005, "VAL0005", 404, Some(30), "No such endpoint.", "unknown path"),
    row(Code::Val0006, "VAL0006", 405, Some(30), "Method not allowed.", "known path, other method"),
    row(Code::Val0007, "VAL0007", 429, Some(30), "Too many requests.", "rate limit; Retry-After says when"),
    row(Code::Err0500, "ERR0500", 500, Some(-1), "Internal error.", "a fault of the gateway; carries a request id, never a cause; promises nothing: ask status"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_finds_its_own_row() {
        for (position, row) in MEANINGS.iter().enumerate() {
            assert_eq!(row.code as usize, position, "{}", row.name);
            assert_eq!(format!("{:?}", row.code).to_uppercase(), row.name);
            assert_eq!(Code::from_name(row.name), Some(row.code));
        }
    }
}
