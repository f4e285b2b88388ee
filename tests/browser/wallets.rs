//! GCash and PayPay in their own pages, from a server's redirect and back to the shop.

use crate::chromium::Habits;
use crate::looks::good;
use crate::scene::Scene;
use crate::world::Engine;
use serde_json::json;

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
