//! Wallets' tokens once and again: races and replays, stored cards, authentication, who has set up what.

use crate::maker;
use crate::maker::apple::{Apple, GOOD, Merchant};
use crate::maker::google::{Ask, Google, card, device, pan_only};
use crate::wallets::{Files, added, charge, code, now, reason, said, take_google};
use crate::world::{Engine, Keys, World, answer, fuda};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::time::Duration;

/// However many come at once, wherever they arrive, a token is charged once.
pub async fn a_token_is_charged_once(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let bases = [&world.server.base, second.as_ref().map_or(&world.server.base, |server| &server.base)];
    let body = charge(&world, "googlepay", &google.token(&card("ECv2", now())));
    let asked = (0..24).map(|at: usize| {
        let url = format!("{}/api/v1/server-to-server-interface/payment", bases[at % 2]);
        let request = world.authed(world.http.post(url), &world.keys).json(&body);
        tokio::spawn(answer(request))
    });
    let asked: Vec<_> = asked.collect();
    let mut codes = Vec::new();
    for one in asked {
        codes.push(code(&one.await.unwrap()).1);
    }
    assert_eq!(codes.iter().filter(|code| *code == "INFO0000").count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| ["INFO0000", "ERR1001"].contains(&code.as_str())), "{codes:?}");
    // A repeat under its key is the first answer again, not a replay.
    let body = charge(&world, "googlepay", &google.token(&card("ECv2", now())));
    let keyed = |body: &Value, fault: &str| {
        let asked = world.authed(world.http.post(world.url("payment")), &world.keys).header("idempotency-key", "k1");
        let asked = if fault.is_empty() { asked } else { asked.header("fuda-sandbox-fault", fault) };
        answer(asked.json(body))
    };
    // Nothing was sent: the same token may come again, under the same key.
    assert_eq!(code(&keyed(&body, "refused").await), said(502, "ERR1011"));
    let first = keyed(&body, "").await;
    assert_eq!(code(&first), said(201, "INFO0000"));
    assert_eq!(keyed(&body, "").await, first);
    assert_eq!(code(&world.post("payment", &body).await), said(406, "ERR1001"));
    let mut other = body.clone();
    other["payment_method"]["token"] = google.token(&card("ECv2", now()));
    assert_eq!(code(&keyed(&other, "").await), said(412, "ERR1007"));
    assert_eq!(world.texts("SELECT COUNT(*) FROM wallet_tokens").await, ["2"]);
    // Also when the token is past by the time of the repeat.
    let mut brief = card("ECv2", now());
    brief.message["messageExpiration"] = (now() + 2_000).to_string().into();
    let body = charge(&world, "googlepay", &google.token(&brief));
    let asked = || {
        let asked = world.authed(world.http.post(world.url("payment")), &world.keys).header("idempotency-key", "k2");
        answer(asked.json(&body))
    };
    let first = asked().await;
    assert_eq!(code(&first), said(201, "INFO0000"));
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(asked().await, first);
    let (_, late) = world.post("payment", &body).await;
    assert_eq!(reason(&world, &late), "expired");
    world.books_are_clean();
}

pub async fn stored_from_a_wallet(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let store = async |ask: &Ask| {
        let mut body = charge(&world, "googlepay", &google.token(ask));
        body["payment_method"]["store_payment_method"] = true.into();
        let (status, paid) = world.post("payment", &body).await;
        assert_eq!(status, 201, "{paid}");
        paid["transaction_details"]["stored_payment_method_id"].as_str().unwrap().to_owned()
    };
    let by = |token: &str, initiator: &str| {
        let mut body = world.token_charge(token);
        body["payment_method"]["initiator"] = initiator.into();
        body
    };
    // A device's number is for the merchant alone.
    let token = store(&device("ECv2", now())).await;
    for path in ["payment", "paymentv2", "authorization", "authorizationv2"] {
        let refused = world.post(path, &by(&token, "customer")).await;
        assert_eq!(code(&refused), said(412, "ERR1015"), "{path}");
    }
    assert_eq!(code(&world.post("payment", &world.token_charge(&token)).await), said(412, "ERR1015"));
    let (status, paid) = world.post("payment", &by(&token, "merchant")).await;
    assert_eq!((status, &paid["payment_details"]["payment_method"]), (201, &json!("ECMC-SSL")));
    assert_eq!(paid["payment_details"]["additional_data"]["payment_data_source"]["type"], "card");
    // The number on the card is a card.
    let token = store(&card("ECv2", now())).await;
    for initiator in ["customer", "merchant"] {
        assert_eq!(code(&world.post("payment", &by(&token, initiator)).await), said(201, "INFO0000"));
    }
    // A decline makes no token.
    let mut body = charge(&world, "googlepay", &google.token(&pan_only("ECv2", "4000000000000002", now())));
    body["payment_method"]["store_payment_method"] = true.into();
    let (status, declined) = world.post("payment", &body).await;
    assert_eq!((status, &declined["gateway_response"]["code"]), (201, &json!("ERR1000")));
    assert_eq!(declined["transaction_details"].get("stored_payment_method_id"), None);
}

/// The device has authenticated its owner; the number on a card has not.
pub async fn authentication(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let asks = "4000002500003155";
    let body = |ask: &Ask| {
        let mut body = charge(&world, "googlepay", &google.token(ask));
        body["return_url"] = json!({"success_url": "http://s.example/", "decline_url": "http://d.example/"});
        body
    };
    let by_device = |now| {
        let mut ask = device("ECv2", now);
        ask.message["paymentMethodDetails"]["pan"] = asks.into();
        ask
    };
    for path in ["payment", "paymentv2"] {
        assert_eq!(code(&world.post(path, &body(&by_device(now()))).await), said(201, "INFO0000"), "{path}");
    }
    assert_eq!(code(&world.post("payment", &body(&pan_only("ECv2", asks, now()))).await), said(201, "ERR1009"));
    let redirected = body(&pan_only("ECv2", asks, now()));
    let (status, redirect) = world.post("paymentv2", &redirected).await;
    assert_eq!((status, &redirect["url"]), (200, &redirect["redirect_url"]), "{redirect}");
    // The token is taken while the cardholder is being asked.
    assert_eq!(code(&world.post("paymentv2", &redirected).await), said(406, "ERR1001"));
}

pub async fn set_ups_are_their_merchants(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    let files = Files::new();
    let (key, roots) =
        (files.put("key.pem", &google.merchant.serialize_pem()), files.put("keys.json", &google.roots()));
    let stranger = world.other_entity();
    let recipient = "merchant:31415926535897932384";
    let token = || google.token(&Ask { recipient: recipient.into(), ..card("ECv2", now()) });
    let add = ["wallet", "add", "googlepay", "--recipient", recipient, "--key", &key, "--roots", &roots];
    // Live tokens are not test tokens; the other entity's merchant is not ours.
    added(&world, &[&add[..], &["--merchant", &world.keys.merchant, "--live"]].concat());
    added(&world, &[&add[..], &["--merchant", &stranger.merchant]].concat());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let ours = charge(&world, "googlepay", &token());
    assert_eq!(code(&world.post("payment", &ours).await), said(412, "ERR1015"));
    let mut theirs = ours.clone();
    theirs["merchant_id"] = stranger.merchant.clone().into();
    assert_eq!(world.post("payment", &theirs).await, (403, json!({"message": "Forbidden"})));
    assert_eq!(code(&world.post_as(&stranger, "payment", &theirs).await), said(201, "INFO0000"));
    // Another merchant of the same entity has not set it up either.
    let words =
        ["merchant", "add", "--legal-name", "Second", "--country", "JP", "--currency", "JPY", "--json", "--entity"];
    let second: Value = serde_json::from_str(&world.run(&[&words[..], &[&stranger.entity]].concat())).unwrap();
    let second = Keys { merchant: second["merchant_id"].as_str().unwrap().to_owned(), ..stranger.clone() };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut body = charge(&world, "googlepay", &token());
    body["merchant_id"] = second.merchant.clone().into();
    assert_eq!(code(&world.post_as(&second, "payment", &body).await), said(412, "ERR1015"));
    // What was not meant is said where it is typed.
    let wrong = |words: &[&str]| {
        let output = fuda(&world.folder, world.database_url.as_deref()).args(words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let (odd, huge) = (files.put("odd", "no key"), files.put("huge", &"x".repeat(2 << 20)));
    let with = |name: &str, value: &str| {
        let mut words = [&add[..], &["--merchant", &world.keys.merchant]].concat();
        let at = words.iter().position(|word| *word == name).unwrap();
        words[at + 1] = value;
        wrong(&words)
    };
    assert!(with("--merchant", "JP99999999").contains("no such merchant"));
    assert!(with("--key", &odd).contains("openssl genpkey"));
    assert!(with("--key", &huge).contains("too large"));
    assert!(with("--roots", &odd).contains("keys.json"));
    assert!(with("--roots", "/nowhere/keys.json").contains("/nowhere/keys.json"));
    assert!(with("--recipient", "12345").contains("merchant:<id>"));
    for _ in 0..7 {
        added(&world, &[&add[..], &["--merchant", &stranger.merchant]].concat());
    }
    assert!(wrong(&[&add[..], &["--merchant", &stranger.merchant]].concat()).contains("8 of them already"));
    // A record that was moved does not open: neither in a new process nor in one that knows it.
    let said_by = |text: &str| std::fs::read_to_string(world.folder.with_extension("log")).unwrap().contains(text);
    world.sql("UPDATE wallets SET live = 0; UPDATE wallet_version SET version = version + 1").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(code(&world.post("payment", &charge(&world, "googlepay", &token())).await), said(412, "ERR1015"));
    assert!(said_by("a wallet is NOT in force"));
    assert!(world.run(&["wallet", "list"]).contains("CANNOT BE READ"));
    assert!(wrong(&["wallet", "remove", "wal_00000000000000000000000000000000"]).contains("fuda wallet list"));
    assert!(world.run(&["wallet", "add", "applepay", "--help"]).contains("fuda wallet add applepay --merchant"));
}

/// What anybody can make tokens for is not for live money.
pub async fn tests_keys_are_not_for_live_money(engine: Engine) {
    let world = World::new(engine).await;
    let (google, apple, merchant) = (Google::new(), Apple::new(GOOD), Merchant::ec());
    let files = Files::new();
    let key = files.put("google.pem", &google.merchant.serialize_pem());
    let roots = files.put("keys.json", &google.roots());
    let mut words =
        ["wallet", "add", "googlepay", "--key", &key, "--roots", &roots, "--recipient", "merchant:1"].to_vec();
    let place = ["--merchant", &world.keys.merchant, "--live"];
    let refused = |words: &[&str]| {
        let words = [words, &place].concat();
        let output = fuda(&world.folder, world.database_url.as_deref()).args(words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    added(&world, &[&words[..], &place].concat());
    words[8] = maker::google::RECIPIENT;
    assert!(refused(&words).contains("Google's TEST environment"));
    added(&world, &[&words[..], &place[..2]].concat());
    let cert = files.put("cert.pem", &merchant.certificate_pem);
    let key = files.put("apple.pem", &merchant.key.serialize_pem());
    let root = files.put("root.pem", &apple.root_pem);
    let words = ["wallet", "add", "applepay", "--cert", &cert, "--key", &key, "--root", &root];
    added(&world, &[&words[..7], &place].concat());
    assert!(refused(&words).contains("leave --root off"));
    added(&world, &[&words[..], &place[..2]].concat());
    let der = CertificateDer::from_pem_slice(apple.root_pem.as_bytes()).unwrap();
    let hash = maker::hex(&maker::sha256(&der)).to_uppercase();
    let listed = world.run(&["wallet", "list"]);
    let shown = |mode: &str| listed.lines().find(|line| line.contains(mode) && line.contains("applepay")).unwrap();
    assert!(shown("  test  ").contains(&hash) && !shown("  live  ").contains("root"), "{listed}");
}

pub async fn mistakes_are_named(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    let token = google.token(&card("ECv2", now()));
    let wrong = async |change: &dyn Fn(&mut Value)| {
        let mut body = charge(&world, "googlepay", &token);
        change(&mut body);
        let (status, refused) = world.post("payment", &body).await;
        let errors = refused["errors"].as_array().cloned().unwrap_or_default();
        let texts = errors.iter().map(|error| format!("{}:{}", error["field"], error["code"]).replace('"', ""));
        format!("{status} {}", texts.collect::<Vec<_>>().join(" "))
    };
    let card = world.card_charge("4111111111111111")["card"].clone();
    assert_eq!(wrong(&|body| body["card"] = card.clone()).await, "400 payment_method.token:two_sources");
    assert_eq!(
        wrong(&|body| body["payment_method"]["stored_payment_method_id"] = world.token.clone().into()).await,
        "400 payment_method.token:two_sources"
    );
    assert_eq!(
        wrong(&|body| body["payment_method"]["type"] = Value::Null).await,
        "400 payment_method.type:needs_wallet"
    );
    assert_eq!(
        wrong(&|body| body["payment_method"]["type"] = "scheme".into()).await,
        "400 payment_method.type:needs_wallet"
    );
    for none in [Value::Null, json!("")] {
        assert_eq!(
            wrong(&|body| body["payment_method"]["token"] = none.clone()).await,
            "400 payment_method.token:missing"
        );
    }
    for odd in [json!(7), json!([]), json!(true)] {
        assert_eq!(wrong(&|body| body["payment_method"]["token"] = odd.clone()).await, "400 payment_method.token:type");
    }
    let by_merchant = wrong(&|body| body["payment_method"]["initiator"] = "merchant".into()).await;
    assert_eq!(by_merchant, "400 payment_method.initiator:needs_token");
    // Not set up: the wallets of this contract that are opened elsewhere, and ours.
    for wallet in ["googlepay", "applepay"] {
        assert_eq!(
            code(&world.post("payment", &charge(&world, wallet, &token)).await),
            said(412, "ERR1015"),
            "{wallet}"
        );
    }
    let mut plain = world.token_charge(&world.token);
    for wallet in ["gcash", "paypay"] {
        plain["payment_method"] = json!({"type": wallet});
        assert_eq!(code(&world.post("payment", &plain).await), said(412, "ERR1015"), "{wallet}");
    }
}
