//! 3-D Secure as the cardholder lives it: at the issuer's page and back (contract section 5).

use crate::chromium::Habits;
use crate::scene::{CHALLENGED, Scene};
use crate::world::Engine;
use serde_json::Value;

/// What the cardholder does at the issuer's page.
#[derive(Clone, Copy)]
pub enum Does {
    Enters(&'static str),
    Leaves,
}

impl Scene {
    /// Starts a charge that waits for its cardholder, by the API; where the browser is to go, and the transaction.
    pub async fn redirected(&self, reference: &str) -> (String, String) {
        self.redirected_by(self.world.card_charge(CHALLENGED), reference).await
    }

    pub async fn redirected_by(&self, mut body: Value, reference: &str) -> (String, String) {
        self.shop.forgets();
        body["return_url"] = self.returns();
        body["merchant_txn_ref"] = reference.into();
        let (status, asked) = self.world.post("paymentv2", &body).await;
        assert_eq!(status, 200, "{asked}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&asked["redirect_url"]), text(&asked["transaction_details"]["id"]))
    }

    pub async fn at_the_issuer(&self, does: Does) {
        self.visitor.sees("#issuer").await;
        match does {
            Does::Enters(code) => {
                self.visitor.fills("code", code).await;
                self.visitor.presses("#confirm").await;
            }
            Does::Leaves => self.visitor.presses("#leave").await,
        }
    }
}

pub async fn from_server_to_server(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    for (reference, does, path, mark, state) in [
        ("passed", Does::Enters("123456"), "/done", "thanks", "APPROVED"),
        ("failed", Does::Enters("000000"), "/declined", "sorry", "DECLINED"),
        ("left", Does::Leaves, "/declined", "sorry", "DECLINED"),
    ] {
        let (url, id) = scene.redirected(reference).await;
        scene.visitor.opens(&url).await;
        scene.at_the_issuer(does).await;
        assert_eq!(scene.returned(path, mark).await, id);
        assert_eq!(scene.charges(reference).await, [state]);
        let told = scene.told(&id).await;
        assert_eq!(told["success"], state == "APPROVED");
        // Opened again it goes straight to the result.
        scene.visitor.opens(&url).await;
        let begin = scene.shop.url(&format!("{path}?order=%E6%9C%AD%2F1&a&transaction_id={id}#{mark}"));
        assert_eq!(scene.visitor.arrives(&scene.shop.base).await, begin);
        assert_eq!(scene.charges(reference).await, [state]);
    }
}

/// A code that is no six digits is asked again; then without scripts, each step by its button.
pub async fn by_buttons_alone(engine: Engine) {
    let scene = Scene::new(engine, Habits { javascript: false, language: "ja", ..Habits::default() }).await;
    let (url, id) = scene.redirected("order-1").await;
    scene.visitor.opens(&url).await;
    scene.visitor.presses("#continue").await;
    scene.at_the_issuer(Does::Enters("12345")).await;
    scene.visitor.sees("#code-wrong").await;
    scene.at_the_issuer(Does::Enters("654321")).await;
    scene.visitor.presses("#continue").await;
    assert_eq!(scene.returned("/done", "thanks").await, id);
    assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
}

/// Back, forward and the same page in a second tab, after the end: the cardholder is led to the result, and pays once.
pub async fn back_and_forth(engine: Engine) {
    let scene = Scene::new(engine, Habits::default()).await;
    let (url, id) = scene.redirected("order-1").await;
    let visitor = &scene.visitor;
    visitor.opens(&url).await;
    visitor.sees("#issuer").await;
    let first = visitor.window.window().await.unwrap();
    let second = visitor.window.new_window(true).await.unwrap().handle;
    visitor.window.switch_to_window(second).await.unwrap();
    visitor.opens(&url).await;
    scene.at_the_issuer(Does::Enters("123456")).await;
    assert_eq!(scene.returned("/done", "thanks").await, id);
    // The other tab still asks: another answer changes nothing.
    visitor.window.switch_to_window(first).await.unwrap();
    scene.at_the_issuer(Does::Enters("000000")).await;
    let place = visitor.arrives(&scene.shop.base).await;
    assert!(place.starts_with(&scene.shop.url("/done?")), "{place}");
    visitor.window.back().await.unwrap();
    visitor.window.back().await.unwrap();
    visitor.window.forward().await.unwrap();
    assert_eq!(scene.charges("order-1").await, ["APPROVED"]);
}
