//! How often a key pair may call, and who is taken for the caller behind proxies.

use crate::operator::refused;
use crate::world::{Engine, Keys, Server, World, answer, fuda};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn status(world: &World, base: &str, keys: &Keys) -> u16 {
    let url = format!("{base}/api/v1/server-to-server-interface/tokens");
    answer(world.authed(world.http.get(&url), keys)).await.0
}

/// Asks again and again until the answer is this one; within a second of a change it is.
async fn within_a_second(world: &World, base: &str, wanted: u16) {
    let changed = Instant::now();
    while status(world, base, &world.keys).await != wanted {
        assert!(changed.elapsed() < Duration::from_secs(1), "{wanted} at {base} was not in force within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn a_key_that_calls_too_often(engine: Engine) {
    let mut world = World::new(engine).await;
    let listed =
        |world: &World| serde_json::from_str::<Value>(&world.run(&["key", "list", "--json"])).unwrap()["keys"].clone();
    let id = listed(&world)[0]["id"].as_str().unwrap().to_owned();
    let other = world.other_entity();
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    for _ in 0..100 {
        assert_eq!(status(&world, &world.server.base, &world.keys).await, 200, "there is no limit by itself");
    }
    let said: Value =
        serde_json::from_str(&world.run(&["key", "limit", &id, "--per-second", "1", "--burst", "5", "--json"]))
            .unwrap();
    assert_eq!(said, json!({"id": id, "per_second": 1, "burst": 5}));
    assert_eq!((&listed(&world)[0]["per_second"], &listed(&world)[0]["burst"]), (&json!(1), &json!(5)));
    within_a_second(&world, &world.server.base, 429).await;
    if let Some(second) = &second {
        // Each process counts by itself.
        let mut passed = 0;
        while status(&world, &second.base, &world.keys).await == 200 && passed < 500 {
            passed += 1;
        }
        assert!((1..500).contains(&passed), "{passed}");
    }
    refusal_as_documented(&world).await;
    // The body is not looked at, and the wrong secret is told nothing of the limit.
    let request = world.authed(world.http.post(world.url("payment")), &world.keys);
    assert_eq!(answer(request.header("content-type", "text/plain").body("x".repeat(60_000))).await.0, 429);
    let wrong = Keys { secret: "sk_test_wrong".to_owned(), ..world.keys.clone() };
    assert_eq!(status(&world, &world.server.base, &wrong).await, 401);
    assert_eq!(status(&world, &world.server.base, &other).await, 200, "the other pair has a bucket of its own");
    // A change of something else fills nothing again.
    world.run(&["key", "new", "--entity", &world.keys.entity]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut passed = 0;
    while status(&world, &world.server.base, &world.keys).await == 200 {
        passed += 1;
    }
    assert!(passed <= 3, "{passed}");
    let metrics = world.http.get(format!("{}/metrics", world.server.base)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("fuda_rate_limited_total{{key=\"{id}\"}}")), "the metric names the key");
    world.run(&["key", "limit", &id, "--off"]);
    // Seconds' worth of the old limit, and none is refused.
    let (changed, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < 20 {
        in_a_row = if status(&world, &world.server.base, &world.keys).await == 200 { in_a_row + 1 } else { 0 };
        assert!(in_a_row > 0 || changed.elapsed() < Duration::from_secs(1), "the limit was not gone within a second");
    }
    assert_eq!(listed(&world)[0]["per_second"], Value::Null);
    let wanted = [format!("key.limit {id} 1 per second, 5 at once"), format!("key.limit {id} no limit")];
    assert_eq!(world.deeds("key.limit").await, wanted);
    let unknown =
        refused(fuda(&world.folder, world.database_url.as_deref()).args(["key", "limit", "key_none", "--off"]));
    assert!(unknown.contains("no such key in force"), "{unknown}");
    for bad in
        [&["--per-second", "0"][..], &["--per-second", "-1"], &["--burst", "3"], &[], &["--off", "--per-second", "1"]]
    {
        let output = fuda(&world.folder, world.database_url.as_deref()).args(["key", "limit", &id]).args(bad).output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{bad:?}");
    }
    world.server.stop();
}

/// The pair's bucket is empty, or nearly.
async fn refusal_as_documented(world: &World) {
    for _ in 0..10 {
        let body = world.token_charge(&world.token);
        let request =
            world.authed(world.http.post(world.url("payment")), &world.keys).header("idempotency-key", "limited");
        let response = request.json(&body).send().await.unwrap();
        if response.status().as_u16() != 429 {
            continue;
        }
        assert_eq!(
            (&response.headers()["retry-after"], &response.headers()["content-type"]),
            (&"1".parse().unwrap(), &"application/json".parse().unwrap())
        );
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let found: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let wanted = json!({
            "success": false, "status_code": 429, "is_live": false,
            "gateway_response": {"version": "1", "type": "ERROR", "message": "Too many requests.", "code": "VAL0007"},
            "transaction_details": {"id": null, "ref": null, "timestamp": null, "merchant_txn_ref": null},
            "request_id": id,
        });
        assert_eq!(found, wanted);
        // As it says: after that time there is room, and the key of the refused request was not claimed.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let request =
            world.authed(world.http.post(world.url("payment")), &world.keys).header("idempotency-key", "limited");
        let (status, answered) = answer(request.json(&body)).await;
        assert_eq!((status, &answered["success"]), (201, &json!(true)));
        return;
    }
    panic!("ten charges at once were not too many");
}

/// The address that the answer shows, for these headers.
async fn visited(world: &World, headers: &[&[u8]]) -> String {
    let mut request = world.authed(world.http.post(world.url("payment")), &world.keys);
    for header in headers {
        request = request.header("x-forwarded-for", *header);
    }
    let (status, answered) = answer(request.json(&world.card_charge("4111111111111111"))).await;
    assert_eq!(status, 201, "{answered}");
    answered.pointer("/merchant_details/device_details/visited_ip").and_then(Value::as_str).unwrap().to_owned()
}

pub async fn who_called(engine: Engine) {
    let mut world = World::new(engine).await;
    let chain: &[&[u8]] = &[b"9.9.9.9, 1.1.1.1, 10.0.0.7"];
    assert_eq!(visited(&world, chain).await, "127.0.0.1", "nobody is trusted by itself");
    let restart = |world: &mut World, nets: &str| {
        assert_eq!(world.server.stop(), Some(0));
        world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
            command.env("FUDA_TRUSTED_PROXIES", nets);
        });
    };
    restart(&mut world, "10.0.0.0/8");
    assert_eq!(visited(&world, chain).await, "127.0.0.1", "the peer is none of ours: its header is a forgery");
    restart(&mut world, "127.0.0.1, 10.0.0.0/8,2001:db8::/32");
    for (headers, wanted) in [
        (&[][..], "127.0.0.1"),
        (chain, "1.1.1.1"),
        (&[b"9.9.9.9", b"1.1.1.1", b"2001:db8::7"], "1.1.1.1"),
        (&[b"forged, [2606:4700::1111]:4711, 10.0.0.7:80"], "2606:4700::1111"),
        (&[b"::ffff:1.1.1.1"], "1.1.1.1"),
        (&[b"9.9.9.9, unknown, 10.0.0.7"], "10.0.0.7"),
        (&[b"9.9.9.9, \xff\xfe, 10.0.0.7"], "10.0.0.7"),
        (&[b"<script>"], "127.0.0.1"),
        (&[b" , ,"], "127.0.0.1"),
    ] {
        assert_eq!(visited(&world, headers).await, wanted, "{headers:?}");
    }
    let long = "9.9.9.9, ".repeat(2_000) + "1.1.1.1";
    assert_eq!(visited(&world, &[long.as_bytes()]).await, "1.1.1.1");
    // The command line wins over the environment, and the file is read too.
    let file = world.folder.join("fuda.toml");
    std::fs::write(&file, "trusted_proxies = [\"127.0.0.0/8\"]\n").unwrap();
    assert_eq!(world.server.stop(), Some(0));
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.arg("--config").arg(&file);
    });
    assert_eq!(visited(&world, chain).await, "10.0.0.7");
    assert_eq!(world.server.stop(), Some(0));
    for (bad, says) in [("10.0.0.0/33", "is no network such as"), ("0.0.0.0/0", "would trust every address")] {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let text = refused(command.args(["serve", "--listen", "127.0.0.1:0", "--trusted-proxies", bad]));
        assert!(text.contains("--trusted-proxies: ") && text.contains(says), "{text}");
    }
}
