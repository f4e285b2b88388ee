//! Token management.

use crate::world::{Engine, World, answer};
use serde_json::{Value, json};

pub async fn managed(engine: Engine) {
    let world = World::new(engine).await;
    let body = json!({
        "merchant_id": world.keys.merchant, "merchant_txn_ref": 42,
        "card": {"number": "4111 1111-1111 1111", "expiry_month": "1", "expiry_year": "2040", "cvc": "123", "name": "山田花子"},
    });
    let (status, stored) = world.post("tokens", &body).await;
    assert_eq!(status, 201, "{stored}");
    let token = stored["token"].clone();
    assert_eq!(
        token["card"],
        json!({"name": "山田花子", "number": "411111******1111", "exp_month": "01", "exp_year": "40"})
    );
    assert_eq!((&token["status"], &token["scheme"]), (&json!("ACTIVE"), &json!("VISA")));
    assert_eq!(token["merchant_initiated_ready"], true);
    let id = token["id"].as_str().unwrap();
    let (_, again) = world.post("tokens", &body).await;
    assert_ne!(again["token"]["id"], token["id"]);
    assert_eq!(again["token"]["fingerprint"], token["fingerprint"]);
    let (status, verified) =
        world.get(&format!("transaction/status/{}", stored["transaction_details"]["id"].as_str().unwrap())).await;
    assert_eq!(
        (status, &verified["transaction_type"], &verified["payment_details"]["amount"]),
        (200, &json!("PRE_AUTH"), &json!(0))
    );
    let (status, got) = world.get(&format!("tokens/{id}")).await;
    assert_eq!((status, &got["token"]), (200, &token));
    let patch = async |body: Value| {
        answer(world.authed(world.http.patch(world.url(&format!("tokens/{id}"))), &world.keys).json(&body)).await
    };
    let (status, changed) = patch(json!({"card": {"expiry_month": "7", "expiry_year": "41", "name": "YAMADA"}})).await;
    assert_eq!((status, &changed["token"]["card"]["exp_year"]), (200, &json!("41")));
    assert_eq!(patch(json!({"card": {"expiry_month": "7"}})).await.0, 400);
    assert_eq!(patch(json!({"card": {"expiry_month": "7", "expiry_year": "20"}})).await.0, 406);
    assert_eq!(patch(json!({"card": {"name": "4111111111111111"}})).await.0, 400);
    let list = world.get("tokens?merchant_txn_ref=42").await.1;
    assert_eq!(list["tokens"].as_array().unwrap().len(), 2);
    let list = world.get(&format!("tokens?fingerprint={}", token["fingerprint"].as_str().unwrap())).await.1;
    assert_eq!(list["tokens"].as_array().unwrap().len(), 2);
    let delete =
        async || answer(world.authed(world.http.delete(world.url(&format!("tokens/{id}"))), &world.keys)).await;
    let (status, deleted) = delete().await;
    assert_eq!((status, &deleted["token"]["status"]), (200, &json!("DELETED")));
    assert_eq!(delete().await.1["gateway_response"]["code"], "ERR1003");
    assert_eq!(world.get(&format!("tokens/{id}")).await.0, 404);
    assert_eq!(world.post("payment", &world.token_charge(id)).await.1["gateway_response"]["code"], "ERR1003");
    let list = world.get("tokens?merchant_txn_ref=42").await.1;
    assert_eq!(list["tokens"].as_array().unwrap().len(), 1);
    let (status, declined) = world
        .post(
            "tokens",
            &json!({"merchant_id": world.keys.merchant,
        "card": {"number": "4000000000000002", "expiry_month": "1", "expiry_year": "2040", "cvc": "123"}}),
        )
        .await;
    assert_eq!((status, &declined["success"], &declined["token"]), (201, &json!(false), &Value::Null));
}

pub async fn a_list_in_pages(engine: Engine) {
    let world = World::new(engine).await;
    let body = json!({"merchant_id": world.keys.merchant,
        "card": {"number": "4111111111111111", "expiry_month": "1", "expiry_year": "2040", "cvc": "123"}});
    for _ in 0..4 {
        assert_eq!(world.post("tokens", &body).await.0, 201);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = world.get(&format!("tokens?limit=2{cursor}")).await;
        assert_eq!(status, 200);
        seen.extend(page["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[4], world.token);
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=-1", "fingerprint=%00", "limit=1&limit=2"] {
        assert_eq!(world.get(&format!("tokens?{query}")).await.0, 400, "{query}");
    }
}
