//! What the pages look like and what they leave behind; the store makes no difference to it.

use crate::authentication::Does;
use crate::chromium::{Habits, Visitor};
use crate::paying::{SILENT, japanese};
use crate::scene::{CHALLENGED, DECLINED, GOOD, Link, Scene};
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
    let short = scene.link(with(json!({"expires_in": 1}))).await;
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
    let more = json!({"amount": null, "billing_address": null,
        "payment_method": {"type": "scheme", "store_payment_method": true}});
    let link = scene.link(with(more)).await;
    // Without an address the link is an English one.
    let url = if language == "ja" { link.url.replace("/Hosted", "/jp/Hosted") } else { link.url };
    visitor.opens(&url).await;
    good(visitor, "everything is asked").await;
    visitor.opens(&short.url).await;
    assert!(visitor.has("#told").await, "more than a second has gone by");
    good(visitor, "expired").await;
    visitor.opens(&format!("{}x", &url[..url.len() - 1])).await;
    good(visitor, "not found").await;
    steps_of_a_challenge(&scene, changes).await;
}

/// In another tab of a payment that is on its way. The page asks for the result at once, and chromedriver would wait for that
/// with it: so what it shows is looked at in a copy that asks nothing.
pub async fn while_it_is_processed(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let (visitor, http, base) = (&scene.visitor, &scene.world.http, &scene.world.server.base);
    visitor.screen(320, 640).await;
    let form = [("number", SILENT), ("expiry", "12/40"), ("cvc", "123"), ("name", "HANAKO YAMADA")];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    for (language, changes) in [("ja", japanese()), ("en", json!({}))] {
        let link = scene.link(changes).await;
        let sent = http.post(&link.url).header("content-type", "application/x-www-form-urlencoded").body(form.clone());
        let paying = tokio::spawn(sent.send());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let html = http.get(&link.url).send().await.unwrap().text().await.unwrap();
        let path = &link.url[base.len()..];
        let asks = format!("<meta http-equiv=\"refresh\" content=\"0;url={path}/result?wait\">");
        assert!(html.contains(&asks), "{html}");
        scene.shop.shows("/copy", &html.replace(&asks, &format!("<base href=\"{base}/\">")));
        visitor.opens(&scene.shop.url("/copy")).await;
        visitor.sees("#told .spinner").await;
        visitor.picture(&format!("processing-{language}"), false).await;
        let turns = "return getComputedStyle(document.querySelector('.spinner')).animationName";
        assert_eq!(visitor.runs(turns).await, "turn");
        visitor.prefers("light", "reduce").await;
        assert_eq!(visitor.runs(turns).await, "none");
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

/// In a frame of the shop's, once its merchant has said so, with the bank's page inside too; and in the merchant's colour.
pub async fn framed_where_it_may_be(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let (visitor, link) = (&scene.visitor, scene.link(json!({})).await);
    let frame = format!("<iframe title=Pay src='{}' width=400 height=900></iframe>", link.url);
    scene.shop.shows("/frame", &format!("<!doctype html><html lang=en><title>Shop</title><main>{frame}</main>"));
    visitor.opens(&scene.shop.url("/frame")).await;
    visitor.window.enter_frame(0).await.unwrap();
    assert!(!visitor.has("#number").await, "nobody's frame by default");
    let merchant = &scene.world.keys.merchant;
    scene.world.run(&["merchant", "page", merchant, "--accent", "#0a7d5a", "--frame-ancestors", &scene.shop.base]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    visitor.opens(&scene.shop.url("/frame")).await;
    visitor.window.enter_frame(0).await.unwrap();
    scene.pays(CHALLENGED).await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    let end = std::time::Instant::now() + crate::chromium::PATIENCE;
    while !scene
        .shop
        .visits()
        .iter()
        .any(|visit| visit.target.starts_with("/done?order=%E6%9C%AD%2F1&a&transaction_id="))
    {
        assert!(std::time::Instant::now() < end, "{:?} {}", scene.shop.visits(), visitor.text().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
    visitor.opens(&link.url).await;
    good(visitor, "in green").await;
}

/// For people to look at, and for the documents.
pub async fn pictures(engine: Engine) {
    // The issuer's page speaks the browser's language.
    let scene = Scene::new(engine, Habits::default()).await;
    let visitor = &scene.visitor;
    for (language, changes) in [("ja", japanese()), ("en", json!({}))] {
        let name = |state: &str| format!("{state}-{language}");
        let link = scene.next_link("order-1", changes).await;
        visitor.screen(1000, 800).await;
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

/// A card whose number and cvc stand nowhere else.
struct Canary {
    number: &'static str,
    grouped: &'static str,
    cvc: &'static str,
}

const AMEX: Canary = Canary { number: "371449635398431", grouped: "3714 496353 98431", cvc: "9173" };
const ASKED: Canary = Canary { number: CHALLENGED, grouped: "4000 0025 0000 3155", cvc: "917" };

impl Canary {
    fn is_not_in(&self, text: &str) {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '+')).collect();
        assert!(!digits.contains(self.number), "the number is in {text}");
        // Not as a part of some other word, such as a file's hash.
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let mut places = text.match_indices(self.cvc);
        let alone = |at: usize| !text[..at].ends_with(letter) && !text[at + self.cvc.len()..].starts_with(letter);
        assert!(!places.any(|(at, _)| alone(at)), "the cvc is in {text}");
    }
}

/// The card is in the bodies of the forms that were sent and nowhere else; and nobody but us and the shop was asked anything.
pub async fn nothing_is_left_behind(engine: Engine) {
    for canary in [AMEX, ASKED] {
        let mut scene = Scene::new(engine, Habits::default()).await;
        let link = scene.link(json!({"amount": null})).await;
        for page in paid_in_two_tries(&scene, &link, &canary).await {
            canary.is_not_in(&page);
        }
        let stored = "return [localStorage.length, sessionStorage.length, document.cookie.length]";
        assert_eq!(scene.visitor.runs(stored).await, json!([0, 0, 0]));
        let cookies = scene.visitor.cdp("Network.getAllCookies", json!({})).await;
        assert_eq!(cookies["cookies"], json!([]));
        requests_hold_it_once(&scene, &link, &canary).await;
        scene.visitor.leave();
        let profile = &scene.visitor.profile;
        // As it was typed, in the file of `typed_and_not_sent`; as it was sent nowhere.
        let mut found = files_with(profile, &[canary.number, canary.grouped]);
        found.retain(|file| !file.contains("/Default/Sessions/"));
        found
            .extend(files_with(profile, &[&format!("number={}", &canary.number[..4]), &format!("cvc={}", canary.cvc)]));
        assert!(found.is_empty(), "the browser wrote the card to {found:?}");
        let code = link.url.rsplit('/').next().unwrap();
        assert!(!files_with(profile, &[code]).is_empty(), "the search finds what a browser does write");
    }
}

/// Chromium notes for a restored session what stands in the forms of an open tab. No page can forbid that for the number but by
/// giving up the autofilling of cards (docs/PCI.md); the cvc is not noted.
pub async fn typed_and_not_sent(engine: Engine) {
    let mut scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    scene.fills(AMEX.number).await;
    scene.visitor.fills("cvc", AMEX.cvc).await;
    let sessions = scene.visitor.profile.join("Default/Sessions");
    let number = [AMEX.number, AMEX.grouped];
    // What it notes it writes some seconds later.
    for _ in 0..40 {
        if !files_with(&sessions, &number).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scene.visitor.leave();
    let found = files_with(&scene.visitor.profile, &number);
    assert!(!found.is_empty(), "Chromium does not note forms any more: docs/PCI.md need not say so");
    assert!(found.iter().all(|file| file.contains("/Default/Sessions/")), "the browser wrote the number to {found:?}");
    // Four digits stand by chance in larger files.
    let found = [files_with(&sessions, &[AMEX.cvc]), files_with(&scene.visitor.profile, &["cvc=9173"])].concat();
    assert!(found.is_empty(), "the browser wrote the cvc to {found:?}");
}

/// Refused by the server for its amount, then paid, then gone back; everything that the browser remembers at each of them.
async fn paid_in_two_tries(scene: &Scene, link: &Link, canary: &Canary) -> Vec<String> {
    let visitor = &scene.visitor;
    visitor.opens(&link.url).await;
    let mut pages = Vec::new();
    for amount in ["1000.5", "1000"] {
        scene.fills(canary.number).await;
        visitor.fills("cvc", canary.cvc).await;
        visitor.fills("amount", amount).await;
        visitor.presses("#pay").await;
        if amount == "1000.5" {
            visitor.sees("#amount-error:not(:empty)").await;
        } else if canary.number == CHALLENGED {
            visitor.sees("#issuer").await;
            pages.push(visitor.remembers().await);
            scene.at_the_issuer(Does::Enters("123456")).await;
        }
        if amount == "1000" {
            scene.returned("/done", "thanks").await;
        }
        pages.push(visitor.remembers().await);
    }
    visitor.opens(&link.url).await;
    visitor.sees("#told").await;
    pages.push(visitor.remembers().await);
    pages
}

async fn requests_hold_it_once(scene: &Scene, link: &Link, canary: &Canary) {
    let asked = scene.visitor.asked().await;
    let (ours, shop) = (format!("{}/", scene.world.server.base), format!("{}/", scene.shop.base));
    let mut sent = 0;
    // The tab that the browser itself begins with is its own affair.
    for asked in asked.iter().filter(|asked| !asked.page.starts_with("chrome")) {
        assert!(asked.url.starts_with(&ours) || asked.url.starts_with(&shop), "{asked:?}");
        canary.is_not_in(&asked.url);
        canary.is_not_in(&asked.rest);
        if asked.body.contains(&format!("cvc={}", canary.cvc)) {
            assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", link.url.as_str()));
            sent += 1;
        } else {
            canary.is_not_in(&asked.body);
        }
    }
    assert_eq!(sent, 2, "the log shows what was sent: {asked:#?}");
}

/// Files that hold one of the texts, in UTF-8 or UTF-16.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).unwrap_or_default();
            // Digits in UTF-16 are digits with zeros between.
            bytes.retain(|byte| *byte != 0);
            let held = String::from_utf8_lossy(&bytes);
            if texts.iter().any(|text| held.contains(text)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
