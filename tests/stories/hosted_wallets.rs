//! Google Pay and Apple Pay on the hosted payment page (contract section 8): where their buttons are, what the headers open for
//! them, and what becomes of a token that the page's form brings.

use crate::hosted::{Page, URLS, send, url_of, visit};
use crate::maker::apple::{Apple, GOOD, Merchant, yen};
use crate::maker::google::{Google, card, device, pan_only};
use crate::maker::{self, p256};
use crate::wallets::{Files, added, now, take_apple, take_google};
use crate::world::{Engine, World, fuda};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;

/// In English, whatever the address says.
async fn link(world: &World, with: Value) -> (String, Value) {
    let link = world.link(with).await;
    (url_of(&link).replace("/jp/", "/"), link)
}

async fn tries(world: &World, link: &Value) -> (Value, usize) {
    let now = world.link_now(link).await;
    (now["status"].clone(), now["transaction_ids"].as_array().unwrap().len())
}

/// What our script sends.
async fn paid_with(url: &str, wallet: &str, token: &Value, typed: &[(&str, &str)]) -> Page {
    let token = token.to_string();
    let page = send(url, &[typed, &[("wallet", wallet), ("token", &token)]]).await;
    for part in ["signedMessage", "encryptedMessage", "ephemeralPublicKey", "&#34;signature"] {
        assert!(!page.text.contains(part), "a token is not shown again: {}", page.text);
    }
    page
}

/// The settings of a button, as its script reads them.
fn settings(page: &Page, wallet: &str) -> Value {
    let text = page.text.split(&format!("data-{wallet}=\"")).nth(1).unwrap_or_else(|| panic!("no {wallet}"));
    let text = text.split('"').next().unwrap().replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&");
    serde_json::from_str(&text).unwrap()
}

fn header<'a>(page: &'a Page, name: &str) -> &'a str {
    &page.headers[name]
}

const FORMS: &str = "form-action 'self' https://shop.example https://shop.example:8443 https://cart.example; \
                     frame-ancestors 'none'; base-uri 'none'";

pub async fn without_a_set_up(engine: Engine) {
    let world = World::new(engine).await;
    let (url, made) = link(&world, json!({})).await;
    let page = visit(&url).await;
    assert!(!page.says("id=\"wallets\"") && !page.says("wallets.") && !page.says("google"), "{}", page.text);
    assert!(!header(&page, "content-security-policy").contains("google"));
    // A token that is sent all the same is no card, and no try.
    let google = Google::new();
    let refused = paid_with(&url, "googlepay", &google.token(&card("ECv2", now())), &[]).await;
    assert!(refused.status == 200 && refused.says("This payment cannot be accepted."), "{}", refused.text);
    assert_eq!(tries(&world, &made).await, (json!("CREATED"), 0));
    let session =
        send(&format!("{url}/apple-pay-session"), &[&[("url", "https://apple-pay-gateway.apple.com/")]]).await;
    assert_eq!((session.status, session.text.as_str()), (404, "{}"));
    // Another merchant's is not this one's.
    let other = world.other_entity();
    take_google_of(&world, &google, &other.merchant).await;
    assert!(!visit(&url).await.says("id=\"wallets\""));
}

async fn take_google_of(world: &World, google: &Google, merchant: &str) {
    let files = Files::new();
    let (key, roots) = (files.put("k", &google.merchant.serialize_pem()), files.put("r", &google.roots()));
    let words = ["wallet", "add", "googlepay", "--merchant", merchant, "--recipient", maker::google::RECIPIENT];
    added(world, &[&words[..], &["--key", &key, "--roots", &roots]].concat());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
}

pub async fn the_google_pay_button(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let (url, _) = link(&world, json!({"currency": "USD", "amount": "49.9"})).await;
    let page = visit(&url).await;
    let told = settings(&page, "google");
    let key = maker::base64(google.merchant.public_key_raw());
    insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap().replace(&key, "<public key>"), @r#"
    {
      "environment": "TEST",
      "request": {
        "allowedPaymentMethods": [
          {
            "parameters": {
              "allowedAuthMethods": [
                "PAN_ONLY",
                "CRYPTOGRAM_3DS"
              ],
              "allowedCardNetworks": [
                "AMEX",
                "DISCOVER",
                "JCB",
                "MASTERCARD",
                "VISA"
              ]
            },
            "tokenizationSpecification": {
              "parameters": {
                "protocolVersion": "ECv2",
                "publicKey": "<public key>"
              },
              "type": "DIRECT"
            },
            "type": "CARD"
          }
        ],
        "apiVersion": 2,
        "apiVersionMinor": 0,
        "merchantInfo": {
          "merchantId": "12345678901234567890",
          "merchantName": "札の店 (Fuda sandbox)"
        },
        "transactionInfo": {
          "countryCode": "JP",
          "currencyCode": "USD",
          "totalPrice": "49.90",
          "totalPriceStatus": "FINAL"
        }
      }
    }
    "#);
    assert!(!page.says("id=\"apple-pay\"") && page.says("id=\"google-pay\"") && page.says("Or pay by card"));
    assert_eq!(
        header(&page, "content-security-policy"),
        format!(
            "default-src 'none'; script-src 'self' https://pay.google.com; style-src 'self' 'unsafe-inline'; \
             img-src 'self' https://pay.google.com https://www.gstatic.com; connect-src https://pay.google.com \
             https://google.com; frame-src https://pay.google.com; {FORMS}"
        )
    );
    assert_eq!(header(&page, "cross-origin-opener-policy"), "same-origin-allow-popups");
    assert!(header(&page, "permissions-policy").contains("payment=(self \"https://pay.google.com\")"));
    only_the_form_is_opened(&world, &url).await;
}

async fn only_the_form_is_opened(world: &World, url: &str) {
    let cancelled = send(&format!("{url}/cancel"), &[]).await;
    let over = visit(url).await;
    assert!(cancelled.status == 303 && over.says("cancelled"), "{}", over.text);
    assert!(!header(&over, "content-security-policy").contains("google"));
    assert_eq!(header(&over, "cross-origin-opener-policy"), "same-origin");
    // What is paid in GCash's own page has no such button.
    let (url, _) = link(world, json!({"payment_method": {"type": "gcash"}})).await;
    let page = visit(&url).await;
    assert!(!page.says("id=\"wallets\"") && !header(&page, "content-security-policy").contains("google"));
}

/// A gateway that Google knows: the merchant is named, and no key is told.
pub async fn in_a_gateways_name(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    let files = Files::new();
    let (key, roots) = (files.put("k", &google.merchant.serialize_pem()), files.put("r", &google.roots()));
    let other = world.other_entity();
    let words = ["wallet", "add", "googlepay", "--merchant", &other.merchant, "--recipient", "gateway:fuda"];
    let words = [&words[..], &["--gateway-merchant-id", "shop-1", "--merchant-id", "BCR2DN"]].concat();
    added(&world, &[&words[..], &["--key", &key, "--roots", &roots]].concat());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut body = world.link_body();
    body["merchant_id"] = json!(other.merchant);
    let theirs = world.post_as(&other, "hpp/generate/link", &body).await.1;
    let told = settings(&visit(url_of(&theirs)).await, "google");
    let method = &told["request"]["allowedPaymentMethods"][0]["tokenizationSpecification"];
    let wanted = json!({"type": "PAYMENT_GATEWAY", "parameters": {"gateway": "fuda", "gatewayMerchantId": "shop-1"}});
    assert_eq!((method, &told["request"]["merchantInfo"]["merchantId"]), (&wanted, &json!("BCR2DN")));
    assert_eq!(told["request"]["transactionInfo"]["totalPrice"], json!("12800"));
}

pub async fn paid_by_google_pay(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    // A device's number: no challenge, whatever the card.
    let (url, made) = link(&world, json!({})).await;
    let token = google.token(&device("ECv2", now()));
    let paid = paid_with(&url, "googlepay", &token, &[("number", "4111"), ("name", "")]).await;
    assert!(paid.leads_to().starts_with(URLS[0].1), "{}", paid.leads_to());
    let now_ = world.link_now(&made).await;
    let id = now_["transaction_ids"][0].as_str().unwrap();
    let status = world.get(&format!("transaction/status/{id}")).await.1;
    let part = |path: &str| status.pointer(path).cloned().unwrap_or_default();
    assert_eq!(
        ["/transaction_details/state", "/payment_details/payment_method", "/payment_details/amount"].map(part),
        [json!("APPROVED"), json!("GOOGLEPAY-SSL"), json!(12800)]
    );
    assert_eq!(part("/payment_details/additional_data/payment_data_source/type"), json!("googlepay"));
    // Each token once; what is refused before it began is no try.
    let (url, made) = link(&world, json!({})).await;
    for bad in [&token, &json!({"protocolVersion": "ECv2"}), &json!("no token"), &json!([])] {
        let page = paid_with(&url, "googlepay", bad, &[]).await;
        assert!(page.status == 200 && page.says("What the wallet sent cannot be used"), "{bad}: {}", page.text);
    }
    assert_eq!(tries(&world, &made).await, (json!("CREATED"), 0));
    // The card's own number is a card: declined with its reason, asked for by its bank.
    let of = |pan| google.token(&pan_only("ECv2", pan, now()));
    let page = paid_with(&url, "googlepay", &of("4000000000009995"), &[]).await;
    assert!(page.says("there is not enough money or credit") && page.says("You can try 2 more times."));
    let challenged = paid_with(&url, "googlepay", &of("4000002500003155"), &[]).await;
    assert!(challenged.leads_to().contains("/checkout/"), "{}", challenged.leads_to());
    assert_eq!(tries(&world, &made).await, (json!("CREATED"), 2));
    // What names no wallet, or brings no token, is a card's form.
    let (url, made) = link(&world, json!({})).await;
    for fields in [&[("wallet", "googlepay"), ("token", "")][..], &[("wallet", "cash"), ("token", "{}")]] {
        assert_eq!(send(&url, &[fields]).await.status, 422);
    }
    let long = json!("x".repeat(17_000));
    assert_eq!(paid_with(&url, "googlepay", &long, &[]).await.status, 400);
    assert_eq!(tries(&world, &made).await, (json!("CREATED"), 0));
}

pub async fn what_is_typed_beside_a_wallet(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let lacks = json!({"amount": null, "billing_address": {"country": "JP", "address1": "1-2-3", "city": "Tokyo"},
        "payment_method": {"type": "scheme", "store_payment_method": true}});
    let (url, made) = link(&world, lacks).await;
    let page = visit(&url).await;
    let at = |text: &str| page.text.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("id=\"amount\"") < at("id=\"email\"") && at("id=\"email\"") < at("id=\"wallets\""));
    assert!(at("id=\"wallets\"") < at("id=\"number\""));
    assert_eq!(settings(&page, "google")["request"]["transactionInfo"]["totalPrice"], json!(""));
    let token = google.token(&card("ECv2", now()));
    let wrong = paid_with(&url, "googlepay", &token, &[("amount", "10.5"), ("email", "taro")]).await;
    assert_eq!(wrong.status, 422);
    for (id, said) in
        [("amount", "JPY has no decimals"), ("email", "Enter a whole email"), ("phone_number", "Enter your phone")]
    {
        assert!(wrong.wrong(id).starts_with(said), "{id}: {}", wrong.wrong(id));
    }
    assert_eq!((wrong.wrong("number"), wrong.wrong("name")), ("", ""));
    // The token was not charged: it is still good.
    let typed = [("amount", "3,000"), ("email", "taro@example.jp"), ("phone_number", "03-1234-5678")];
    let paid = paid_with(&url, "googlepay", &token, &typed).await;
    assert!(paid.leads_to().starts_with(URLS[0].1));
    let id = world.link_now(&made).await["transaction_ids"][0].as_str().unwrap().to_owned();
    let status = world.get(&format!("transaction/status/{id}")).await.1;
    assert_eq!(status["payment_details"]["amount"], json!(3000));
    assert!(status["transaction_details"]["stored_payment_method_id"].is_string(), "{status}");
    // A number of a card's in a text.
    let (url, made) = link(
        &world,
        json!({"billing_address": {"country": "JP", "address1": "1-2-3", "city": "Tokyo",
        "email": "a@example.jp"}}),
    )
    .await;
    let token = google.token(&card("ECv2", now()));
    let page = paid_with(&url, "googlepay", &token, &[("phone_number", "4111111111111111")]).await;
    assert_eq!(page.status, 422);
    assert!(page.wrong("phone_number").starts_with("Remove the card number"), "{}", page.text);
    assert_eq!(tries(&world, &made).await.1, 0);
}

/// A merchant identity certificate and its key, as an operator's files.
fn identity(files: &Files, uid: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), uid);
    let certificate = params.self_signed(&key).unwrap().pem();
    (files.put(&format!("{uid}.pem"), &certificate), files.put(&format!("{uid}-key.pem"), &key.serialize_pem()))
}

pub async fn apple_pay(engine: Engine) {
    let world = World::new(engine).await;
    let (apple, merchant) = (Apple::new(GOOD), Merchant::with(p256(), maker::apple::MERCHANT_ID));
    // Without an identity tokens are taken, and the page has no button.
    let first = take_apple(&world, &apple, &merchant).await;
    let (url, made) = link(&world, json!({})).await;
    assert!(!visit(&url).await.says("id=\"wallets\""));
    let files = Files::new();
    let (cert, key) = (files.put("c", &merchant.certificate_pem), files.put("k", &merchant.key.serialize_pem()));
    let (identity_cert, identity_key) = identity(&files, maker::apple::MERCHANT_ID);
    let root = files.put("root", &apple.root_pem);
    let words = ["wallet", "add", "applepay", "--merchant", &world.keys.merchant, "--cert", &cert, "--key", &key];
    let words = [&words[..], &["--root", &root, "--identity-cert", &identity_cert]].concat();
    let id = added(&world, &[&words[..], &["--identity-key", &identity_key]].concat());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(world.run(&["wallet", "list"]).contains("with a button on the page"));
    let page = visit(&url).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&settings(&page, "apple")).unwrap(), @r#"
    {
      "countryCode": "JP",
      "currencyCode": "JPY",
      "merchantCapabilities": [
        "supports3DS"
      ],
      "supportedNetworks": [
        "amex",
        "chinaUnionPay",
        "discover",
        "jcb",
        "masterCard",
        "visa"
      ],
      "total": {
        "amount": "12800",
        "label": "札の店 (Fuda sandbox)"
      }
    }
    "#);
    assert!(!page.says("id=\"google-pay\""));
    let policy =
        format!("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; {FORMS}");
    assert_eq!(header(&page, "content-security-policy"), policy, "nothing from another host");
    assert_eq!(header(&page, "cross-origin-opener-policy"), "same-origin");
    sessions(&world, &url).await;
    // The sheet said another amount: not charged, no try.
    let token =
        |minor| json!({"paymentData": apple.token(&merchant, &yen(minor, now())), "transactionIdentifier": "x"});
    let page = paid_with(&url, "applepay", &token(1_000), &[]).await;
    assert!(page.status == 200 && page.says("What the wallet sent cannot be used"), "{}", page.text);
    assert_eq!(tries(&world, &made).await, (json!("CREATED"), 0));
    let paid = paid_with(&url, "applepay", &token(12_800), &[]).await;
    assert!(paid.leads_to().starts_with(URLS[0].1));
    let tried = world.link_now(&made).await["transaction_ids"][0].as_str().unwrap().to_owned();
    let status = world.get(&format!("transaction/status/{tried}")).await.1;
    assert_eq!(status["payment_details"]["payment_method"], json!("APPLEPAY-SSL"));
    let session =
        send(&format!("{url}/apple-pay-session"), &[&[("url", "https://apple-pay-gateway.apple.com/")]]).await;
    assert_eq!((session.status, session.text.as_str()), (409, "{}"), "it is paid");
    // The identity goes with its set-up.
    world.run(&["wallet", "remove", &id]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (url, _) = link(&world, json!({})).await;
    assert!(!visit(&url).await.says("id=\"wallets\""), "{first} has none");
}

/// Only Apple's own servers are asked, and only for our own page.
async fn sessions(world: &World, url: &str) {
    let at = format!("{url}/apple-pay-session");
    for place in ["", "http://apple-pay-gateway.apple.com/", "https://127.0.0.1/", "https://apple.com.evil.example/x"] {
        let answer = send(&at, &[&[("url", place)]]).await;
        assert_eq!((answer.status, answer.text.as_str()), (400, "{}"), "{place}");
        assert_eq!(
            (header(&answer, "content-type"), header(&answer, "cache-control")),
            ("application/json", "no-store")
        );
    }
    let foreign = world.http.post(&at).header("origin", "https://evil.example").body("url=x");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    assert_eq!(visit(&at).await.status, 405);
    let nobodys = at.replace(url.rsplit('/').next().unwrap(), "aaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(send(&nobodys, &[&[("url", "https://apple-pay-gateway.apple.com/")]]).await.status, 404);
}

pub async fn identities_at_the_command_line(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = Merchant::with(p256(), maker::apple::MERCHANT_ID);
    let files = Files::new();
    let (cert, key) = (files.put("c", &merchant.certificate_pem), files.put("k", &merchant.key.serialize_pem()));
    let words = ["wallet", "add", "applepay", "--merchant", &world.keys.merchant, "--cert", &cert, "--key", &key];
    let refused = |more: &[&str]| {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let output = command.args(words).args(more).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let (other_cert, other_key) = identity(&files, "merchant.example.other");
    let said = refused(&["--identity-cert", &other_cert, "--identity-key", &other_key]);
    assert!(said.contains("for merchant.example.other, the payment processing certificate for another"), "{said}");
    let said = refused(&["--identity-cert", &other_cert]);
    assert!(said.contains("--identity-key"), "{said}");
    let (own_cert, _) = identity(&files, maker::apple::MERCHANT_ID);
    let said = refused(&["--identity-cert", &own_cert, "--identity-key", &key]);
    assert!(said.contains("the identity's private key and certificate"), "{said}");
    assert_eq!(world.run(&["wallet", "list", "--json"]).trim(), r#"{"wallets":[]}"#);
}
