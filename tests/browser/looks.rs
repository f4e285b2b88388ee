//! What the pages look like and what they leave behind; the store makes no difference to it.

use crate::authentication::Does;
use crate::chromium::{Habits, Visitor};
use crate::paying::{SILENT, japanese};
use crate::scene::{CHALLENGED, DECLINED, GOOD, Scene};
use crate::world::Engine;
use fantoccini::key::Key;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// All of it by forms and links alone.
pub async fn without_scripts(engine: Engine) {
    let scene = Scene::new(engine, Habits { javascript: false, ..Habits::default() }).await;
    let link = scene.link(json!({})).await;
    let visitor = &scene.visitor;
    visitor.opens(&link.url).await;
    scene.pays("4111111111111112").await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("A digit of the card number seems to be mistyped."), "{summary}");
    scene.pays(DECLINED).await;
    visitor.sees("#error-summary h2").await;
    scene.pays(CHALLENGED).await;
    visitor.presses("#continue").await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    visitor.presses("#continue").await;
    scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-1").await, ["DECLINED", "APPROVED"]);
    // A page that waits looks again by itself.
    let link = scene.link(json!({"merchant_txn_ref": "order-2"})).await;
    visitor.opens(&link.url).await;
    scene.pays(SILENT).await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Your bank did not answer in time"), "{summary}");
    visitor.presses("#cancel").await;
    visitor.arrives(&scene.shop.url("/cart?order=%E6%9C%AD%2F1&a&transaction_id=")).await;
}

/// Nothing but Tab, letters and Enter.
pub async fn by_keyboard_alone(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    let focus = "return document.activeElement.id";
    for (field, text) in [("number", GOOD), ("expiry", "1240"), ("cvc", "123"), ("name", "HANAKO YAMADA")] {
        let mut steps = 0;
        while scene.visitor.runs(focus).await != field {
            types(&scene.visitor, &Key::Tab.to_string()).await;
            steps += 1;
            assert!(steps < 8, "{field} cannot be reached");
        }
        types(&scene.visitor, text).await;
    }
    types(&scene.visitor, &Key::Tab.to_string()).await;
    assert_eq!(scene.visitor.runs(focus).await, "pay");
    types(&scene.visitor, &Key::Enter.to_string()).await;
    scene.returned("/done", "thanks").await;
}

async fn types(visitor: &Visitor, text: &str) {
    visitor.window.active_element().await.unwrap().send_keys(text).await.unwrap();
}

/// The way back leads to a page that says that it is paid, and holds no card.
pub async fn back_after_success(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    let visitor = &scene.visitor;
    visitor.opens(&link.url).await;
    // To load the answer to a form again sends no card again.
    scene.pays(DECLINED).await;
    visitor.sees("#error-summary").await;
    visitor.window.refresh().await.unwrap();
    visitor.sees("#error-summary").await;
    // Before it stands the form as it was, without what was typed of the card.
    visitor.window.back().await.unwrap();
    for field in ["number", "cvc"] {
        let value = visitor.sees(&format!("#{field}")).await.prop("value").await.unwrap();
        assert_eq!(value.as_deref(), Some(""), "{field}");
    }
    assert_eq!(scene.charges("order-1").await, ["DECLINED"]);
    scene.pays(GOOD).await;
    scene.returned("/done", "thanks").await;
    visitor.window.back().await.unwrap();
    assert_eq!(visitor.place().await, link.url);
    assert_eq!(visitor.sees("#told #heading").await.text().await.unwrap(), "This is already paid");
    visitor.presses("#shop").await;
    visitor.arrives(&scene.shop.url("/done?order=%E6%9C%AD%2F1&a&transaction_id=")).await;
    assert_eq!(scene.charges("order-1").await, ["DECLINED", "APPROVED"]);
}

pub async fn every_state_in_english(engine: Engine) {
    every_state(engine, "en", json!({})).await;
}

pub async fn every_state_in_japanese(engine: Engine) {
    every_state(engine, "ja", japanese()).await;
}

/// Each state on the narrowest screen: without faults in light and in dark, and not wider than the screen.
async fn every_state(engine: Engine, language: &'static str, changes: Value) {
    let scene = Scene::new(engine, Habits { language, ..Habits::default() }).await;
    scene.visitor.screen(320, 640).await;
    let with = |more: Value| {
        let mut changes = changes.clone();
        for (name, value) in more.as_object().unwrap() {
            changes[name] = value.clone();
        }
        changes
    };
    let visitor = &scene.visitor;
    let link = scene.link(changes.clone()).await;
    visitor.opens(&link.url).await;
    good(visitor, "form").await;
    visitor.presses("#pay").await;
    visitor.sees("#error-summary").await;
    good(visitor, "mistakes").await;
    scene.pays(DECLINED).await;
    visitor.sees("#error-summary p").await;
    good(visitor, "declined").await;
    for _ in 0..2 {
        scene.pays(DECLINED).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    visitor.arrives(&scene.shop.url("/declined")).await;
    visitor.opens(&link.url).await;
    good(visitor, "out of tries").await;
    let link = scene.link(changes.clone()).await;
    visitor.opens(&link.url).await;
    visitor.presses("#cancel").await;
    visitor.arrives(&scene.shop.base).await;
    visitor.opens(&link.url).await;
    good(visitor, "cancelled").await;
    let more = json!({"amount": null, "billing_address": null, "expires_in": 3,
        "payment_method": {"type": "scheme", "store_payment_method": true}});
    let link = scene.link(with(more)).await;
    // Without an address the link is an English one.
    let url = if language == "ja" { link.url.replace("/Hosted", "/jp/Hosted") } else { link.url };
    visitor.opens(&url).await;
    good(visitor, "everything is asked").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    visitor.opens(&url).await;
    good(visitor, "expired").await;
    visitor.opens(&format!("{}x", &url[..url.len() - 1])).await;
    good(visitor, "not found").await;
    steps_of_a_challenge(&scene, changes).await;
}

/// In another tab of a payment that is on its way. The page asks for the result at once, and chromedriver would wait for that
/// with it: so what it shows is looked at in a copy that asks nothing.
pub async fn while_it_is_processed(engine: Engine) {
    for (language, changes) in [("ja", japanese()), ("en", json!({}))] {
        let scene = Scene::new(engine, Habits { language, ..Habits::default() }).await;
        let (visitor, http) = (&scene.visitor, &scene.world.http);
        let link = scene.link(changes).await;
        let form = [("number", SILENT), ("expiry", "12/40"), ("cvc", "123"), ("name", "HANAKO YAMADA")];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let sent = http.post(&link.url).header("content-type", "application/x-www-form-urlencoded").body(form);
        let paying = tokio::spawn(sent.send());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let html = http.get(&link.url).send().await.unwrap().text().await.unwrap();
        let base = &scene.world.server.base;
        let path = &link.url[base.len()..];
        let asks = format!("<meta http-equiv=\"refresh\" content=\"0;url={path}/result?wait\">");
        assert!(html.contains(&asks), "{html}");
        scene.shop.shows("/copy", &html.replace(&asks, &format!("<base href=\"{base}/\">")));
        visitor.screen(320, 640).await;
        visitor.opens(&scene.shop.url("/copy")).await;
        visitor.sees("#told .spinner").await;
        visitor.picture(&format!("processing-{language}"), false).await;
        good(visitor, "processing").await;
        // The page itself goes on by itself.
        visitor.opens(&link.url).await;
        visitor.sees("#error-summary").await;
        assert_eq!(visitor.place().await, link.url);
        paying.await.unwrap().unwrap();
    }
}

async fn steps_of_a_challenge(scene: &Scene, changes: Value) {
    let visitor = &scene.visitor;
    // So that the pages between stay.
    visitor.cdp("Network.setBlockedURLs", json!({"urls": ["*/page/send.*"]})).await;
    let link = scene.link(changes).await;
    visitor.opens(&link.url).await;
    scene.pays(CHALLENGED).await;
    visitor.sees("#challenge").await;
    good(visitor, "to the issuer").await;
    visitor.presses("#continue").await;
    visitor.sees("#issuer").await;
    good(visitor, "challenge").await;
    scene.at_the_issuer(Does::Enters("12345")).await;
    visitor.sees("#code-wrong").await;
    good(visitor, "wrong code").await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    visitor.sees("[name=cres]").await;
    good(visitor, "back from the issuer").await;
    visitor.presses("#continue").await;
    visitor.arrives(&scene.shop.url("/done")).await;
    visitor.opens(&link.url).await;
    visitor.sees("#told").await;
    good(visitor, "paid").await;
    visitor.cdp("Network.setBlockedURLs", json!({"urls": []})).await;
}

/// Without faults, and not wider than the screen.
pub async fn good(visitor: &Visitor, state: &str) {
    visitor.is_accessible(state).await;
    assert_eq!(visitor.overhang().await, 0, "{state} is wider than the screen");
}

/// For people to look at, and for the documents.
pub async fn pictures(engine: Engine) {
    for (language, changes) in [("ja", japanese()), ("en", json!({}))] {
        let scene = Scene::new(engine, Habits { language, ..Habits::default() }).await;
        let visitor = &scene.visitor;
        let name = |state: &str| format!("{state}-{language}");
        let link = scene.link(changes).await;
        visitor.opens(&link.url).await;
        visitor.picture(&name("wide"), false).await;
        visitor.prefers("dark", "no-preference").await;
        visitor.picture(&name("wide-dark"), false).await;
        visitor.prefers("light", "no-preference").await;
        visitor.screen(390, 844).await;
        assert_eq!(visitor.overhang().await, 0);
        visitor.picture(&name("form"), true).await;
        visitor.presses("#pay").await;
        visitor.sees("#error-summary").await;
        visitor.picture(&name("mistakes"), false).await;
        scene.pays(DECLINED).await;
        visitor.sees("#error-summary p").await;
        visitor.picture(&name("declined"), language == "en").await;
        scene.pays(CHALLENGED).await;
        visitor.sees("#issuer").await;
        visitor.picture(&name("challenge"), language == "en").await;
        scene.at_the_issuer(Does::Enters("123456")).await;
        scene.returned("/done", "thanks").await;
        visitor.opens(&link.url).await;
        visitor.sees("#told").await;
        visitor.picture(&name("paid"), false).await;
    }
}

/// A number and a cvc that stand nowhere else.
const CANARY: &str = "371449635398431";
const CANARY_CVC: &str = "9173";

/// The card is in the bodies of the forms that were sent and nowhere else; and nobody but us and the shop was asked anything.
pub async fn nothing_is_left_behind(engine: Engine) {
    let mut scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({"amount": null})).await;
    let visitor = &scene.visitor;
    visitor.opens(&link.url).await;
    let mut pages = Vec::new();
    // Refused by the server for its amount; then paid.
    for amount in ["1000.5", "1000"] {
        scene.fills(CANARY).await;
        visitor.fills("cvc", CANARY_CVC).await;
        visitor.fills("amount", amount).await;
        visitor.presses("#pay").await;
        if amount == "1000.5" {
            visitor.sees("#amount-error:not(:empty)").await;
        } else {
            scene.returned("/done", "thanks").await;
        }
        pages.push(visitor.remembers().await);
    }
    visitor.window.back().await.unwrap();
    visitor.sees("#told").await;
    pages.push(visitor.remembers().await);
    for page in &pages {
        holds_no_card(page);
    }
    let stored = "return [localStorage.length, sessionStorage.length, document.cookie.length]";
    assert_eq!(visitor.runs(stored).await, json!([0, 0, 0]));
    let cookies = visitor.cdp("Network.getAllCookies", json!({})).await;
    assert_eq!(cookies["cookies"], json!([]));
    let asked = visitor.asked().await;
    let (ours, shop) = (format!("{}/", scene.world.server.base), format!("{}/", scene.shop.base));
    let mut sent = 0;
    for asked in &asked {
        if asked.rest.contains("\"documentURL\":\"chrome") {
            // The tab that the browser itself begins with.
            continue;
        }
        assert!(asked.url.starts_with(&ours) || asked.url.starts_with(&shop), "{asked:?}");
        holds_no_card(&asked.url);
        holds_no_card(&asked.rest);
        if !asked.body.is_empty() {
            assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", link.url.as_str()));
            assert!(asked.body.contains(CANARY_CVC), "the log shows what was sent");
            sent += 1;
        }
    }
    assert_eq!(sent, 2, "{asked:#?}");
    scene.visitor.leave();
    let profile = &scene.visitor.profile;
    let (digits, grouped) = (CANARY, "3714 496353 98431");
    // Chromium notes for a restored session what stands in any form of an open tab; no page can forbid it but by giving up
    // the autofilling of cards.
    let found = files_with(profile, &[digits, grouped]);
    assert!(found.iter().all(|file| file.contains("/Default/Sessions/")), "the browser wrote the number to {found:?}");
    let code = link.url.rsplit('/').next().unwrap();
    assert!(!files_with(profile, &[code]).is_empty(), "the search finds what a browser does write");
}

fn holds_no_card(text: &str) {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '+')).collect();
    assert!(!digits.contains(CANARY), "the number is in {text}");
    assert!(!text.contains(CANARY_CVC), "the cvc is in {text}");
}

/// Files that hold one of the texts, in UTF-8 or UTF-16.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let wide = |text: &&str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let needles: Vec<Vec<u8>> =
        texts.iter().map(|text| text.as_bytes().to_vec()).chain(texts.iter().map(wide)).collect();
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            if needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
