//! The hosted payment page (contract section 8), as people pay on it and as they should not be able to.

use crate::authentication::Does;
use crate::chromium::Habits;
use crate::scene::{CHALLENGED, DECLINED, GOOD, Link, Scene};
use crate::world::{Engine, address};
use fantoccini::actions::{InputSource as _, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use serde_json::{Value, json};
use std::time::Duration;

/// The bank never answers it: the charge is reversed after three seconds.
pub const SILENT: &str = "4000000000000259";

/// A billing address in Japan, which makes the link a Japanese one.
pub fn japanese() -> Value {
    json!({"billing_address": address("billing@testemail.com")})
}

pub async fn in_japanese_and_english(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    for (reference, changes, path, texts, other) in [
        ("nihon", japanese(), "/jp/HostedPaymentPage/", ["カード番号", "￥1,000 を支払う"], "English"),
        ("english", json!({}), "/HostedPaymentPage/", ["Card number", "Pay ¥1,000"], "日本語"),
    ] {
        let link = scene.next_link(reference, changes).await;
        assert!(link.url.starts_with(&format!("{}{path}", scene.world.server.base)), "{}", link.url);
        scene.visitor.opens(&link.url).await;
        let shown = scene.visitor.text().await;
        for text in texts.into_iter().chain([other, reference]) {
            assert!(shown.contains(text), "{text} is not in {shown}");
        }
        scene.pays(GOOD).await;
        let id = scene.returned("/done", "thanks").await;
        assert_eq!(scene.told(&id).await["success"], true);
        assert_eq!(scene.charges(reference).await, ["APPROVED"]);
        let state = scene.state(&link).await;
        assert_eq!((&state["status"], &state["transaction_ids"]), (&json!("PAID"), &json!([id])));
    }
}

/// The language is the visitor's to change, also in the middle.
pub async fn the_language_is_changed(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    scene.visitor.presses("#language").await;
    let place = scene.visitor.arrives(&format!("{}/jp/HostedPaymentPage/", scene.world.server.base)).await;
    assert_eq!(scene.visitor.runs("return document.documentElement.lang").await, "ja");
    scene.pays(DECLINED).await;
    scene.visitor.sees("#error-summary").await;
    let shown = scene.visitor.text().await;
    assert!(shown.contains("あと2回お試しいただけます"), "{shown}");
    scene.visitor.presses("#language").await;
    assert_eq!(scene.visitor.arrives(&link.url).await.replace("/HostedPaymentPage", "/jp/HostedPaymentPage"), place);
    scene.pays(GOOD).await;
    scene.returned("/done", "thanks").await;
}

pub async fn declined_and_then_paid(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    scene.pays(DECLINED).await;
    let summary = scene.visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Your bank did not approve the payment") && summary.contains("2 more times"), "{summary}");
    assert_eq!(scene.visitor.runs("return document.activeElement.id").await, "error-summary");
    for (field, left) in [("number", ""), ("cvc", ""), ("name", "HANAKO YAMADA"), ("expiry", "12/40")] {
        let value = scene.visitor.sees(&format!("#{field}")).await.prop("value").await.unwrap();
        assert_eq!(value.as_deref(), Some(left), "{field}");
    }
    assert!(scene.shop.visits().is_empty(), "one decline is not the end");
    scene.pays(GOOD).await;
    let id = scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-1").await, ["DECLINED", "APPROVED"]);
    let state = scene.state(&link).await;
    assert_eq!((&state["status"], &state["transaction_ids"][1]), (&json!("PAID"), &json!(id)));
}

pub async fn the_last_try(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    for left in ["2 more times", "one more time"] {
        scene.pays(DECLINED).await;
        let summary = scene.visitor.sees("#error-summary").await;
        let end = std::time::Instant::now() + crate::chromium::PATIENCE;
        let mut text = summary.text().await.unwrap_or_default();
        while !text.contains(left) {
            assert!(std::time::Instant::now() < end, "{left} is not in {text}");
            text = scene.visitor.sees("#error-summary").await.text().await.unwrap_or_default();
        }
    }
    scene.pays(DECLINED).await;
    let id = scene.returned("/declined", "sorry").await;
    let state = scene.state(&link).await;
    assert_eq!((&state["status"], &state["transaction_ids"][2]), (&json!("DECLINED"), &json!(id)));
    scene.visitor.opens(&link.url).await;
    assert_eq!(scene.visitor.sees("#heading").await.text().await.unwrap(), "The payment was not possible");
    assert!(!scene.visitor.has("#pay").await);
    assert_eq!(scene.charges("order-1").await, ["DECLINED"; 3]);
}

/// Each of two windows with the form filled in presses the button at the same moment.
pub async fn two_tabs_at_once(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let window = &scene.visitor.window;
    let windows = [window.window().await.unwrap(), window.new_window(false).await.unwrap().handle];
    for round in 0..2 {
        let link = scene.link(json!({"merchant_txn_ref": format!("race-{round}")})).await;
        for one in &windows {
            window.switch_to_window(one.clone()).await.unwrap();
            scene.visitor.opens(&link.url).await;
            scene.fills(GOOD).await;
        }
        let at = scene.visitor.runs("return Date.now() + 400").await;
        for one in &windows {
            window.switch_to_window(one.clone()).await.unwrap();
            let press = format!("setTimeout(() => document.querySelector('#pay').click(), {at} - Date.now())");
            scene.visitor.runs(&press).await;
        }
        let mut places = Vec::new();
        for one in &windows {
            window.switch_to_window(one.clone()).await.unwrap();
            places.push(scene.visitor.arrives(&scene.shop.url("/done?")).await);
        }
        assert_eq!(places[0], places[1], "both are led to the one payment");
        assert_eq!(scene.charges(&format!("race-{round}")).await, ["APPROVED"]);
        assert_eq!(scene.state(&link).await["transaction_ids"].as_array().unwrap().len(), 1);
    }
}

pub async fn pressed_twice(engine: Engine) {
    for javascript in [true, false] {
        let scene = Scene::new(engine, Habits { javascript, ..Habits::default() }).await;
        let link = scene.link(json!({})).await;
        scene.visitor.opens(&link.url).await;
        scene.fills(GOOD).await;
        let pay = scene.visitor.sees("#pay").await;
        let over = PointerAction::MoveToElement { element: pay, duration: None, x: 0.0, y: 0.0 };
        let mut mouse = MouseActions::new("mouse".to_owned()).then(over);
        for _ in 0..3 {
            let button = MOUSE_BUTTON_LEFT;
            mouse = mouse.then(PointerAction::Down { button }).then(PointerAction::Up { button });
        }
        // The page may be gone before the last click.
        scene.visitor.window.perform_actions(mouse).await.ok();
        let place = scene.visitor.arrives(&scene.shop.url("/done?")).await;
        assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
        let state = scene.state(&link).await;
        assert!(place.contains(state["transaction_ids"][0].as_str().unwrap()), "{place} {state}");
        assert_eq!(state["transaction_ids"].as_array().unwrap().len(), 1);
    }
}

/// While the bank is silent nobody can pay the link again; once the try is reversed both windows go on by themselves.
pub async fn the_bank_is_silent(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    let window = &scene.visitor.window;
    let first = window.window().await.unwrap();
    let second = window.new_window(false).await.unwrap().handle;
    window.switch_to_window(second.clone()).await.unwrap();
    scene.visitor.opens(&link.url).await;
    scene.fills(GOOD).await;
    window.switch_to_window(first.clone()).await.unwrap();
    scene.visitor.opens(&link.url).await;
    scene.fills(SILENT).await;
    scene.visitor.runs("setTimeout(() => document.querySelector('#pay').click(), 50)").await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    window.switch_to_window(second).await.unwrap();
    scene.visitor.presses("#pay").await;
    let summary = scene.visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Your bank did not answer in time, so the payment was undone."), "{summary}");
    assert_eq!(scene.charges("order-1").await, ["REVERSED"], "nothing was charged beside it");
    window.switch_to_window(first).await.unwrap();
    let summary = scene.visitor.sees("#error-summary").await.text().await.unwrap();
    assert!(summary.contains("Your bank did not answer in time, so the payment was undone."), "{summary}");
    scene.pays(GOOD).await;
    scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-1").await, ["REVERSED", "APPROVED"]);
}

pub async fn cancelled(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    scene.visitor.presses("#cancel").await;
    let place = scene.visitor.arrives(&scene.shop.base).await;
    assert_eq!(place, scene.shop.url("/cart?order=%E6%9C%AD%2F1&a#cart"), "nothing was tried: nothing is added");
    assert_eq!(scene.state(&link).await["status"], "CANCELLED");
    scene.visitor.opens(&link.url).await;
    assert_eq!(scene.visitor.sees("#heading").await.text().await.unwrap(), "This payment was cancelled");
    assert_eq!(scene.charges("order-1").await, [] as [&str; 0]);
    // After a decline the transaction is told, and without a cancel_url the decline_url serves.
    let mut returns = scene.returns();
    returns["cancel_url"] = Value::Null;
    let link = scene.next_link("order-2", json!({"return_url": returns})).await;
    scene.visitor.opens(&link.url).await;
    scene.pays(DECLINED).await;
    scene.visitor.sees("#error-summary").await;
    scene.visitor.presses("#cancel").await;
    let id = scene.returned("/declined", "sorry").await;
    assert_eq!(scene.state(&link).await["transaction_ids"], json!([id]));
}

pub async fn expired(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let begun = std::time::Instant::now();
    let link = scene.link(json!({"expires_in": 2})).await;
    scene.visitor.opens(&link.url).await;
    scene.fills(GOOD).await;
    tokio::time::sleep(Duration::from_millis(2_100).saturating_sub(begun.elapsed())).await;
    scene.visitor.presses("#pay").await;
    assert_eq!(scene.visitor.sees("#told #heading").await.text().await.unwrap(), "This link has expired");
    assert_eq!(scene.state(&link).await["status"], "EXPIRED");
    assert_eq!(scene.charges("order-1").await, [] as [&str; 0]);
    assert!(scene.shop.visits().is_empty());
}

/// Without an amount and an address the customer types them, in the letters of a Japanese keyboard too.
pub async fn the_customer_types_more(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({"amount": null, "billing_address": null})).await;
    let visitor = &scene.visitor;
    visitor.opens(&link.url).await;
    scene.fills("５２００ ０００００ ０００１ ００５").await;
    let number = visitor.sees("#number").await.prop("value").await.unwrap();
    assert_eq!(number.as_deref(), Some("5200 0000 0000 1005"));
    visitor.presses("#pay").await;
    let summary = visitor.sees("#error-summary").await.text().await.unwrap();
    for missing in ["Enter the amount.", "Choose a country", "Enter your email", "Enter your city"] {
        assert!(summary.contains(missing), "{missing} is not in {summary}");
    }
    visitor.fills("amount", "1000.5").await;
    for (name, text) in [
        ("email", "hanako@example.com"),
        ("phone_number", "+81 3 1234 5678"),
        ("city", "札幌市"),
        ("address1", "北1条西2丁目"),
        ("postal_code", "060-8611"),
    ] {
        visitor.fills(name, text).await;
    }
    let country = visitor.sees("#country").await;
    country.select_by_value("JP").await.unwrap();
    visitor.presses("#pay").await;
    // The server refuses what the script let through; all but number and cvc is still there.
    let wrong = visitor.sees("#amount-error").await;
    let end = std::time::Instant::now() + crate::chromium::PATIENCE;
    while visitor.sees("#amount-error").await.text().await.unwrap_or_default()
        != "JPY has no decimals: enter a whole amount."
    {
        assert!(std::time::Instant::now() < end, "{:?}", wrong.text().await);
    }
    let city = visitor.sees("#city").await.prop("value").await.unwrap();
    assert_eq!(city.as_deref(), Some("札幌市"));
    visitor.fills("amount", "１,２３４").await;
    scene.pays(GOOD).await;
    let id = scene.returned("/done", "thanks").await;
    let told = scene.told(&id).await;
    assert_eq!(told["payment_details"]["amount"], 1234);
    let billing = &told["merchant_details"]["billing_details"]["billing_address"];
    assert_eq!((&billing["country"], &billing["city"]), (&json!("JP"), &json!("札幌市")));
}

/// 3-D Secure inside of the page: passed; failed and then passed with another card; and left.
pub async fn authenticated(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let link = scene.link(json!({})).await;
    scene.visitor.opens(&link.url).await;
    scene.pays(CHALLENGED).await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    let id = scene.returned("/done", "thanks").await;
    assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
    assert_eq!(scene.told(&id).await["payment_details"]["three_d_secure"]["status"], "Y");
    for (reference, does) in [("failed", Does::Enters("000000")), ("left", Does::Leaves)] {
        let link = scene.next_link(reference, json!({})).await;
        scene.visitor.opens(&link.url).await;
        scene.pays(CHALLENGED).await;
        scene.at_the_issuer(does).await;
        let summary = scene.visitor.sees("#error-summary").await.text().await.unwrap();
        assert!(summary.contains("Your bank could not confirm that it is you."), "{summary}");
        scene.pays(GOOD).await;
        scene.returned("/done", "thanks").await;
        assert_eq!(scene.charges(reference).await, ["DECLINED", "APPROVED"]);
        assert_eq!(link_tries(&scene, &link).await, 2);
    }
}

async fn link_tries(scene: &Scene, link: &Link) -> usize {
    scene.state(link).await["transaction_ids"].as_array().unwrap().len()
}
