//! The OpenAPI 3.1 document, made from the tables that check requests, the types that answers are made of, and the codes'
//! own table. A snapshot in the tests shows every change of the API in review.

mod endpoints;
mod examples;
mod rules;

use super::shape::{Field, Kind};
use super::{answer, clock, links, rules as rule_answers, status};
use crate::codes::{Code, MEANINGS};
use crate::pay::{envelope, explain, subscribed, tokens, told, waiting};
use axum::response::Response;
use endpoints::{ENDPOINTS, Endpoint};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::OpenApi;

/// The schemas of all answers.
#[derive(OpenApi)]
#[openapi(components(schemas(
    envelope::Envelope,
    answer::Refusal,
    tokens::TokenAnswer,
    tokens::TokenList,
    status::StatusList,
    explain::Story,
    told::WebhookList,
    told::WebhookAnswer,
    told::Feed,
    rule_answers::RuleAnswer,
    rule_answers::RuleList,
    links::LinkView,
    clock::ClockAnswer,
    subscribed::SubscriptionAnswer,
    subscribed::SubscriptionList,
    waiting::Redirect,
)))]
struct Answers;

/// What any call with a body may be refused with.
const BODY: &[Code] = &[Code::Val0001, Code::Val0002, Code::Val0003, Code::Val0004];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

pub async fn serve() -> Response {
    answer::json(200, DOCUMENT.clone())
}

pub fn document() -> Value {
    let answers = serde_json::to_value(Answers::openapi()).unwrap_or_default();
    let mut schemas = answers.pointer("/components/schemas").and_then(Value::as_object).cloned().unwrap_or_default();
    let message = json!({"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}});
    schemas.insert("Message".to_owned(), message);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        if let Some((name, fields)) = endpoint.body {
            schemas.insert(name.to_owned(), object(fields));
        }
        let item = paths.entry(format!("/api/v1{}", endpoint.path)).or_insert_with(|| json!({}));
        item[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fuda",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Card payments with a token vault. The prefix may also be written twice: /api/v1/api/v1.",
        },
        "security": [{"key": [], "secret": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key",
                    "description": "The pair's api_key, or its secret_key. Wrong or missing: 403."},
                "secret": {"type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "Basic and the secret_key, bare or in base64. Wrong or missing: 401."},
            },
            "schemas": schemas,
            "examples": examples::all(),
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters = Vec::new();
    if endpoint.path.contains("{id}") {
        let schema = if endpoint.path.contains("/webhooks/") {
            json!({"type": "string", "pattern": "^evt_[0-9a-f]{32}$"})
        } else if endpoint.path.contains("/risk/") {
            json!({"type": "string", "maxLength": 64, "examples": ["rule_5f0e2d4c6b7a8b1a0193626c"]})
        } else {
            json!({"type": "string", "format": "uuid"})
        };
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": schema}));
    }
    for (name, required, description) in endpoint.query {
        parameters.push(json!({"name": name, "in": "query", "required": required, "description": description,
            "schema": {"type": "string", "maxLength": 255}}));
    }
    if endpoint.method == "post" && (endpoint.body.is_some() || endpoint.path.contains("/subscription/")) {
        parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A repeat with the same key and body gets the first final answer again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255}}));
    }
    let mut value = json!({"summary": endpoint.summary, "parameters": parameters, "responses": responses(endpoint)});
    if let Some((name, _)) = endpoint.body {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let media = json!({"schema": schema, "examples": named(examples::of_request(name))});
        value["requestBody"] = json!({"required": true, "content": {"application/json": media}});
    }
    value
}

/// One response for each status: a decline shares 201 with the approval, and each refusal says its codes.
fn responses(endpoint: &Endpoint) -> Value {
    let mut codes: Vec<Code> = endpoint.refusals.to_vec();
    codes.extend([Code::Err0500, Code::Val0007]);
    if endpoint.body.is_some() {
        codes.extend(BODY);
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in MEANINGS.iter().map(|row| row.code).filter(|code| codes.contains(code)) {
        by_status.entry(code.meaning().http_status).or_default().push(code);
    }
    let mut responses = Map::new();
    for (status, codes) in &by_status {
        let lines: Vec<String> = codes.iter().map(|code| format!("{}: {}", code.name(), code.meaning().when)).collect();
        // Where a transaction was recorded the refusal is an envelope.
        let names: &[&str] = match status {
            201 => &["Envelope"],
            504 => &["Envelope"],
            _ if codes.iter().any(|code| code.name().starts_with("ERR30")) => &["Refusal", "Envelope"],
            _ => &["Refusal"],
        };
        responses.insert(status.to_string(), response(&lines.join("\n\n"), names));
    }
    let (status, name) = endpoint.success;
    let declines =
        by_status.get(&status).map(|codes| codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(", "));
    let text = declines.map_or_else(|| "Done".to_owned(), |codes| format!("Done, or declined ({codes}): see success"));
    let names = if name == "Envelope" || status == 200 { vec![name] } else { vec![name, "Envelope"] };
    responses.insert(status.to_string(), response(&text, &names));
    if endpoint.path.ends_with("v2") || endpoint.path.ends_with("subscription/payment") {
        let text = "The cardholder's browser goes to redirect_url first: to the issuer, or to a wallet";
        responses.insert("200".to_owned(), response(text, &["Redirect"]));
    }
    responses.insert("401".to_owned(), response("The Authorization header is wrong or missing", &["Message"]));
    responses.insert(
        "403".to_owned(),
        response("The x-api-key is wrong or missing, or the merchant_id is not the caller's", &["Message"]),
    );
    for (status, response) in &mut responses {
        let names = examples::of_answer(endpoint.method, endpoint.path, status.parse().unwrap_or(0));
        if !names.is_empty() {
            response["content"]["application/json"]["examples"] = named(names);
        }
    }
    Value::Object(responses)
}

fn named(examples: &[&str]) -> Value {
    let refer = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/examples/{name}")}));
    Value::Object(examples.iter().map(refer).collect())
}

fn response(description: &str, names: &[&str]) -> Value {
    let refs: Vec<Value> = names.iter().map(|name| json!({"$ref": format!("#/components/schemas/{name}")})).collect();
    let schema = if let [one] = refs.as_slice() { one.clone() } else { json!({ "anyOf": refs }) };
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn object(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        for name in std::iter::once(field.name).chain(field.alias) {
            let mut schema = schema(&field.kind);
            if !field.doc.is_empty() {
                schema["description"] = json!(field.doc);
            }
            properties.insert(name.to_owned(), schema);
        }
    }
    // A field with an alias is required under one of two names, which a plain list cannot say.
    let required: Vec<&str> =
        fields.iter().filter(|field| field.required && field.alias.is_none()).map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn schema(kind: &Kind) -> Value {
    match kind {
        Kind::Text { min, max } => json!({"type": "string", "minLength": min, "maxLength": max}),
        Kind::TextOrNumber { max } => json!({"type": ["string", "number"], "maxLength": max}),
        Kind::Country => json!({"type": "string", "pattern": "^[A-Za-z]{2}$", "examples": ["JP"]}),
        Kind::Amount => {
            let pattern = "^[0-9]+([.][0-9]+)?$";
            json!({"type": ["string", "number"], "maxLength": 10, "pattern": pattern, "exclusiveMinimum": 0, "examples": ["1000"]})
        }
        Kind::OpenAmount => {
            let pattern = "^([0-9]+([.][0-9]+)?)?$";
            json!({"type": ["string", "number"], "maxLength": 10, "pattern": pattern, "exclusiveMinimum": 0, "examples": ["1000"]})
        }
        Kind::Currency => json!({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["JPY"]}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Uuid => json!({"type": "string", "format": "uuid"}),
        Kind::CardNumber => {
            json!({"type": "string", "minLength": 12, "maxLength": 64, "examples": ["4111111111111111"]})
        }
        Kind::Digits { min, max } => {
            json!({"type": ["string", "integer"], "pattern": format!("^[0-9]{{{min},{max}}}$"), "minimum": 0})
        }
        Kind::Ip => json!({"type": "string", "maxLength": 45, "examples": ["203.0.113.7"]}),
        Kind::TimeZone => json!({"type": "string", "maxLength": 128, "examples": ["Asia/Tokyo"]}),
        Kind::Url => json!({"type": "string", "format": "uri", "maxLength": 2048}),
        Kind::OneOf(words) => json!({"type": "string", "enum": words}),
        Kind::Scalar => json!({"type": ["string", "number", "boolean"]}),
        Kind::Texts => json!({"type": "array", "items": {"type": ["string", "number"]}}),
        Kind::Object(fields) => object(fields),
        Kind::WalletToken => json!({"type": ["object", "string"]}),
    }
}
