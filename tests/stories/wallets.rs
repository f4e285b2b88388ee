//! Google Pay and Apple Pay, server to server: tokens that the tests make with keys of their own.

use crate::maker::apple::{Apple, GOOD, Merchant, yen};
use crate::maker::google::{Ask, Google, card, device, pan_only};
use crate::maker::{self, p256};
use crate::world::{Engine, Keys, World, address, answer, fuda, stable};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A folder for the operator's files, apart from the gateway's own.
struct Files(PathBuf);

impl Files {
    fn new() -> Files {
        let folder = std::env::temp_dir().join(format!("fuda_files_{}", maker::hex(&maker::random::<8>())));
        std::fs::create_dir(&folder).unwrap();
        Files(folder)
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// By the command line, beside the running gateway; answers with the id once it is in force.
pub async fn take_google(world: &World, google: &Google, merchant: &str) -> String {
    let files = Files::new();
    let key = files.put("key.pem", &google.merchant.serialize_pem());
    let roots = files.put("keys.json", &google.roots());
    let words = ["wallet", "add", "googlepay", "--merchant", merchant, "--recipient", maker::google::RECIPIENT];
    let id = added(world, &[&words[..], &["--key", &key, "--roots", &roots]].concat());
    in_force(world, "googlepay", true).await;
    id
}

pub async fn take_apple(world: &World, apple: &Apple, merchant: &Merchant) -> String {
    let files = Files::new();
    let (cert, key) =
        (files.put("c.pem", &merchant.certificate_pem), files.put("k.pem", &merchant.key.serialize_pem()));
    let root = files.put("root.pem", &apple.root_pem);
    let words = ["wallet", "add", "applepay", "--merchant", &world.keys.merchant, "--cert", &cert];
    let id = added(world, &[&words[..], &["--key", &key, "--root", &root]].concat());
    in_force(world, "applepay", true).await;
    id
}

fn added(world: &World, words: &[&str]) -> String {
    let said: Value = serde_json::from_str(&world.run(&[words, &["--json"]].concat())).unwrap();
    said["id"].as_str().unwrap().to_owned()
}

/// Every process follows within a second.
async fn in_force(world: &World, wallet: &str, wanted: bool) {
    for _ in 0..60 {
        let code =
            world.post("payment", &charge(world, wallet, &json!({"x": 1}))).await.1["gateway_response"]["code"].clone();
        if (code == "ERR1001") == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the change of a wallet was not followed");
}

pub fn charge(world: &World, wallet: &str, token: &Value) -> Value {
    json!({
        "amount": "1000", "currency": "JPY", "merchant_id": world.keys.merchant,
        "payment_method": {"type": wallet, "token": token},
        "billing_address": address("billing@testemail.com"),
    })
}

fn code(answer: &(u16, Value)) -> (u16, String) {
    (answer.0, answer.1["gateway_response"]["code"].as_str().unwrap_or_default().to_owned())
}

fn said(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub async fn google_pay(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    let id = take_google(&world, &google, &world.keys.merchant).await;
    let (status, paid) =
        world.post("payment", &charge(&world, "googlepay", &google.token(&device("ECv2", now())))).await;
    assert_eq!(status, 201);
    insta::assert_snapshot!(stable(&paid).replace(&world.keys.merchant, "<mid>"), @r#"
    {
      "gateway_response": {
        "code": "INFO0000",
        "message": "Payment Successful.",
        "type": "INFO",
        "version": "1"
      },
      "is_live": false,
      "merchant_details": {
        "billing_details": {
          "billing_address": {
            "address1": "1-2-3 Shinjuku",
            "city": "Shinjuku-ku",
            "country": "JP",
            "email": "billing@testemail.com",
            "phone_number": "8112345678",
            "postal_code": "1600022",
            "state": "Tokyo"
          }
        },
        "device_details": {
          "customer_ip": null,
          "visited_ip": "127.0.0.1"
        },
        "legal_name": "札の店 (Fuda sandbox)",
        "mid": "<mid>"
      },
      "payment_details": {
        "additional_data": {
          "payment_data_source": {
            "type": "googlepay"
          }
        },
        "amount": 1000,
        "auth_code": "<auth code>",
        "card": {
          "exp_month": "12",
          "exp_year": "30",
          "name": "",
          "number": "520000******1005"
        },
        "currency": "JPY",
        "payment_method": "GOOGLEPAY-SSL",
        "response_code": 0,
        "scheme": "MASTERCARD"
      },
      "risk-details": {
        "risk_score": null
      },
      "status_code": 201,
      "success": true,
      "transaction_details": {
        "id": "<id>",
        "ref": "<ref>",
        "timestamp": "<timestamp>"
      },
      "transaction_type": "CAPTURE"
    }
    "#);
    // The other version; the number on the card; the token as the text that the button's script gives.
    for ask in [device("ECv1", now()), card("ECv1", now()), card("ECv2", now())] {
        let token = Value::from(google.token(&ask).to_string());
        let (status, paid) = world.post("paymentv2", &charge(&world, "googlepay", &token)).await;
        let details = &paid["payment_details"];
        assert_eq!((status, &details["payment_method"]), (201, &json!("GOOGLEPAY-SSL")), "{paid}");
        assert_eq!(details["additional_data"]["payment_data_source"]["type"], "googlepay");
    }
    // What follows it is the wallet's too.
    let (_, held) =
        world.post("authorization", &charge(&world, "googlepay", &google.token(&card("ECv2", now())))).await;
    let hold = held["transaction_details"]["id"].as_str().unwrap();
    assert_eq!((&held["payment_details"]["scheme"], &held["transaction_type"]), (&json!("VISA"), &json!("PRE_AUTH")));
    let (status, captured) = world.follow("capture", hold, Some("1000")).await;
    assert_eq!((status, &captured["payment_details"]["payment_method"]), (201, &json!("GOOGLEPAY-SSL")));
    let told = world.get(&format!("transaction/status/{hold}")).await.1;
    assert_eq!(told["payment_details"]["additional_data"]["payment_data_source"]["type"], "googlepay");
    assert_eq!(told["payment_details"]["card"]["number"], "411111******1111");
    let listed: Value = serde_json::from_str(&world.run(&["wallet", "list", "--json"])).unwrap();
    assert_eq!(listed["wallets"][0]["id"], id);
    assert_eq!(listed["wallets"][0]["about"], maker::google::RECIPIENT);
    let text = world.run(&["wallet", "list"]);
    assert!(text.contains(&id) && text.contains("test") && !text.contains("PRIVATE"), "{text}");
    assert!(world.run(&["wallet", "remove", &id]).contains("destroyed"));
    in_force(&world, "googlepay", false).await;
    let token = google.token(&card("ECv2", now()));
    assert_eq!(code(&world.post("payment", &charge(&world, "googlepay", &token)).await), said(412, "ERR1015"));
    let merchant = &world.keys.merchant;
    let deeds = [
        format!("wallet.add {id} test {merchant} googlepay: {}", maker::google::RECIPIENT),
        format!("wallet.remove {id} "),
    ];
    assert_eq!(world.deeds("wallet").await, deeds);
    world.books_are_clean();
}

pub async fn apple_pay(engine: Engine) {
    let world = World::new(engine).await;
    let (apple, merchant, later) = (Apple::new(GOOD), Merchant::ec(), Merchant::rsa());
    take_apple(&world, &apple, &merchant).await;
    let token = apple.token(&merchant, &yen(1000, now()));
    let (status, paid) = world.post("payment", &charge(&world, "applepay", &token)).await;
    assert_eq!(status, 201);
    insta::assert_snapshot!(stable(&json!({"payment_details": paid["payment_details"]})), @r#"
    {
      "payment_details": {
        "additional_data": {
          "payment_data_source": {
            "type": "applepay"
          }
        },
        "amount": 1000,
        "auth_code": "<auth code>",
        "card": {
          "exp_month": "12",
          "exp_year": "30",
          "name": "",
          "number": "520000******1005"
        },
        "currency": "JPY",
        "payment_method": "APPLEPAY-SSL",
        "response_code": 0,
        "scheme": "MASTERCARD"
      }
    }
    "#);
    // A second certificate beside the first, while they are being changed. It is read within a second.
    take_apple(&world, &apple, &later).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for merchant in [&merchant, &later] {
        let token = json!({"paymentData": apple.token(merchant, &yen(1000, now())), "transactionIdentifier": "A1"});
        assert_eq!(code(&world.post("paymentv2", &charge(&world, "applepay", &token)).await), said(201, "INFO0000"));
    }
    // What the cardholder saw is what is charged.
    let mut other = charge(&world, "applepay", &apple.token(&merchant, &yen(1001, now())));
    let (status, refused) = world.post("payment", &other).await;
    insta::assert_snapshot!(format!("{status} {}", stable(&refused)), @r#"
    400 {
      "errors": [
        {
          "code": "wallet_amount",
          "field": "amount",
          "message": "The cardholder agreed to another amount in the wallet."
        }
      ],
      "gateway_response": {
        "code": "VAL0002",
        "message": "Request is not valid.",
        "type": "ERROR",
        "version": "1"
      },
      "is_live": false,
      "request_id": "<request id>",
      "status_code": 400,
      "success": false,
      "transaction_details": {
        "id": null,
        "merchant_txn_ref": null,
        "ref": null,
        "timestamp": null
      },
      "transaction_type": "CAPTURE"
    }
    "#);
    other["payment_method"]["token"] = apple.token(&merchant, &yen(1000, now()));
    other["currency"] = "USD".into();
    let (status, refused) = world.post("payment", &other).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (400, &json!("currency")), "{refused}");
    world.books_are_clean();
}

/// What the log says of a refused token, by the answer's request id.
fn reason(world: &World, answer: &Value) -> String {
    let id = answer["request_id"].as_str().unwrap();
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    let line = log.lines().find(|line| line.contains(id) && line.contains("token was refused"));
    let line = line.unwrap_or_else(|| panic!("the log says nothing of {answer}"));
    line.split("reason=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

pub async fn each_reason_is_in_the_log(engine: Engine) {
    let world = World::new(engine).await;
    let (google, apple, merchant) = (Google::new(), Apple::new(GOOD), Merchant::ec());
    take_google(&world, &google, &world.keys.merchant).await;
    take_apple(&world, &apple, &merchant).await;
    let good = card("ECv2", now());
    let strange = Google { merchant: p256(), ..Google::new() };
    let other_key = Google { root: copy(&google.root), intermediate: copy(&google.intermediate), merchant: p256() };
    let other_root = Google { merchant: copy(&google.merchant), ..Google::new() };
    let mut late = good.clone();
    late.message["messageExpiration"] = (now() - 1).to_string().into();
    let mut changed = google.token(&good);
    changed["signature"] = strange.token(&good)["signature"].clone();
    let mut message: Value = serde_json::from_str(changed["signedMessage"].as_str().unwrap()).unwrap();
    message["tag"] = maker::base64([0; 32]).into();
    changed["signedMessage"] = message.to_string().into();
    let mut old = yen(1000, now());
    old.signed_at -= 301_000;
    let mut bent = apple.token(&merchant, &yen(1000, now()));
    bent["header"]["transactionId"] = "00".repeat(32).into();
    let (paid, paid_apple) = (google.token(&good), apple.token(&merchant, &yen(1000, now())));
    assert_eq!(code(&world.post("payment", &charge(&world, "googlepay", &paid)).await), said(201, "INFO0000"));
    assert_eq!(code(&world.post("payment", &charge(&world, "applepay", &paid_apple)).await), said(201, "INFO0000"));
    let mut dead = device("ECv2", now());
    dead.message["paymentMethodDetails"]["expirationYear"] = 2020.into();
    for (wallet, token, code_outside, inside) in [
        ("googlepay", other_key.token(&good), "ERR1001", "wrong_key"),
        (
            "googlepay",
            google.token(&Ask { recipient: "merchant:1".into(), ..good.clone() }),
            "ERR1015",
            "wrong_recipient",
        ),
        ("googlepay", changed, "ERR1001", "changed"),
        ("googlepay", other_root.token(&good), "ERR1001", "broken_chain"),
        ("googlepay", google.token(&late), "ERR1001", "expired"),
        ("googlepay", paid, "ERR1001", "replayed"),
        ("googlepay", json!("{"), "ERR1001", "malformed"),
        ("googlepay", google.token(&dead), "ERR1002", "card_expired"),
        ("applepay", apple.token(&Merchant::ec(), &yen(1000, now())), "ERR1015", "wrong_recipient"),
        (
            "applepay",
            apple.token(&Merchant::with(copy(&merchant.key), "merchant.x"), &yen(1000, now())),
            "ERR1001",
            "wrong_key",
        ),
        ("applepay", bent, "ERR1001", "changed"),
        ("applepay", Apple::new(GOOD).token(&merchant, &yen(1000, now())), "ERR1001", "broken_chain"),
        ("applepay", apple.token(&merchant, &old), "ERR1001", "expired"),
        ("applepay", paid_apple, "ERR1001", "replayed"),
        ("applepay", google.token(&good), "ERR1001", "malformed"),
    ] {
        let answered = world.post("payment", &charge(&world, wallet, &token)).await;
        let status = if code_outside == "ERR1015" { 412 } else { 406 };
        assert_eq!(code(&answered), said(status, code_outside), "{inside}");
        assert_eq!(answered.1["transaction_details"]["id"], Value::Null, "nothing is recorded");
        assert_eq!(reason(&world, &answered.1), inside);
        // Outside they are all alike.
        let words = answered.1.to_string();
        assert!(!words.contains(inside) && answered.1.get("errors").is_none(), "{words}");
    }
    let metrics = world.http.get(format!("{}/metrics", world.server.base)).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("fuda_wallet_tokens_refused_total{wallet=\"googlepay\",reason=\"replayed\"} 1"),
        "{metrics}"
    );
}

fn copy(key: &rcgen::KeyPair) -> rcgen::KeyPair {
    rcgen::KeyPair::from_pem(&key.serialize_pem()).unwrap()
}

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
    let mut gone = card("ECv2", now());
    gone.message["messageExpiration"] = (now() + 600_000).to_string().into();
    assert_eq!(world.texts("SELECT COUNT(*) FROM wallet_tokens").await, ["2"]);
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
    let add = ["wallet", "add", "googlepay", "--recipient", maker::google::RECIPIENT, "--key", &key, "--roots", &roots];
    // Live tokens are not test tokens; the other entity's merchant is not ours.
    added(&world, &[&add[..], &["--merchant", &world.keys.merchant, "--live"]].concat());
    added(&world, &[&add[..], &["--merchant", &stranger.merchant]].concat());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let token = google.token(&card("ECv2", now()));
    let ours = charge(&world, "googlepay", &token);
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
    let mut body = charge(&world, "googlepay", &google.token(&card("ECv2", now())));
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
    assert!(wrong(&["wallet", "remove", "wal_00000000000000000000000000000000"]).contains("fuda wallet list"));
    assert!(world.run(&["wallet", "add", "applepay", "--help"]).contains("fuda wallet add applepay --merchant"));
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
