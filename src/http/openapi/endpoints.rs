//! Every endpoint of the document: one row each.

use crate::codes::Code;
use crate::http::fields::{CAPTURE, CHANGE, CHARGE, CLOCK, LINK, NEW_METHOD, REFUND, RULE, STORE, SUBSCRIBE, VOID};
use crate::http::shape::Field;

pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    /// The table of the body, and what it is called.
    pub body: Option<(&'static str, &'static [Field])>,
    /// Name, whether required, description.
    pub query: &'static [(&'static str, bool, &'static str)],
    pub success: (u16, &'static str),
    pub refusals: &'static [Code],
}

const CHARGED: &[Code] = &[
    Code::Err1000,
    Code::Err1001,
    Code::Err1002,
    Code::Err1003,
    Code::Err1007,
    Code::Err1008,
    Code::Err1009,
    Code::Err1010,
    Code::Err1011,
    Code::Err1015,
    Code::Err3001,
    Code::Err3002,
    Code::Err3003,
    Code::Err3004,
    Code::Err3005,
    Code::Err3006,
    Code::Err3007,
    Code::Err3008,
    Code::Err3009,
    Code::Err3010,
    Code::Err3011,
    Code::Err3012,
    Code::Err3013,
    Code::Err3014,
    Code::Err3015,
    Code::Err3016,
    Code::Err3017,
    Code::Err3018,
    Code::Val0007,
];

const fn charge(path: &'static str, summary: &'static str) -> Endpoint {
    let body = Some(("ChargeRequest", CHARGE));
    Endpoint { method: "post", path, summary, body, query: &[], success: (201, "Envelope"), refusals: CHARGED }
}

/// Each code's text says for which of the three it is.
const FOLLOWED: &[Code] = &[
    Code::Err1000,
    Code::Err1004,
    Code::Err1005,
    Code::Err1006,
    Code::Err1007,
    Code::Err1008,
    Code::Err1011,
    Code::Err1015,
    Code::Err1016,
    Code::Err3019,
    Code::Err3020,
];

const fn follow(path: &'static str, summary: &'static str, body: (&'static str, &'static [Field])) -> Endpoint {
    let success = (201, "Envelope");
    Endpoint { method: "post", path, summary, body: Some(body), query: &[], success, refusals: FOLLOWED }
}

const fn link(path: &'static str, summary: &'static str) -> Endpoint {
    let (body, success) = (Some(("LinkRequest", LINK)), (201, "LinkView"));
    let refusals = &[Code::Err1007, Code::Err1008, Code::Err1015];
    Endpoint { method: "post", path, summary, body, query: &[], success, refusals }
}

const CLOCK_PATH: &str = "/server-to-server-interface/test/clock";
/// As a charge's, since the new card is verified by one.
const METHOD_CHANGED: &[Code] = &[
    Code::Err1000,
    Code::Err1001,
    Code::Err1002,
    Code::Err1003,
    Code::Err1005,
    Code::Err1007,
    Code::Err1008,
    Code::Err1009,
    Code::Err1010,
    Code::Err1011,
    Code::Err1012,
    Code::Err1015,
    Code::Err3001,
    Code::Err3002,
    Code::Err3003,
    Code::Err3004,
    Code::Err3005,
    Code::Err3007,
    Code::Err3017,
    Code::Err3018,
];

const SUBSCRIPTION_CHANGED: &[Code] = &[Code::Err1005, Code::Err1007, Code::Err1008, Code::Err1012, Code::Val0002];

const fn subscription(path: &'static str, summary: &'static str) -> Endpoint {
    let (success, refusals) = ((200, "SubscriptionAnswer"), SUBSCRIPTION_CHANGED);
    Endpoint { method: "post", path, summary, body: None, query: &[], success, refusals }
}

const RULES_PATH: &str = "/server-to-server-interface/risk/rules";
const TOKEN_PATH: &str = "/server-to-server-interface/tokens/{id}";

pub const ENDPOINTS: &[Endpoint] = &[
    charge("/server-to-server-interface/payment", "Take money with a card or a stored card"),
    charge("/server-to-server-interface/authorization", "Hold money with a card or a stored card"),
    charge(
        "/server-to-server-interface/paymentv2",
        "As payment; where 3-D Secure or a wallet's own page is needed, with a redirect",
    ),
    charge("/server-to-server-interface/authorizationv2", "As authorization, with the same remark"),
    follow(
        "/server-to-server-interface/capture",
        "Take the money that an authorization holds",
        ("CaptureRequest", CAPTURE),
    ),
    follow(
        "/server-to-server-interface/refund",
        "Give back money that was taken, at once or in parts",
        ("RefundRequest", REFUND),
    ),
    follow(
        "/server-to-server-interface/void",
        "Let go of the money that an authorization holds",
        ("VoidRequest", VOID),
    ),
    link("/server-to-server-interface/hpp/generate/link", "A link to the hosted payment page"),
    link("/hpp/generate/link", "The same by its shorter path"),
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/hpp/link/{id}",
        summary: "What became of a link",
        body: None,
        query: &[],
        success: (200, "LinkView"),
        refusals: &[Code::Err1013],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/transaction/{id}/explain",
        summary: "The story of a transaction, in English and Japanese",
        body: None,
        query: &[],
        success: (200, "Story"),
        refusals: &[Code::Err1004],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/transaction/status/{id}",
        summary: "What became of a transaction",
        body: None,
        query: &[],
        success: (200, "Envelope"),
        refusals: &[Code::Err1004],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/transaction/status",
        summary: "The charges with a merchant's reference, newest first, at most 20",
        body: None,
        query: &[("merchant_id", true, "One of the entity's."), ("merchant_txn_ref", true, "As it was sent.")],
        success: (200, "StatusList"),
        refusals: &[Code::Val0002],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/webhooks",
        summary: "The webhooks of a transaction, with every try",
        body: None,
        query: &[("transaction_id", true, "One of the entity's.")],
        success: (200, "WebhookList"),
        refusals: &[Code::Err1004, Code::Val0002],
    },
    Endpoint {
        method: "post",
        path: "/server-to-server-interface/webhooks/{id}/retry",
        summary: "Send a webhook again, at once",
        body: None,
        query: &[],
        success: (200, "WebhookAnswer"),
        refusals: &[Code::Err1004, Code::Err1005],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/events",
        summary: "All events in order, as their webhooks are sent: for a merchant that was away",
        body: None,
        query: &[
            ("after", false, "The id of the last event that was read; without it from the beginning."),
            ("limit", false, "1 to 100; 100 by default."),
        ],
        success: (200, "Feed"),
        refusals: &[Code::Val0002],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/tokens",
        summary: "Stored cards, newest first",
        body: None,
        query: &[
            ("merchant_txn_ref", false, "Of the charge that stored the card."),
            ("fingerprint", false, "The same card, stored more than once."),
            ("cursor", false, "next_cursor of the page before."),
            ("limit", false, "1 to 100; 100 by default."),
        ],
        success: (200, "TokenList"),
        refusals: &[Code::Val0002],
    },
    Endpoint {
        method: "post",
        path: "/server-to-server-interface/tokens",
        summary: "Store a card, checked by a zero-amount verification",
        body: Some(("StoreRequest", STORE)),
        query: &[],
        success: (201, "TokenAnswer"),
        refusals: CHARGED,
    },
    Endpoint {
        method: "get",
        path: TOKEN_PATH,
        summary: "A stored card",
        body: None,
        query: &[],
        success: (200, "TokenAnswer"),
        refusals: &[Code::Err1003],
    },
    Endpoint {
        method: "patch",
        path: TOKEN_PATH,
        summary: "Change a stored card's expiry or name",
        body: Some(("ChangeRequest", CHANGE)),
        query: &[],
        success: (200, "TokenAnswer"),
        refusals: &[Code::Err1002, Code::Err1003],
    },
    Endpoint {
        method: "delete",
        path: TOKEN_PATH,
        summary: "Erase a stored card",
        body: None,
        query: &[(
            "cancel_subscriptions",
            false,
            "true cancels the live subscriptions that charge it, in the same write.",
        )],
        success: (200, "TokenAnswer"),
        refusals: &[Code::Err1003, Code::Err1005, Code::Val0002],
    },
    Endpoint {
        method: "post",
        path: "/server-to-server-interface/subscription/payment",
        summary: "Begin a subscription: its first cycle is charged, or with a trial the card is verified",
        body: Some(("SubscribeRequest", SUBSCRIBE)),
        query: &[],
        success: (201, "Envelope"),
        refusals: CHARGED,
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/subscription/list",
        summary: "Subscriptions, newest first",
        body: None,
        query: &[
            ("status", false, "ACTIVE, PAUSED, PAST_DUE, CANCELLED or EXPIRED."),
            ("cursor", false, "The id of the last subscription of the page before."),
            ("limit", false, "1 to 100; 100 by default."),
        ],
        success: (200, "SubscriptionList"),
        refusals: &[Code::Val0002],
    },
    Endpoint {
        method: "get",
        path: "/server-to-server-interface/subscription/{id}",
        summary: "A subscription and its payments",
        body: None,
        query: &[],
        success: (200, "SubscriptionAnswer"),
        refusals: &[Code::Err1012],
    },
    subscription("/server-to-server-interface/subscription/{id}/pause", "Charge nothing until it is resumed"),
    subscription(
        "/server-to-server-interface/subscription/{id}/resume",
        "Go on by the schedule; if a cycle fell due meanwhile one is charged now",
    ),
    subscription("/server-to-server-interface/subscription/{id}/cancel", "End it at once, for good"),
    Endpoint {
        method: "post",
        path: "/server-to-server-interface/subscription/{id}/payment-method",
        summary: "Charge another card from now on; a payment that is past due is tried at once",
        body: Some(("NewMethodRequest", NEW_METHOD)),
        query: &[],
        success: (200, "SubscriptionAnswer"),
        refusals: METHOD_CHANGED,
    },
    Endpoint {
        method: "get",
        path: RULES_PATH,
        summary: "The risk rules in force, in the order in which they were added",
        body: None,
        query: &[],
        success: (200, "RuleList"),
        refusals: &[],
    },
    Endpoint {
        method: "post",
        path: RULES_PATH,
        summary: "Add a risk rule; in force everywhere within a second",
        body: Some(("RuleRequest", RULE)),
        query: &[],
        success: (201, "RuleAnswer"),
        refusals: &[Code::Err1007, Code::Err1008],
    },
    Endpoint {
        method: "delete",
        path: "/server-to-server-interface/risk/rules/{id}",
        summary: "Remove a risk rule; out of force everywhere within a second",
        body: None,
        query: &[],
        success: (200, "RuleAnswer"),
        refusals: &[Code::Val0005],
    },
    Endpoint {
        method: "get",
        path: CLOCK_PATH,
        summary: "The entity's sandbox time; test keys only",
        body: None,
        query: &[],
        success: (200, "ClockAnswer"),
        refusals: &[Code::Val0005],
    },
    Endpoint {
        method: "post",
        path: CLOCK_PATH,
        summary: "Move the entity's sandbox time forward, and run what falls due; test keys only",
        body: Some(("ClockRequest", CLOCK)),
        query: &[],
        success: (200, "ClockAnswer"),
        refusals: &[Code::Err1007, Code::Err1008, Code::Val0005],
    },
];
