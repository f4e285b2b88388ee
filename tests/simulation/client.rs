//! Clients as they are: they hang up, send again with the same key, and race for the same holds and purchases.

use crate::cardholder::{Cardholder, FAILED, PAID};
use crate::merchant::Wish;
use crate::weather::Dice;
use crate::world::World;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// What a client was told, once.
#[derive(Clone, Debug)]
pub struct Told {
    pub path: &'static str,
    /// The plan's.
    pub mark: String,
    pub status: u16,
    pub code: String,
    pub success: bool,
    pub id: Option<String>,
    pub body: String,
    pub at: i64,
    pub token: Option<String>,
    /// The charge waits for its cardholder: where the browser goes.
    pub redirect: Option<String>,
    pub subscription: Option<String>,
}

/// Something that others may follow.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: String,
    pub kind: &'static str,
    pub amount: u64,
}

pub struct Client {
    pub world: Arc<World>,
    pub name: u64,
    pub dice: Dice,
}

/// One request that a client has in mind; `mark` names it in the books.
pub struct Plan {
    pub path: &'static str,
    /// Of the path: ids.
    pub tail: String,
    pub method: &'static str,
    pub mark: String,
    pub key: bool,
    pub amount: u64,
    /// How the sandbox's directory is to answer.
    pub steer: Option<&'static str>,
    pub body: Value,
    /// What a subscription is to become.
    pub wish: Option<Wish>,
}

impl Plan {
    pub fn post(path: &'static str, mark: String, key: bool, amount: u64, body: Value) -> Plan {
        Plan { path, tail: String::new(), method: "POST", mark, key, amount, steer: None, body, wish: None }
    }
}

impl Client {
    pub async fn run(self) {
        for number in 0..3 + self.dice.below(5) {
            self.world.clock.sleep(self.dice.below(3_000)).await;
            if let Some(plan) = self.plan(number) {
                self.carry_out(&plan).await;
            }
        }
    }

    fn plan(&self, number: u64) -> Option<Plan> {
        let mark = format!("c{}-{number}", self.name);
        let amount = 100 * (1 + self.dice.below(10));
        let holds = self.world.known("PRE_AUTH");
        let taken = self.world.known("CAPTURE");
        // Where there is nothing yet to follow, something is charged.
        let what = match self.dice.below(28) {
            8..=13 if holds.is_empty() => 4,
            14..=18 if taken.is_empty() => 0,
            what => what,
        };
        match what {
            0..=7 => self.charge(mark, if what < 4 { "payment" } else { "authorization" }, amount),
            8..=11 => {
                let hold = self.dice.pick(&holds)?;
                let amount = if self.dice.chance(500) { hold.amount } else { amount };
                Some(self.follow("capture", mark, &hold.id, amount))
            }
            12..=13 => Some(self.follow("void", mark, &self.dice.pick(&holds)?.id, 0)),
            14..=18 => Some(self.follow("refund", mark, &self.dice.pick(&taken)?.id, amount.min(400))),
            19 => self.delete(mark),
            20..=24 => self.subscribe(mark, amount),
            _ => self.change(mark),
        }
    }

    /// Some of them at an endpoint that may answer with a redirect.
    fn charge(&self, mark: String, path: &'static str, amount: u64) -> Option<Plan> {
        let mut body = self.charged(&mark, amount)?;
        let key = self.dice.chance(800);
        if self.dice.chance(600) {
            return Some(Plan::post(path, mark, key, amount, body));
        }
        let path = if path == "payment" { "paymentv2" } else { "authorizationv2" };
        body["return_url"]["success_url"] = json!(PAID);
        body["return_url"]["decline_url"] = json!(FAILED);
        let steer = match self.dice.below(40) {
            0..=2 => Some("frictionless"),
            3 => Some("rejected"),
            4 => Some("unavailable"),
            5 => Some("silent"),
            6..=7 => None,
            _ => Some("challenge"),
        };
        if body.get("card").is_some() && self.dice.chance(300) {
            let wallet = self.dice.pick(&["gcash", "paypay"])?;
            body["payment_method"]["type"] = json!(wallet);
            body.as_object_mut()?.remove("card");
        }
        Some(Plan { steer, ..Plan::post(path, mark, key, amount, body) })
    }

    pub fn charged(&self, mark: &str, amount: u64) -> Option<Value> {
        let mut body = json!({
            "amount": amount, "currency": "JPY", "merchant_id": self.world.merchant_id, "merchant_txn_ref": mark,
            "return_url": {"webhook_url": crate::shop::URL},
            "billing_address": {"country": "JP", "email": "a@example.jp", "phone_number": "1", "address1": "1", "city": "東京"},
        });
        if self.dice.chance(600) {
            let tokens = self.world.tokens.lock().unwrap().clone();
            body["payment_method"] = json!({"stored_payment_method_id": self.dice.pick(&tokens)?});
        } else {
            body["card"] = card();
            body["payment_method"] = json!({"store_payment_method": self.dice.chance(500)});
        }
        Some(body)
    }

    fn follow(&self, path: &'static str, mark: String, parent: &str, amount: u64) -> Plan {
        let mut body = json!({"transactionId": parent, "merchant_id": self.world.merchant_id, "notes": mark});
        if path != "void" {
            body["amount"] = json!(amount);
        }
        Plan::post(path, mark, self.dice.chance(800), amount, body)
    }

    /// Some with the subscriptions that charge it.
    pub fn delete(&self, mark: String) -> Option<Plan> {
        let tokens = self.world.tokens.lock().unwrap().clone();
        let token = self.dice.pick(&tokens)?.clone();
        self.world.deletes.lock().unwrap().push(token.clone());
        let all = self.dice.chance(400);
        let tail = format!("/{token}{}", if all { "?cancel_subscriptions=true" } else { "" });
        let wish = all.then(|| Wish::Delete(token.clone()));
        Some(Plan { method: "DELETE", tail, wish, ..Plan::post("tokens", mark, false, 0, json!(token)) })
    }

    pub async fn carry_out(&self, plan: &Plan) {
        self.wished(plan);
        let mut first: Option<Told> = None;
        for _ in 0..40 {
            let patience = if self.dice.chance(300) { self.dice.below(400) } else { 10_000 };
            let Some(told) = self.ask(plan, patience).await else {
                // No answer: with a key one asks again, without one nobody dares.
                if !plan.key {
                    return;
                }
                self.world.clock.sleep(200 + self.dice.below(1_500)).await;
                continue;
            };
            self.world.note(&told, plan.amount);
            if let (Some(url), None) = (&told.redirect, &first) {
                self.send_on(plan, url);
            }
            if let Some(first) = &first
                && told.code != "ERR1008"
                && told.status != 500
            {
                let same = first.body == told.body
                    || first.code == "ERR1016"
                    || first.redirect.is_some() && told.redirect.is_none() && first.id == told.id;
                self.world.check(same, || format!("{} was told {first:?}, then {told:?}", plan.mark));
            }
            let again = match told.code.as_str() {
                "ERR1008" | "ERR0500" => plan.key,
                "ERR1010" | "ERR1016" => plan.key && self.dice.chance(500),
                "INFO0000" | "INFO0001" | "INFO0002" | "INFO0003" | "INFO3000" | "ERR1000" | "ERR3019" => {
                    plan.key && self.dice.chance(200)
                }
                // What waits is asked about until it has ended, or until one has had enough.
                "" => plan.key && told.redirect.is_some() && self.dice.chance(700),
                _ => false,
            };
            if !again {
                return;
            }
            if !matches!(told.code.as_str(), "ERR1008" | "ERR0500") {
                first = Some(told);
            }
            self.world.clock.sleep(500 + self.dice.below(1_500)).await;
        }
    }

    /// The cardholder's browser follows a redirect.
    fn send_on(&self, plan: &Plan, url: &str) {
        let cardholder = Cardholder {
            world: self.world.clone(),
            dice: Dice::new(self.dice.below(u64::MAX)),
            url: url.to_owned(),
            at: self.world.clock.now(),
            kind: if plan.path == "authorizationv2" { "PRE_AUTH" } else { "CAPTURE" },
            amount: plan.amount,
        };
        match self.dice.below(20) {
            0 => {}
            1 => {
                self.world.late_since.lock().unwrap().get_or_insert(cardholder.at);
                self.world.late.lock().unwrap().push(tokio::spawn(cardholder.run(true)));
            }
            _ => self.world.prompt.lock().unwrap().push(tokio::spawn(cardholder.run(false))),
        }
    }

    /// One try on some living process. `None`: no answer within one's patience, and the connection is closed.
    async fn ask(&self, plan: &Plan, patience_ms: u64) -> Option<Told> {
        let router = self.world.some_router(&self.dice)?;
        let delete = plan.method == "DELETE";
        let mut request = Request::builder()
            .method(plan.method)
            .uri(format!("/api/v1/server-to-server-interface/{}{}", plan.path, plan.tail))
            .header("x-api-key", &self.world.secret)
            .header("authorization", &self.world.secret)
            .header("content-type", "application/json");
        if plan.key {
            request = request.header("idempotency-key", &plan.mark);
        }
        if let Some(steer) = plan.steer {
            request = request.header("fuda-sandbox-authentication", steer);
        }
        let body = if delete || plan.body.is_null() { Body::empty() } else { Body::from(plan.body.to_string()) };
        let asked = router.oneshot(request.body(body).unwrap());
        let response = self.world.clock.within(patience_ms, asked).await?.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let details = &answer["transaction_details"];
        let word = |value: &Value| value.as_str().map(str::to_owned);
        Some(Told {
            path: plan.path,
            mark: plan.mark.clone(),
            status,
            code: word(&answer["gateway_response"]["code"]).unwrap_or_default(),
            success: answer["success"] == true,
            id: word(&details["id"]),
            at: self.world.clock.now(),
            token: word(&details["stored_payment_method_id"]).or(if delete { word(&plan.body) } else { None }),
            redirect: word(&answer["redirect_url"]),
            subscription: word(&answer["subscription_details"]["id"]),
            body: strip_request_id(&answer, text),
        })
    }
}

pub fn card() -> Value {
    json!({"number": "4111111111111111", "expiry_month": "12", "expiry_year": "2040", "cvc": "123"})
}

/// Our own name for a request differs from try to try; a stored answer keeps its first one.
fn strip_request_id(answer: &Value, text: String) -> String {
    match answer["request_id"].as_str() {
        Some(id) if answer["gateway_response"]["code"] == "ERR1016" => text.replace(id, ""),
        _ => text,
    }
}

pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
