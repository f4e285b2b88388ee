//! Examples of the risk rules, made by the code that reads and shows them.

use super::super::rules::{RuleAnswer, RuleList, RuleView};
use super::examples::{ENTITY, MADE_AT, MERCHANT, example};
use crate::directory::Caller;
use crate::id::EntityId;
use crate::risk::{Effect, Rule, Spec, Unit, Velocity};
use serde_json::{Value, json};

pub fn of_request(body: &str) -> &'static [&'static str] {
    match body {
        "RuleRequest" => &["rule_of_velocity", "rule_of_addresses", "rule_that_watches"],
        _ => &[],
    }
}

pub fn of_answer(method: &str, noun: &str, status: u16) -> &'static [&'static str] {
    match (method, noun, status) {
        ("post", "risk/rules", 201) => &["rule_added"],
        ("get", "risk/rules", 200) => &["rule_list"],
        ("delete", "risk/rules/{id}", 200) => &["rule_removed"],
        _ => &[],
    }
}

pub fn requests() -> Vec<(String, Value)> {
    let velocity =
        json!({"kind": "card_velocity", "merchant_id": MERCHANT, "limit": 5, "window": 10, "unit": "minutes"});
    let addresses = json!({"kind": "ip_block", "entries": ["185.220.101.0/24", "2a0b:f4c0::/32"]});
    let watches = json!({"kind": "max_amount", "merchant_id": MERCHANT, "currency": "JPY", "amount": "300000",
        "effect": "shadow"});
    vec![
        example("rule_of_velocity", "At most five charges of a card in ten minutes", &velocity),
        example("rule_of_addresses", "Networks that may not pay", &addresses),
        example("rule_that_watches", "What a limit would refuse, before it is on", &watches),
    ]
}

pub fn answers() -> Option<Vec<(String, Value)>> {
    let rule = Rule {
        number: 1,
        id: "rule_5f0e2d4c6b7a8b1a0193626c".to_owned(),
        caller: Caller { entity: EntityId::parse(ENTITY)?, live: false },
        merchant: Some(MERCHANT.to_owned()),
        effect: Effect::Deny,
        score: 0,
        spec: Spec::CardVelocity(Velocity { limit: 5, window: 10, unit: Unit::Minutes }),
        list: crate::risk::List::default(),
        entries: 0,
        created_at: MADE_AT,
    };
    let answer = |status_code| RuleAnswer { success: true, status_code, is_live: false, rule: RuleView::of(&rule) };
    let list = RuleList { success: true, status_code: 200, is_live: false, rules: vec![RuleView::of(&rule)] };
    Some(vec![
        example("rule_added", "The rule, in force everywhere within a second", &answer(201)),
        example("rule_list", "One rule", &list),
        example("rule_removed", "The rule that was removed", &answer(200)),
    ])
}
