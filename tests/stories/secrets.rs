//! A card number and its cvc go through every endpoint; nothing that was written anywhere holds them.

use crate::maker;
use crate::maker::apple::{Apple, GOOD, Merchant, yen};
use crate::maker::google::{Google, device, pan_only};
use crate::wallets;
use crate::world::{Engine, World, answer};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;

const CANARY: &str = "4000000000001091";
const CVC: &str = "8675";
/// An American Express card has four digits of cvc, which chance does not write.
const CANARY_AMEX: &str = "378282246310005";

/// The wallets' private keys, as they could stand somewhere.
static KEYS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub async fn canary(engine: Engine) {
    let mut world = World::new(engine).await;
    world.trust_proxies();
    let mut answers = Vec::new();
    let mut stored = String::new();
    let makers = makers(&world).await;
    for number in [CANARY, CANARY_AMEX] {
        for path in ["payment", "authorization", "paymentv2", "authorizationv2", "tokens"] {
            for body in bodies(&world, number) {
                let (_, answered) = world.post(path, &body).await;
                if let Some(token) = answered["transaction_details"]["stored_payment_method_id"].as_str() {
                    stored = token.to_owned();
                }
                answers.push(answered.to_string());
            }
        }
        answers.extend(rules(&world, number).await);
        answers.extend(pages(&world, number).await);
        answers.extend(from_wallets(&world, number, &makers).await);
        answers.extend(subscriptions(&world, number).await);
        for path in ["capture", "refund", "void"] {
            for place in ["transactionId", "merchant_id", "amount", "notes", "card"] {
                let mut body =
                    json!({"transactionId": world.keys.entity, "merchant_id": world.keys.merchant, "amount": 1});
                body[place] = if place == "card" { json!({"number": number, "cvc": CVC}) } else { json!(number) };
                let asked = world.authed(world.http.post(world.url(path)), &world.keys);
                let asked = asked.header("fuda-sandbox-fault", number).header("idempotency-key", number);
                answers.push(answer(asked.json(&body)).await.1.to_string());
                answers.push(world.post(path, &body).await.1.to_string());
            }
        }
        for path in [
            format!("transaction/{number}/explain"),
            format!("transaction/status/{number}"),
            format!("transaction/status?merchant_id={number}&merchant_txn_ref={number}"),
            format!("tokens/{number}"),
            format!("tokens?cursor={number}&fingerprint={number}&limit={number}"),
            format!("nowhere/{number}?{number}={number}"),
        ] {
            answers.push(world.get(&path).await.1.to_string());
        }
        let url = world.url(&format!("tokens/{stored}"));
        let patch = world.http.patch(&url).json(&json!({"card": {"name": number, "expiry_month": number}}));
        answers.push(answer(world.authed(patch, &world.keys)).await.1.to_string());
        let odd = world.http.post(world.url("payment")).header("x-api-key", number).header("idempotency-key", number);
        answers.push(answer(odd.header("user-agent", number).body(number)).await.1.to_string());
        let keyed = world.authed(world.http.post(world.url("payment")), &world.keys).header("idempotency-key", number);
        answers.push(answer(keyed.json(&bodies(&world, number)[0])).await.1.to_string());
    }
    answers.push(world.http.get(format!("{}/metrics", world.server.base)).send().await.unwrap().text().await.unwrap());
    for text in &answers {
        clean(text.as_bytes(), "an answer");
    }
    if let Some(url) = &world.database_url {
        let dump = std::process::Command::new("pg_dump").arg(url).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        assert!(dump.stdout.len() > 10_000);
        clean(&dump.stdout, "the PostgreSQL dump");
    }
    world.server.kill();
    search(&world.folder);
    world.restart();
    assert_eq!(world.post("payment", &world.token_charge(&stored)).await.0, 201);
    world.server.stop();
    search(&world.folder);
    let log = std::fs::read(world.folder.with_extension("log")).unwrap();
    assert!(log.len() > 1_000);
    clean(&log, "the log");
}

/// The card where a subscription takes it and where it does not; then its renewals, and all that is told of them.
async fn subscriptions(world: &World, number: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let good = crate::subscriptions::request(world, number, &json!({"cycle_type": "DAYS", "cycle_interval": 7}));
    let mut ids = Vec::new();
    for store in [false, true] {
        let mut body = good.clone();
        body["payment_method"] = json!({"store_payment_method": store});
        let (status, begun) = world.post("subscription/payment", &body).await;
        assert_eq!(status, 201, "{begun}");
        ids.push(begun["subscription_details"]["id"].as_str().unwrap().to_owned());
        answers.push(begun.to_string());
    }
    let plan = good["subscription"].as_object().unwrap();
    for place in plan.keys().map(String::as_str).chain(["max_cycle_count", "end_date", "discount_percentage", number]) {
        let mut body = good.clone();
        body["subscription"][place] = json!(number);
        answers.push(world.post("subscription/payment", &body).await.1.to_string());
    }
    let card = json!({"card": good["card"]});
    answers.push(world.post(&format!("subscription/{}/payment-method", ids[0]), &card).await.1.to_string());
    let mut named = card.clone();
    named["billing_address"] = json!({"address1": number});
    answers.push(world.post(&format!("subscription/{}/payment-method", ids[0]), &named).await.1.to_string());
    answers.push(world.post(&format!("subscription/{number}/pause"), &json!({number: number})).await.1.to_string());
    answers.push(world.post("test/clock", &json!({"advance": number})).await.1.to_string());
    answers.push(world.post("test/clock", &json!({"advance": "P15D"})).await.1.to_string());
    for path in [
        format!("subscription/{}", ids[0]),
        format!("subscription/{number}"),
        format!("subscription/list?cursor={number}&status={number}&limit={number}"),
        "subscription/list".to_owned(),
        "events".to_owned(),
    ] {
        answers.push(world.get(&path).await.1.to_string());
    }
    assert!(answers.iter().any(|text| text.contains("\"completed_payment_cycle\":3")), "it was renewed");
    answers
}

/// The card in the payment page's form, where it belongs and where it does not, on a link that lacks everything.
async fn pages(world: &World, number: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let cvc = if number == CANARY_AMEX { CVC } else { "123" };
    let good = [
        ("amount", "1000"),
        ("number", number),
        ("expiry", "12/40"),
        ("cvc", cvc),
        ("name", "John Doe"),
        ("country", "JP"),
        ("email", "a@example.jp"),
        ("phone_number", "0312345678"),
        ("address1", "1-2-3"),
        ("city", "Tokyo"),
    ];
    let places = good.iter().map(|field| field.0).chain(["address2", "postal_code", "state", "none", number]);
    for place in places {
        let link = world.link(json!({"amount": "", "billing_address": null})).await;
        let url = link["url"].as_str().unwrap();
        let fields: Vec<_> = good.iter().copied().filter(|field| field.0 != place).collect();
        let page = crate::hosted::send(url, &[&fields, &[(place, number)]]).await;
        answers.push(format!("{:?}{}", page.headers, page.text));
        let path = format!("{url}/{number}?{number}={number}");
        answers.push(crate::hosted::send(&path, &[&fields]).await.text);
    }
    answers.extend(wrong_fields(world, number, &good).await);
    let mut link = world.link_body();
    link["merchant_txn_ref"] = json!(number);
    answers.push(world.post("hpp/generate/link", &link).await.1.to_string());
    answers
}

/// The number in each text field, whatever stands in the number's own; and the cvc, whatever the card.
async fn wrong_fields(world: &World, number: &str, good: &[(&str, &str)]) -> Vec<String> {
    let other = if number == CANARY { CANARY_AMEX } else { CANARY };
    let mistyped = format!("{}0", &number[..number.len() - 1]);
    assert_ne!(mistyped, number);
    let mut answers = Vec::new();
    for (at, field) in crate::hosted::TEXTS.into_iter().enumerate() {
        let link = world.link(json!({"amount": "", "billing_address": null})).await;
        let mut tries: Vec<_> =
            ["", &mistyped, other, number].into_iter().map(|typed| ("number", typed.to_owned(), number)).collect();
        tries.extend([("cvc", CVC.to_owned(), CVC), ("number", CANARY_AMEX.to_owned(), CVC)]);
        for (name, typed, value) in tries {
            let kept: Vec<_> = good.iter().copied().filter(|(good, _)| *good != name && *good != field).collect();
            let mut fields = [kept, vec![(name, typed.as_str()), (field, value)]].concat();
            if value == CVC {
                fields.retain(|field| field.0 != "cvc");
                fields.push(("cvc", CVC));
            }
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
            let form = crate::hosted::browser().post(link["url"].as_str().unwrap()).body(body);
            let form = form.header("content-type", "application/x-www-form-urlencoded");
            let page = form.header("x-forwarded-for", format!("198.51.100.{at}")).send().await.unwrap();
            assert_eq!(page.status().as_u16(), 422, "{field} {fields:?}");
            answers.push(page.text().await.unwrap());
        }
    }
    answers
}

type Makers = (Google, Apple, Merchant);

/// Wallets that are set up, their private keys known to the search.
async fn makers(world: &World) -> Makers {
    let (google, apple, merchant) = (Google::new(), Apple::new(GOOD), Merchant::ec());
    for key in [&google.merchant, &merchant.key] {
        let der = key.serialize_der();
        let scalar = der.windows(2).position(|bytes| bytes == [0x04, 0x20]).unwrap() + 2;
        KEYS.lock().unwrap().push(der[scalar..scalar + 32].to_vec());
        KEYS.lock().unwrap().push(key.serialize_pem().lines().nth(1).unwrap().as_bytes().to_vec());
    }
    wallets::take_google(world, &google, &world.keys.merchant).await;
    wallets::take_apple(world, &apple, &merchant).await;
    (google, apple, merchant)
}

/// The number in wallets' tokens: sealed as it should be, and where it does not belong.
async fn from_wallets(world: &World, number: &str, (google, apple, merchant): &Makers) -> Vec<String> {
    let now = wallets::now();
    let mut by_device = device("ECv2", now);
    by_device.message["paymentMethodDetails"]["pan"] = number.into();
    let mut by_apple = yen(1000, now);
    by_apple.message["applicationPrimaryAccountNumber"] = number.into();
    let mut wrong = by_device.clone();
    wrong.message["paymentMethodDetails"]["authMethod"] = number.into();
    let mut answers = vec![world.run(&["wallet", "list", "--json"])];
    for (wallet, token) in [
        ("googlepay", google.token(&by_device)),
        ("googlepay", google.token(&pan_only("ECv1", number, now))),
        ("googlepay", google.token(&wrong)),
        ("applepay", apple.token(merchant, &by_apple)),
        ("applepay", json!({"version": number, "header": {number: number}, "data": number, "signature": number})),
        ("googlepay", json!({"protocolVersion": number, "signedMessage": format!("{{\"pan\":\"{number}\"}}")})),
        ("googlepay", json!(number)),
        (number, json!(number)),
    ] {
        let mut body = wallets::charge(world, wallet, &token);
        body["payment_method"]["store_payment_method"] = true.into();
        for path in ["authorization", "payment"] {
            answers.push(world.post(path, &body).await.1.to_string());
        }
        body["billing_address"]["address1"] = number.into();
        answers.push(world.post("paymentv2", &body).await.1.to_string());
    }
    assert_eq!(answers.iter().filter(|text| text.contains("INFO0000")).count(), 3, "{answers:?}");
    answers
}

/// A card number in a rule becomes a fingerprint at once; where it does not belong it is refused without a word of it.
async fn rules(world: &World, number: &str) -> Vec<String> {
    let mut answers = Vec::new();
    for (kind, place) in [
        ("pan_block", "entries"),
        ("bin_block", "entries"),
        ("ip_block", "entries"),
        ("card_country", "countries"),
        ("card_velocity", "limit"),
        ("refund_volume", "time_zone"),
        ("max_amount", "amount"),
        ("max_amount", "merchant_id"),
        ("card_testing", "kind"),
    ] {
        let mut rule = json!({"kind": kind, "effect": "shadow"});
        rule[place] = if matches!(place, "entries" | "countries") { json!([number]) } else { json!(number) };
        let asked = world.authed(world.http.post(world.url("risk/rules")), &world.keys);
        answers
            .push(answer(asked.header("idempotency-key", format!("{number}{kind}")).json(&rule)).await.1.to_string());
    }
    let removed = world.http.delete(world.url(&format!("risk/rules/{number}")));
    answers.push(answer(world.authed(removed, &world.keys)).await.1.to_string());
    answers.push(world.get("risk/rules").await.1.to_string());
    answers.push(world.run(&["rule", "list"]));
    answers
}

/// The card where it belongs, and where it does not.
fn bodies(world: &World, number: &str) -> Vec<Value> {
    let cvc = if number == CANARY_AMEX { CVC } else { "123" };
    let mut good = world.card_charge(number);
    good["card"]["cvc"] = json!(cvc);
    good["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
    let spaced = format!("{} {} {}", &number[..4], &number[4..8], &number[8..]);
    let mut bodies = vec![good.clone()];
    for (place, value) in [
        ("/card/name", json!(number)),
        ("/card/expiry_month", json!(number)),
        ("/card/cvc", json!(number)),
        ("/amount", json!(number)),
        ("/currency", json!(number)),
        ("/merchant_id", json!(number)),
        ("/billing_address/address1", json!(spaced)),
        (
            "/billing_address/city",
            json!(number.chars().map(|c| char::from_u32(c as u32 - 0x30 + 0xff10).unwrap()).collect::<String>()),
        ),
        ("/billing_address/country", json!(number)),
        ("/payment_method", json!(number)),
        ("/card/number", json!(number.parse::<u64>().unwrap())),
        ("/card/number", json!(format!("{number}0"))),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(place).unwrap() = value;
        bodies.push(body);
    }
    let mut reference = good.clone();
    reference["merchant_txn_ref"] = json!(number);
    // Mistyped in both places: the refusal repeats neither.
    let mut mistyped = good.clone();
    mistyped["card"]["number"] = json!(format!("{number}0"));
    mistyped["merchant_txn_ref"] = json!(format!("{number}0"));
    bodies.push(mistyped);
    let mut unknown = good.clone();
    unknown[number] = json!({number: number});
    let mut token = world.token_charge(number);
    token["merchant_txn_ref"] = json!(number);
    bodies.extend([reference, unknown, token]);
    bodies
}

fn search(folder: &Path) {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        clean(&std::fs::read(&path).unwrap(), &path.display().to_string());
        files += 1;
    }
    assert!(files >= 2, "there is something to search");
}

/// Plain, spaced, hyphenated, in hexadecimal, in base64 at each of its three offsets.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let grouped = |separator: &str| {
        let groups: Vec<&str> =
            (0..secret.len()).step_by(4).map(|at| &secret[at..(at + 4).min(secret.len())]).collect();
        groups.join(separator)
    };
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), grouped(" "), grouped("-"), hex.clone(), hex.to_uppercase()];
    for offset in 0..3 {
        let padded = format!("{}{secret}", "\0".repeat(offset));
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        // Without the letters that the neighbours have a part in.
        let from = [0, 2, 3][offset];
        forms.push(text[from..text.len() - 2].to_owned());
    }
    forms.into_iter().map(String::into_bytes).collect()
}

fn clean(bytes: &[u8], what: &str) {
    for key in KEYS.lock().unwrap().iter() {
        assert!(!bytes.windows(key.len()).any(|window| window == key), "{what} holds a private key");
    }
    for secret in [CANARY, CANARY_AMEX, maker::CRYPTOGRAM] {
        for form in forms(secret) {
            let found = bytes.windows(form.len()).position(|window| window == form);
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(100)..(at + 40).min(bytes.len())];
                panic!("{what} holds a card number: {}", String::from_utf8_lossy(around));
            }
        }
    }
    // Four digits alone are everywhere; the code as a value of its own is not.
    for form in [format!("\"{CVC}\""), format!("cvc={CVC}"), format!("cvc: {CVC}")] {
        assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{what} holds a cvc");
    }
}
