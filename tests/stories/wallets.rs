//! Google Pay and Apple Pay, server to server: tokens that the tests make with keys of their own.

use crate::maker::apple::{Apple, GOOD, Merchant, yen};
use crate::maker::google::{Ask, Google, card, device};
use crate::maker::{self, p256};
use crate::world::{Engine, World, address, stable};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A folder for the operator's files, apart from the gateway's own.
pub struct Files(PathBuf);

impl Files {
    pub fn new() -> Files {
        let folder = std::env::temp_dir().join(format!("fuda_files_{}", maker::hex(&maker::random::<8>())));
        std::fs::create_dir(&folder).unwrap();
        Files(folder)
    }

    pub fn put(&self, name: &str, text: &str) -> String {
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

pub fn added(world: &World, words: &[&str]) -> String {
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

pub fn code(answer: &(u16, Value)) -> (u16, String) {
    (answer.0, answer.1["gateway_response"]["code"].as_str().unwrap_or_default().to_owned())
}

pub fn said(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub async fn google_pay(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
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
    world.books_are_clean();
}

/// The other version; the number on the card; the token as the text that the button's script gives.
pub async fn google_pay_in_all_forms(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    for ask in [device("ECv1", now()), card("ECv1", now()), card("ECv2", now())] {
        let token = Value::from(google.token(&ask).to_string());
        let (status, paid) = world.post("paymentv2", &charge(&world, "googlepay", &token)).await;
        let details = &paid["payment_details"];
        assert_eq!((status, &details["payment_method"]), (201, &json!("GOOGLEPAY-SSL")), "{paid}");
        assert_eq!(details["additional_data"]["payment_data_source"]["type"], "googlepay");
    }
    world.books_are_clean();
}

/// What follows a wallet's charge is the wallet's too.
pub async fn followed(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    take_google(&world, &google, &world.keys.merchant).await;
    let (_, held) =
        world.post("authorization", &charge(&world, "googlepay", &google.token(&card("ECv2", now())))).await;
    let hold = held["transaction_details"]["id"].as_str().unwrap();
    assert_eq!((&held["payment_details"]["scheme"], &held["transaction_type"]), (&json!("VISA"), &json!("PRE_AUTH")));
    let (status, captured) = world.follow("capture", hold, Some("1000")).await;
    assert_eq!((status, &captured["payment_details"]["payment_method"]), (201, &json!("GOOGLEPAY-SSL")));
    let story = world.get(&format!("transaction/{hold}/explain")).await.1["lines"][0].clone();
    let (english, japanese) = (story["en"].as_str().unwrap(), story["ja"].as_str().unwrap());
    assert!(english.contains("411111******1111 was asked, from Google Pay, initiated by the customer"), "{english}");
    assert!(japanese.contains("オーソリの依頼（Google Pay、顧客起点）"), "{japanese}");
    let told = world.get(&format!("transaction/status/{hold}")).await.1;
    assert_eq!(told["payment_details"]["additional_data"]["payment_data_source"]["type"], "googlepay");
    assert_eq!(told["payment_details"]["card"]["number"], "411111******1111");
    world.books_are_clean();
}

pub async fn listed_and_removed(engine: Engine) {
    let world = World::new(engine).await;
    let google = Google::new();
    let id = take_google(&world, &google, &world.keys.merchant).await;
    let listed: Value = serde_json::from_str(&world.run(&["wallet", "list", "--json"])).unwrap();
    assert_eq!(listed["wallets"][0]["id"], id);
    let about = format!("{}, root keys until 2100-01-01", maker::google::RECIPIENT);
    assert_eq!(listed["wallets"][0]["about"], about);
    let text = world.run(&["wallet", "list"]);
    assert!(text.contains(&id) && text.contains("test") && !text.contains("PRIVATE"), "{text}");
    assert!(world.run(&["wallet", "remove", &id]).contains("destroyed"));
    in_force(&world, "googlepay", false).await;
    let token = google.token(&card("ECv2", now()));
    assert_eq!(code(&world.post("payment", &charge(&world, "googlepay", &token)).await), said(412, "ERR1015"));
    let merchant = &world.keys.merchant;
    let deeds = [format!("wallet.add {id} test {merchant} googlepay: {about}"), format!("wallet.remove {id} ")];
    assert_eq!(world.deeds("wallet").await, deeds);
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
    world.books_are_clean();
}

/// What the cardholder saw is what is charged.
pub async fn other_money(engine: Engine) {
    let world = World::new(engine).await;
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    take_apple(&world, &apple, &merchant).await;
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
}

/// What the log says of a refused token, by the answer's request id.
pub fn reason(world: &World, answer: &Value) -> String {
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
