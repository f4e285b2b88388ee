//! `risk/rules`: the entity's rules in the key's mode. Each change is audited under the key's id.

use super::answer::{self, About};
use super::call::{Call, Posted};
use super::flow::{Begun, body_text, check_headers, claim, detached};
use super::{fields, shape};
use crate::app::App;
use crate::clock::timestamp;
use crate::codes::Code;
use crate::error::{Error, FieldError};
use crate::id::TransactionId;
use crate::json::Node;
use crate::pay::{Answer, idempotency};
use crate::risk::asked::{self, Asked};
use crate::risk::change::{self, Added, Author};
use crate::risk::{self, Rule, Spec, Testing, Velocity};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A rule as it is shown: how many entries its list has, not which.
#[derive(Serialize, ToSchema)]
pub struct RuleView {
    #[schema(example = "rule_5f0e2d4c6b7a8b1a0193626c")]
    pub id: String,
    #[schema(example = "card_velocity")]
    pub kind: &'static str,
    /// What it refuses with; null for settings.
    #[schema(example = "ERR3008")]
    pub code: Option<&'static str>,
    /// Null: a rule of the whole entity.
    pub merchant_id: Option<String>,
    /// `deny`, `shadow` or `score`.
    pub effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// How many entries its list has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<i64>,
    /// The kind's own fields, named as they are sent.
    #[schema(value_type = Object)]
    pub settings: Value,
    pub created: String,
}

#[derive(Serialize, ToSchema)]
pub struct RuleAnswer {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub rule: RuleView,
}

#[derive(Serialize, ToSchema)]
pub struct RuleList {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// In the order in which they were added; at most 1,000.
    pub rules: Vec<RuleView>,
}

impl RuleView {
    pub fn of(rule: &Rule) -> RuleView {
        let listed = matches!(rule.spec, Spec::IpBlock | Spec::IpAllow | Spec::BinBlock | Spec::PanBlock);
        RuleView {
            id: rule.id.clone(),
            kind: rule.spec.kind(),
            code: rule.code().map(Code::name),
            merchant_id: rule.merchant.clone(),
            effect: rule.effect.name(),
            score: (rule.score > 0).then_some(rule.score),
            entries: listed.then_some(rule.entries),
            settings: settings(&rule.spec),
            created: timestamp(rule.created_at),
        }
    }
}

/// What a rule's kind has of its own, as it is shown.
pub fn settings(spec: &Spec) -> Value {
    let amount = spec.money().and_then(|money| serde_json::to_value(money).ok()).unwrap_or_default();
    match spec {
        Spec::CardCountry { countries } | Spec::IssuingCountry { countries } => {
            serde_json::json!({ "countries": countries })
        }
        Spec::IpBlock | Spec::IpAllow | Spec::BinBlock | Spec::PanBlock => serde_json::json!({}),
        Spec::MaxAmount { currency, .. } | Spec::MinAmount { currency, .. } => {
            serde_json::json!({"currency": currency, "amount": amount})
        }
        Spec::CardVelocity(Velocity { limit, window, unit }) | Spec::IpVelocity(Velocity { limit, window, unit }) => {
            serde_json::json!({"limit": limit, "window": window, "unit": unit})
        }
        Spec::RefundVolume(volume) => serde_json::json!({"currency": volume.currency, "amount": amount,
            "per": volume.per, "time_zone": volume.time_zone}),
        Spec::CardTesting(Testing { off: true, .. }) => serde_json::json!({"off": true}),
        Spec::CardTesting(Testing { ip_declines, bin_declines, minutes, .. }) => {
            serde_json::json!({"off": false, "ip_declines": ip_declines, "bin_declines": bin_declines, "minutes": minutes})
        }
    }
}

pub async fn list(State(app): State<App>, call: Call) -> Response {
    match risk::stored(&app.db, call.caller).await {
        Ok(rules) => {
            let rules = rules.iter().map(RuleView::of).collect();
            let list = RuleList { success: true, status_code: 200, is_live: call.caller.live, rules };
            answer::object(200, &list)
        }
        Err(error) => answer::refuse(&call.about(), error),
    }
}

pub async fn add(State(app): State<App>, posted: Posted) -> Response {
    let about: About = posted.call.about();
    let flow = app.clone();
    detached(&app, about, async move { begin(&flow, posted).await }).await
}

/// Unlike a payment's, a rule's unknown members are refused: a mistyped `effect` would make a rule that watches into one that
/// refuses. The name that was sent is not repeated.
fn check_members(body: &Node, errors: &mut Vec<FieldError>) {
    let known = |name: &str| fields::RULE.iter().any(|field| field.name == name);
    if let Node::Object(members) = body
        && !members.iter().all(|(name, _)| known(name))
    {
        let names: Vec<&str> = fields::RULE.iter().map(|field| field.name).collect();
        let text = format!("A member is none of those that a rule has: {}.", names.join(", "));
        errors.push(FieldError::new("", "unknown_member", text));
    }
}

async fn begin(app: &App, posted: Posted) -> Result<Begun, Error> {
    let Posted { call, body } = posted;
    let mut errors = Vec::new();
    shape::check(fields::RULE, &body, "", &mut errors);
    check_members(&body, &mut errors);
    check_headers(&call, &mut errors);
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let caller = call.caller;
    let merchant = Some(body_text(&body, "merchant_id")).filter(|text| !text.is_empty());
    if merchant.is_some_and(|id| app.directory.merchant(caller, id).is_none()) {
        return Ok(Begun::Forbidden);
    }
    let draft = asked::draft(&asked_of(&body, merchant), &|pan| app.vault.fingerprint(caller.entity, caller.live, pan));
    let draft = draft.map_err(Error::fields)?;
    let claim = claim(app, &call, "risk/rules", &body, None);
    if let Some(answer) = idempotency::replay(app, claim.as_ref()).await? {
        return Ok(Begun::Answered(answer));
    }
    let author = Author { who: &call.key_id, caller, now: app.clock.now() };
    let mut answered = Answer::new(201, String::new());
    let added = change::add(&app.db, &app.random, &author, draft, |rule| {
        let shown = RuleAnswer { success: true, status_code: 201, is_live: caller.live, rule: RuleView::of(rule) };
        answered.body = serde_json::to_string(&shown).unwrap_or_default();
        let Some(claim) = &claim else { return (vec![], vec![]) };
        // The key's row names a transaction; a rule has none, and is begun and ended in one write.
        let id = TransactionId::new(author.now, &app.random);
        (vec![claim.insert(id, author.now)], vec![claim.answered(id, &answered, true)])
    });
    match added.await? {
        Added::Rule(_) => {
            app.risk.follow(&app.db).await;
            Ok(Begun::Answered(answered))
        }
        Added::FirstFailed => {
            let replayed = idempotency::replay(app, claim.as_ref()).await?;
            replayed.map(Begun::Answered).ok_or_else(|| Error::new(Code::Err1008))
        }
    }
}

fn asked_of<'a>(body: &'a Node, merchant: Option<&'a str>) -> Asked<'a> {
    const VALUES: [&str; 12] = [
        "effect",
        "score",
        "currency",
        "amount",
        "limit",
        "window",
        "unit",
        "per",
        "time_zone",
        "ip_declines",
        "bin_declines",
        "minutes",
    ];
    let value = |name: &'static str| Some((name, body.get(name)?.text_or_number()?));
    let off = body.get("off").and_then(Node::bool).map(|off| ("off", if off { "true" } else { "false" }));
    let texts = |name: &str| match body.get(name) {
        Some(Node::List(items)) => items.iter().filter_map(Node::text_or_number).collect(),
        _ => Vec::new(),
    };
    Asked {
        kind: body_text(body, "kind"),
        merchant,
        values: VALUES.into_iter().filter_map(value).chain(off).collect(),
        countries: texts("countries"),
        entries: texts("entries"),
    }
}

pub async fn remove(State(app): State<App>, call: Call, id: Result<Path<String>, PathRejection>) -> Response {
    let about = call.about();
    let live = call.caller.live;
    let flow = app.tasks.clone().spawn(async move { removed(&app, &call, id).await });
    match flow.await {
        Ok(Ok(rule)) => answer::object(200, &RuleAnswer { success: true, status_code: 200, is_live: live, rule }),
        Ok(Err(error)) => answer::refuse(&about, error),
        Err(_) => answer::refuse(&about, Error::internal("a rule's task panicked")),
    }
}

/// Unknown, removed before, another entity's and the other mode's: one answer for the four.
async fn removed(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<RuleView, Error> {
    let unknown = || Error::new(Code::Val0005).with_detail("There is no such rule: GET risk/rules lists them.");
    let Ok(Path(id)) = id else { return Err(unknown()) };
    let rules = risk::stored(&app.db, call.caller).await?;
    let rule = rules.iter().find(|rule| rule.id == id).ok_or_else(unknown)?;
    let author = Author { who: &call.key_id, caller: call.caller, now: app.clock.now() };
    if !change::remove(&app.db, &author, &rule.id).await? {
        return Err(unknown());
    }
    app.risk.follow(&app.db).await;
    Ok(RuleView::of(rule))
}
