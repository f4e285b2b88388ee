//! The objects that requests share (contract section 2).

use super::shape::{Field, Kind, optional, required};

pub const CARD: &[Field] = &[
    required("number", Kind::CardNumber, "12 to 19 digits; spaces and hyphens are removed."),
    required("expiry_month", Kind::Digits { min: 1, max: 2 }, "1 to 12; \"01\" is accepted."),
    required("expiry_year", Kind::Digits { min: 2, max: 4 }, "Two or four digits."),
    required("cvc", Kind::Digits { min: 3, max: 4 }, "Three digits; four for AMEX. Used once, never stored."),
    optional("name", Kind::Text { min: 0, max: 255 }, "The cardholder's name; may be empty."),
];

pub const ADDRESS: &[Field] = &[
    required("country", Kind::Country, "ISO 3166-1 alpha-2."),
    required("email", Kind::Text { min: 1, max: 45 }, ""),
    required("phone_number", Kind::Text { min: 1, max: 20 }, "Repeated as given.").or("phone"),
    required("address1", Kind::Text { min: 1, max: 199 }, "Lengths are characters: 東京 is two."),
    optional("address2", Kind::Text { min: 0, max: 199 }, ""),
    required("city", Kind::Text { min: 1, max: 65 }, ""),
    optional("state", Kind::Text { min: 0, max: 65 }, ""),
    optional("postal_code", Kind::Text { min: 0, max: 45 }, ""),
];

pub const RETURN_URL: &[Field] = &[
    optional("webhook_url", Kind::Url, "Told of every final result; https only with a live key."),
    optional("success_url", Kind::Url, ""),
    optional("decline_url", Kind::Url, ""),
    optional("cancel_url", Kind::Url, ""),
];

/// A link's page asks for what is missing.
pub const LINK_ADDRESS: &[Field] = &[
    optional("country", Kind::Country, "ISO 3166-1 alpha-2. JP makes the link's page Japanese."),
    optional("email", Kind::Text { min: 1, max: 45 }, ""),
    optional("phone_number", Kind::Text { min: 1, max: 20 }, "Repeated as given.").or("phone"),
    optional("address1", Kind::Text { min: 1, max: 199 }, ""),
    optional("address2", Kind::Text { min: 0, max: 199 }, ""),
    optional("city", Kind::Text { min: 1, max: 65 }, ""),
    optional("state", Kind::Text { min: 0, max: 65 }, ""),
    optional("postal_code", Kind::Text { min: 0, max: 45 }, ""),
];

pub const LINK_RETURN_URL: &[Field] = &[
    required("webhook_url", Kind::Url, "Told of every final result; https only with a live key."),
    required("success_url", Kind::Url, "Where the browser goes once it is paid; transaction_id is added."),
    required("decline_url", Kind::Url, "Where it goes after the last try."),
    optional("cancel_url", Kind::Url, "Where the cancel button leads; decline_url by default."),
];

pub const LINK_METHOD: &[Field] = &[
    optional(
        "type",
        Kind::OneOf(&["scheme", "googlepay", "applepay", "gcash", "paypay"]),
        "`scheme`, the default, is a card: its page has the buttons of Google Pay and Apple Pay where they are set up. \
         `gcash` and `paypay` are paid in the wallet's own page.",
    ),
    optional(
        "store_payment_method",
        Kind::Bool,
        "True stores the card, or the wallet's account, when the link is paid.",
    ),
];

pub const LINK: &[Field] = &[
    MERCHANT_ID,
    required("currency", Kind::Currency, "ISO 4217, enabled for the merchant."),
    required("return_url", Kind::Object(LINK_RETURN_URL), ""),
    optional("amount", Kind::OpenAmount, "Major units; null, empty or missing: the customer types it."),
    optional("merchant_email", Kind::Text { min: 0, max: 45 }, ""),
    optional("merchant_txn_ref", Kind::TextOrNumber { max: 45 }, "Shown on the page; may repeat."),
    optional("billing_address", Kind::Object(LINK_ADDRESS), "The page asks for what is missing."),
    optional("shipping_address", Kind::Object(ADDRESS), ""),
    optional("payment_method", Kind::Object(LINK_METHOD), ""),
    optional("expires_in", Kind::Digits { min: 1, max: 8 }, "Seconds, 1 to 31536000 (a year); a day by default."),
];

pub const PAYMENT_METHOD: &[Field] = &[
    optional("type", Kind::OneOf(&["scheme", "googlepay", "applepay", "gcash", "paypay"]), "`scheme` is a card."),
    optional(
        "token",
        Kind::WalletToken,
        "With the type googlepay or applepay: the token of the wallet's button, as the object or as its JSON text.",
    ),
    optional("store_payment_method", Kind::Bool, "True stores the card when the charge is approved."),
    optional("stored_payment_method_id", Kind::Uuid, "The token to charge."),
    optional("store_payment_method_id", Kind::Uuid, "The public sample's spelling of stored_payment_method_id."),
    optional("initiator", Kind::OneOf(&["customer", "merchant"]), "Who asks for this charge; customer by default."),
    optional(
        "reason",
        Kind::OneOf(&["recurring", "unscheduled", "installment"]),
        "Why the merchant charges; unscheduled by default.",
    ),
];

pub const BROWSER_INFO: &[Field] = &[
    optional("acceptHeader", Kind::Scalar, "The browser's Accept header."),
    optional("screenColorDepth", Kind::Scalar, "Bits per pixel: 24."),
    optional("javaEnabled", Kind::Scalar, ""),
    optional("language", Kind::Scalar, "BCP 47: ja-JP. Also the language of the pages on the way."),
    optional("screenHeight", Kind::Scalar, "Pixels."),
    optional("screenWidth", Kind::Scalar, "Pixels."),
    optional("challengeWindow", Kind::Scalar, "01 to 05; 05, the whole screen, by default."),
    optional("userAgent", Kind::Scalar, "The browser's User-Agent header."),
];

pub const MERCHANT_ID: Field =
    required("merchant_id", Kind::Text { min: 1, max: 128 }, "One of the entity's merchant IDs: JP00000001.");

const AMOUNT: Field = required("amount", Kind::Amount, "Major units, a number or a string: \"1000\" JPY is 1,000 yen.");
const CURRENCY: Field = required("currency", Kind::Currency, "ISO 4217, enabled for the merchant.");
const BILLING: Field = required("billing_address", Kind::Object(ADDRESS), "");
const SHIPPING: Field = optional("shipping_address", Kind::Object(ADDRESS), "");
const SOURCE_CARD: Field = optional(
    "card",
    Kind::Object(CARD),
    "Exactly one source: this, payment_method.stored_payment_method_id, or payment_method.token.",
);
const METHOD: Field = optional("payment_method", Kind::Object(PAYMENT_METHOD), "");
const REFERENCE: Field =
    optional("merchant_txn_ref", Kind::TextOrNumber { max: 45 }, "The merchant's own reference; may repeat.");
const CUSTOMER_IP: Field = optional("customer_ip", Kind::Ip, "");
const ZONE: Field = optional("time_zone", Kind::TimeZone, "");
const URLS: Field = optional("return_url", Kind::Object(RETURN_URL), "");
const BROWSER: Field = optional("browser_info", Kind::Object(BROWSER_INFO), "");

pub const CHARGE: &[Field] = &[
    AMOUNT,
    CURRENCY,
    MERCHANT_ID,
    BILLING,
    SHIPPING,
    SOURCE_CARD,
    METHOD,
    REFERENCE,
    CUSTOMER_IP,
    ZONE,
    URLS,
    BROWSER,
];

pub const PLAN: &[Field] = &[
    required("plan_name", Kind::Text { min: 1, max: 128 }, ""),
    optional("plan_desc", Kind::Text { min: 0, max: 255 }, ""),
    required("cycle_type", Kind::OneOf(&["DAYS", "WEEKLY", "MONTHLY", "YEARLY"]), "The unit of a cycle's length."),
    required("cycle_interval", Kind::Digits { min: 1, max: 3 }, "How many of them: 1 to 365."),
    required("subscription_end_type", Kind::OneOf(&["CYCLE", "FOREVER", "DATE"]), "What ends it."),
    optional("max_cycle_count", Kind::Scalar, "With CYCLE: after so many paid cycles, 1 to 9999."),
    optional(
        "end_date",
        Kind::Text { min: 1, max: 64 },
        "With DATE: no cycle that is due later is charged. 2027-03-31 (to the end of that day in time_zone) or \
         2027-03-31T15:00:00Z.",
    ),
    optional("has_trial_period", Kind::Bool, "False by default; then the trial's other fields mean nothing."),
    optional("trial_period_duration_type", Kind::Scalar, "With a trial: DAYS, WEEKLY or MONTHLY."),
    optional("trial_period_duration", Kind::Scalar, "With a trial: 1 to 365."),
    optional("has_discount", Kind::Bool, "False by default; then the discount's other fields mean nothing."),
    optional("discount_percentage", Kind::Scalar, "With a discount: 1 to 100."),
    optional("discount_duration", Kind::Scalar, "With a discount: of the first so many cycles, 1 to 9999."),
];

pub const SUBSCRIBE: &[Field] = &[
    AMOUNT,
    CURRENCY,
    MERCHANT_ID,
    BILLING,
    SHIPPING,
    SOURCE_CARD,
    METHOD,
    REFERENCE,
    CUSTOMER_IP,
    optional("time_zone", Kind::TimeZone, "Its wall-clock time is kept by the dates of the cycles; UTC by default."),
    URLS,
    BROWSER,
    required("subscription", Kind::Object(PLAN), ""),
];

pub const NEW_METHOD: &[Field] =
    &[SOURCE_CARD, METHOD, optional("billing_address", Kind::Object(ADDRESS), ""), CUSTOMER_IP];

pub const STORE: &[Field] = &[
    MERCHANT_ID,
    required("card", Kind::Object(CARD), ""),
    optional("currency", Kind::Currency, "Of the zero-amount verification; the merchant's first by default."),
    optional("billing_address", Kind::Object(ADDRESS), ""),
    optional("merchant_txn_ref", Kind::TextOrNumber { max: 45 }, ""),
    optional("customer_ip", Kind::Ip, ""),
    optional("return_url", Kind::Object(RETURN_URL), ""),
];

pub const CHANGED_CARD: &[Field] = &[
    optional("expiry_month", Kind::Digits { min: 1, max: 2 }, "Together with expiry_year."),
    optional("expiry_year", Kind::Digits { min: 2, max: 4 }, "Together with expiry_month."),
    optional("name", Kind::Text { min: 0, max: 255 }, ""),
];

pub const CHANGE: &[Field] = &[required("card", Kind::Object(CHANGED_CARD), "What the new card says.")];

const PARENT: Field = required("transactionId", Kind::Uuid, "The transaction that this follows.").or("transaction_id");
const NOTES: Field = optional("notes", Kind::Text { min: 0, max: 128 }, "For the merchant's own use.");

pub const CAPTURE: &[Field] = &[
    PARENT,
    MERCHANT_ID,
    required("amount", Kind::Amount, "Major units, at most what is held; the remainder is released."),
    NOTES,
];

pub const REFUND: &[Field] = &[
    PARENT,
    MERCHANT_ID,
    required("amount", Kind::Amount, "Major units, at most what is left of the captured amount."),
    NOTES,
];

pub const VOID: &[Field] = &[PARENT, MERCHANT_ID, NOTES];

pub const CLOCK: &[Field] = &[required(
    "advance",
    Kind::Text { min: 1, max: 64 },
    "An ISO 8601 duration in whole seconds, at most P10Y: P31D, P1M, P1Y2M, PT36H. Years, months, weeks and days are counted in \
     UTC from the entity's time.",
)];

pub const RULE: &[Field] = &[
    required("kind", Kind::OneOf(&crate::risk::asked::KINDS), "What the rule looks at."),
    optional("merchant_id", Kind::Text { min: 1, max: 128 }, "The merchant that it concerns; left out: the entity."),
    optional(
        "effect",
        Kind::OneOf(&["deny", "shadow", "score"]),
        "deny by default; shadow only notes what it would refuse.",
    ),
    optional(
        "score",
        Kind::Digits { min: 1, max: 3 },
        "What a rule with the effect score adds to risk_score: 1 to 100.",
    ),
    optional("countries", Kind::Texts, "card_country, issuing_country: ISO 3166-1 alpha-2 each."),
    optional(
        "entries",
        Kind::Texts,
        "ip_block, ip_allow: addresses and CIDR blocks; bin_block: six to eight digits; pan_block: fingerprints, or card \
         numbers, which are turned into fingerprints at once.",
    ),
    optional("currency", Kind::Currency, "max_amount, min_amount, refund_volume."),
    optional("amount", Kind::Amount, "max_amount, min_amount, refund_volume: major units."),
    optional("limit", Kind::Digits { min: 1, max: 4 }, "card_velocity, ip_velocity: at most so many, 1 to 1000."),
    optional("window", Kind::Digits { min: 1, max: 4 }, "In so many units: 1 to 1000; months 1 to 12."),
    optional("unit", Kind::OneOf(&["minutes", "hours", "days", "months"]), "Of the window."),
    optional("per", Kind::OneOf(&["day", "month"]), "refund_volume."),
    optional("time_zone", Kind::TimeZone, "refund_volume: whose day or month; UTC by default."),
    optional("off", Kind::Bool, "card_testing: true ends the defence against card testing for the entity."),
    optional("ip_declines", Kind::Digits { min: 1, max: 4 }, "card_testing: declines of one public address; 20."),
    optional("bin_declines", Kind::Digits { min: 1, max: 4 }, "card_testing: declines on one BIN of 8 digits; 200."),
    optional("minutes", Kind::Digits { min: 1, max: 4 }, "card_testing: within so many minutes; 10."),
];
