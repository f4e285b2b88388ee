//! GCash and PayPay in their own pages, from a server's redirect and back to the shop.

use crate::authentication::Does;
use crate::chromium::Habits;
use crate::google::PayGoogle;
use crate::looks::good;
use crate::maker::apple::{Apple, GOOD, MERCHANT_ID, Merchant, yen};
use crate::maker::google::{Google, RECIPIENT, device, pan_only};
use crate::scene::{CHALLENGED, Scene};
use crate::world::Engine;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;

pub async fn in_their_own_pages(engine: Engine) {
    let scene = Scene::new(engine, Habits { language: "ja", ..Habits::default() }).await;
    let visitor = &scene.visitor;
    visitor.screen(320, 640).await;
    for (wallet, press, path, mark, state) in
        [("gcash", "#approve", "/done", "thanks", "APPROVED"), ("paypay", "#decline", "/declined", "sorry", "DECLINED")]
    {
        let mut body = scene.world.card_charge("");
        body["card"].take();
        body["payment_method"] = json!({"type": wallet});
        let (url, id) = scene.redirected_by(body, wallet).await;
        visitor.opens(&url).await;
        visitor.sees("#wallet").await;
        good(visitor, wallet).await;
        visitor.presses("#leave").await;
        visitor.sees("#told").await;
        good(visitor, "undecided").await;
        visitor.presses("#continue").await;
        visitor.presses(press).await;
        assert_eq!(scene.returned(path, mark).await, id);
        assert_eq!(scene.charges(wallet).await, [state]);
    }
}

/// Given up on our own page, without scripts.
pub async fn given_up(engine: Engine) {
    let scene = Scene::new(engine, Habits { javascript: false, ..Habits::default() }).await;
    let mut body = scene.world.card_charge("");
    body["card"].take();
    body["payment_method"] = json!({"type": "gcash"});
    let (url, id) = scene.redirected_by(body, "gcash").await;
    scene.visitor.opens(&url).await;
    scene.visitor.presses("#leave").await;
    scene.visitor.presses("#told #leave").await;
    assert_eq!(scene.returned("/declined", "sorry").await, id);
    assert_eq!(scene.charges("gcash").await, ["DECLINED"]);
}

/// A link of a wallet's: browsers hold the page's policy against every hop of the way there and back.
pub async fn on_the_payment_page(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let visitor = &scene.visitor;
    visitor.screen(320, 640).await;
    let link = scene.link(json!({"payment_method": {"type": "gcash"}, "amount": null})).await;
    visitor.opens(&link.url).await;
    visitor.sees("#how").await;
    good(visitor, "a wallet's link").await;
    visitor.presses("#pay").await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Enter the amount."), "{summary}");
    visitor.fills("amount", "3,000").await;
    visitor.presses("#pay").await;
    visitor.presses("#decline").await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("You did not confirm the payment at GCash."), "{summary}");
    visitor.fills("amount", "3000").await;
    visitor.presses("#pay").await;
    visitor.presses("#leave").await;
    visitor.presses("#continue").await;
    // Another look at the link leads into the same payment.
    visitor.sees("#wallet").await;
    visitor.opens(&link.url).await;
    visitor.sees("#other-card").await;
    good(visitor, "a wallet's link that waits").await;
    visitor.presses("#continue").await;
    visitor.presses("#approve").await;
    let id = scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-1").await, ["DECLINED", "APPROVED"]);
    assert_eq!(scene.told(&id).await["payment_details"]["amount"], 3000);
    // To the shop after the last try.
    let link = scene.next_link("order-2", json!({"payment_method": {"type": "paypay"}})).await;
    visitor.opens(&link.url).await;
    for _ in 0..3 {
        visitor.presses("#pay").await;
        visitor.presses("#decline").await;
    }
    scene.returned("/declined", "sorry").await;
    assert_eq!(scene.state(&link).await["status"], "DECLINED");
}

async fn with_google(engine: Engine) -> (Scene, PayGoogle) {
    let google = Google::new();
    let (key, roots) = (google.merchant.serialize_pem(), google.roots());
    let google = PayGoogle::new(google).await;
    let scene = Scene::new(engine, Habits { google: Some(google.port), ..Habits::default() }).await;
    let words = ["wallet", "add", "googlepay", "--recipient", RECIPIENT];
    set_up(&scene, &words, &[("--key", &key), ("--roots", &roots)]).await;
    (scene, google)
}

/// By the command line; every process follows within a second.
async fn set_up(scene: &Scene, words: &[&str], files: &[(&str, &str)]) {
    let folder = scene.visitor.profile.join("operator");
    std::fs::create_dir_all(&folder).unwrap();
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--merchant".to_owned(), scene.world.keys.merchant.clone()]);
    for (name, text) in files {
        let path = folder.join(name.trim_start_matches('-'));
        std::fs::write(&path, text).unwrap();
        words.extend([(*name).to_owned(), path.display().to_string()]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    scene.world.run(&words);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub async fn google_pay(engine: Engine) {
    let (scene, google) = with_google(engine).await;
    let visitor = &scene.visitor;
    visitor.screen(320, 640).await;
    let link = scene.link(json!({})).await;
    visitor.opens(&link.url).await;
    visitor.sees("#gpay").await;
    let drawn = "return getComputedStyle(document.getElementById('gpay')).backgroundColor";
    assert_eq!(visitor.runs(drawn).await, "rgb(0, 0, 0)", "its style sheet is let in");
    good(visitor, "Google Pay").await;
    // Closed without a word: nothing is said, and the card is still there.
    visitor.presses("#gpay").await;
    while google.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(visitor.sees("#wallets-error").await.text().await.unwrap(), "");
    scene.fills("4000000000000002").await;
    google.gives(device("ECv2", now()));
    visitor.presses("#gpay").await;
    let id = scene.returned("/done", "thanks").await;
    let told = scene.told(&id).await;
    assert_eq!(told["payment_details"]["payment_method"], "GOOGLEPAY-SSL");
    assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
    let asked = &google.asked()[1];
    assert_eq!(
        (&asked["environment"], &asked["transactionInfo"]["totalPrice"], &asked["transactionInfo"]["currencyCode"]),
        (&json!("TEST"), &json!("1000"), &json!("JPY"))
    );
    // The card's own number, which its bank asks about.
    google.gives(pan_only("ECv2", CHALLENGED, now()));
    let link = scene.next_link("order-2", json!({})).await;
    visitor.opens(&link.url).await;
    visitor.presses("#gpay").await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-2").await, ["APPROVED"]);
    // The token went to our server in a form, and nowhere else; the card that was begun did not go with it.
    let kept = visitor.remembers().await;
    let requests = visitor.asked().await;
    for token in google.gave() {
        let token: Value = serde_json::from_str(&token).unwrap();
        let signature = token["signature"].as_str().unwrap().to_owned();
        assert!(!kept.contains(&signature), "{kept}");
        let encoded: String = url::form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        assert!(requests.iter().all(|one| !one.url.contains(&encoded) && !one.rest.contains(&encoded)));
        let posts: Vec<_> = requests.iter().filter(|one| one.body.contains(&encoded)).collect();
        assert_eq!(posts.len(), 1, "{posts:#?}");
        assert!(posts[0].url.contains("/HostedPaymentPage/") && posts[0].body.contains("number=&"), "{posts:#?}");
    }
}

pub async fn google_pay_after_mistakes(engine: Engine) {
    let (scene, google) = with_google(engine).await;
    let visitor = &scene.visitor;
    let link = scene.link(json!({"amount": null, "currency": "JPY"})).await;
    visitor.opens(&link.url).await;
    visitor.presses("#gpay").await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Enter the amount.") && !summary.contains("card"), "{summary}");
    for amount in ["10.5", "1,00", "0", "abc"] {
        visitor.fills("amount", amount).await;
        visitor.presses("#gpay").await;
        visitor.sees("#error-summary").await;
    }
    assert!(google.asked().is_empty());
    visitor.fills("amount", "￥３,０00").await;
    google.gives(pan_only("ECv2", "4000000000009995", now()));
    visitor.presses("#gpay").await;
    let summary = visitor.sees("#error-summary h2").await.text().await.unwrap();
    assert_eq!(summary, "The payment did not go through");
    assert_eq!(google.asked()[0]["transactionInfo"]["totalPrice"], "3000");
    // It is there again for the next try, and so is what was typed.
    google.gives(device("ECv2", now()));
    visitor.presses("#gpay").await;
    let id = scene.returned("/done", "thanks").await;
    assert_eq!(scene.told(&id).await["payment_details"]["amount"], 3000);
    assert_eq!(scene.charges("order-1").await, ["DECLINED", "APPROVED"]);
}

/// Safari's part played by a script: it has a sheet that gives the token.
pub async fn apple_pay(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let visitor = &scene.visitor;
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), MERCHANT_ID);
    let identity = params.self_signed(&key).unwrap().pem();
    let files = [
        ("--cert", merchant.certificate_pem.as_str()),
        ("--key", &merchant.key.serialize_pem()),
        ("--root", &apple.root_pem),
        ("--identity-cert", &identity),
        ("--identity-key", &key.serialize_pem()),
    ];
    set_up(&scene, &["wallet", "add", "applepay"], &files).await;
    let link = scene.link(json!({})).await;
    visitor.opens(&link.url).await;
    visitor.sees("#number").await;
    let shown = "return getComputedStyle(document.getElementById('wallets')).display";
    assert_eq!(visitor.runs(shown).await, "none", "a browser without Apple Pay");
    let token = json!({"paymentData": apple.token(&merchant, &yen(1_000, now())), "transactionIdentifier": "t"});
    let sheet = format!(
        "window.turns = [];
        window.ApplePaySession = class {{
          static STATUS_SUCCESS = 0;
          static supportsVersion(version) {{ return version === 3; }}
          static canMakePayments() {{ return true; }}
          constructor(version, request) {{ this.request = request; window.turns.push(request.total.amount); }}
          begin() {{
            if (window.turns.length === 1) this.onvalidatemerchant({{validationURL: 'https://evil.example/session'}});
            else this.onpaymentauthorized({{payment: {{token: {token}}}}});
          }}
          abort() {{ window.turns.push('aborted'); }}
          completePayment({{status}}) {{ window.turns.push(status); }}
        }};"
    );
    visitor.cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": sheet})).await;
    visitor.opens(&link.url).await;
    visitor.presses("#apple-pay").await;
    let failed = "return document.getElementById('wallets-error').textContent";
    for _ in 0..200 {
        if visitor.runs(failed).await != "" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(visitor.text().await.contains("The wallet could not be opened."), "{}", visitor.text().await);
    assert_eq!(visitor.runs("return window.turns").await, json!(["1000", "aborted"]));
    visitor.presses("#apple-pay").await;
    let id = scene.returned("/done", "thanks").await;
    assert_eq!(scene.told(&id).await["payment_details"]["payment_method"], "APPLEPAY-SSL");
}
