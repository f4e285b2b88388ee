use crate::maker::google::{Ask, Google, RECIPIENT, card, device};
use crate::maker::{CRYPTOGRAM, DPAN, PAN, base64, p256};
use crate::{NOW, bent, node};
use fuda::wallet::googlepay::Keys;
use fuda::wallet::{Kind, Opened, Refusal};
use proptest::prelude::*;
use serde_json::{Value, json};

fn keys(google: &Google) -> Keys {
    Keys::new(RECIPIENT, None, &[&google.merchant.serialize_pem()], &google.roots()).unwrap()
}

fn open(google: &Google, token: &Value) -> Result<Opened, Refusal> {
    keys(google).open(&node(token), NOW)
}

fn word(result: Result<Opened, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.word(), |_| "opened")
}

#[test]
fn both_versions_open() {
    let google = Google::new();
    for version in ["ECv1", "ECv2"] {
        let ask = device(version, NOW);
        let opened = open(&google, &google.token(&ask)).unwrap();
        assert_eq!((opened.pan.expose(), opened.expiry.month, opened.expiry.year), (DPAN, 12, 2030));
        let Kind::Device { cryptogram, eci } = &opened.kind else { panic!("{opened:?}") };
        assert_eq!((cryptogram.expose(), eci.as_deref()), (CRYPTOGRAM, Some("05")));
        assert_eq!(opened.once, ask.message["messageId"].as_str().unwrap().as_bytes());
        assert_eq!((opened.expires_at, opened.money), (NOW + 600_000, None));
        let opened = open(&google, &google.token(&card(version, NOW))).unwrap();
        assert_eq!((opened.pan.expose(), opened.kind), (PAN, Kind::PanOnly));
    }
}

#[test]
fn several_keys_serve_a_change_of_keys() {
    let google = Google::new();
    let (new, old) = (p256().serialize_pem(), google.merchant.serialize_pem());
    let both = Keys::new(RECIPIENT, None, &[&new, &old], &google.roots()).unwrap();
    assert_eq!(word(both.open(&node(&google.token(&card("ECv2", NOW))), NOW)), "opened");
    // The base64 of PKCS#8, as Google's own library takes it.
    let bare = Keys::new(RECIPIENT, None, &[&base64(google.merchant.serialize_der())], &google.roots()).unwrap();
    assert_eq!(word(bare.open(&node(&google.token(&card("ECv1", NOW))), NOW)), "opened");
}

#[test]
fn each_reason_is_its_own() {
    let google = Google::new();
    let changed = |ask: &Ask, change: &dyn Fn(&mut Value)| {
        let mut token = google.token(ask);
        change(&mut token);
        word(open(&google, &token))
    };
    for version in ["ECv1", "ECv2"] {
        let good = device(version, NOW);
        let token = google.token(&good);
        let mut stranger = Google::new();
        assert_eq!(
            word(
                Keys::new(RECIPIENT, None, &[&p256().serialize_pem()], &google.roots())
                    .unwrap()
                    .open(&node(&token), NOW)
            ),
            "wrong_key"
        );
        let other = Ask { recipient: "merchant:1".into(), ..good.clone() };
        assert_eq!(word(open(&google, &google.token(&other))), "wrong_recipient");
        let swap = |token: &mut Value| {
            let other = google.token(&device(version, NOW));
            token["signedMessage"] = other["signedMessage"].clone();
        };
        // Sealed for us, but signed as another message.
        assert_eq!(changed(&good, &swap), "wrong_recipient");
        let flip = |token: &mut Value| {
            let mut message: Value = serde_json::from_str(token["signedMessage"].as_str().unwrap()).unwrap();
            let text = message["encryptedMessage"].as_str().unwrap();
            let first = if text.starts_with('A') { "B" } else { "A" };
            message["encryptedMessage"] = format!("{first}{}", &text[1..]).into();
            token["signedMessage"] = message.to_string().into();
        };
        assert_eq!(changed(&good, &flip), "changed");
        stranger.merchant = p256();
        assert!(["broken_chain", "changed"].contains(&word(open(&google, &stranger.token(&good)))));
        let mut late = good.clone();
        late.message["messageExpiration"] = NOW.to_string().into();
        assert_eq!(word(open(&google, &google.token(&late))), "expired");
        late.message["messageExpiration"] = (NOW + 1).to_string().into();
        assert_eq!(word(open(&google, &google.token(&late))), "opened");
        // One version's token under the other's name.
        let other = if version == "ECv1" { "ECv2" } else { "ECv1" };
        let renamed = changed(&good, &|token| token["protocolVersion"] = other.into());
        assert!(["malformed", "changed", "wrong_recipient"].contains(&renamed), "{renamed}");
        assert_eq!(changed(&good, &|token| token["protocolVersion"] = "ECv3".into()), "unsupported");
        let mut odd = good.clone();
        odd.message["paymentMethodDetails"]["authMethod"] = "NEW_WAY".into();
        assert_eq!(word(open(&google, &google.token(&odd))), "unsupported");
    }
}

fn copy(key: &rcgen::KeyPair) -> rcgen::KeyPair {
    rcgen::KeyPair::from_pem(&key.serialize_pem()).unwrap()
}

/// Sealed for us, the right bytes signed, by keys that are not Google's.
#[test]
fn nobody_else_signs() {
    let google = Google::new();
    let forger = Google { root: p256(), intermediate: p256(), merchant: copy(&google.merchant) };
    assert_eq!(word(open(&google, &forger.token(&card("ECv1", NOW)))), "wrong_recipient");
    let genuine = google.token(&card("ECv2", NOW));
    let mut token = forger.token(&card("ECv2", NOW));
    assert_eq!(word(open(&google, &token)), "broken_chain");
    // Google's own intermediate key, and a message that it did not sign.
    token["intermediateSigningKey"] = genuine["intermediateSigningKey"].clone();
    assert_eq!(word(open(&google, &token)), "wrong_recipient");
    // The forger's intermediate key under a signature of Google's over another, and under none.
    let mut token = forger.token(&card("ECv2", NOW));
    let signatures = &mut token["intermediateSigningKey"]["signatures"];
    *signatures = genuine["intermediateSigningKey"]["signatures"].clone();
    assert_eq!(word(open(&google, &token)), "broken_chain");
    token["intermediateSigningKey"]["signatures"] = json!([]);
    assert_eq!(word(open(&google, &token)), "broken_chain");
    // Past, and made to look as if it lasted.
    let mut ask = card("ECv2", NOW);
    ask.key_expiration = NOW - 1;
    let mut token = google.token(&ask);
    let key = &mut token["intermediateSigningKey"]["signedKey"];
    *key = key.as_str().unwrap().replace(&(NOW - 1).to_string(), &(NOW + 9).to_string()).into();
    assert_eq!(word(open(&google, &token)), "broken_chain");
}

#[test]
fn an_intermediate_key_stands_on_a_root_in_force() {
    let google = Google::new();
    let token = google.token(&card("ECv2", NOW));
    let mut ask = card("ECv2", NOW);
    ask.key_expiration = NOW;
    assert_eq!(word(open(&google, &google.token(&ask))), "expired");
    let other = Google { root: p256(), intermediate: p256(), merchant: p256() };
    let private = google.merchant.serialize_pem();
    let strange = Keys::new(RECIPIENT, None, &[&private], &other.roots()).unwrap();
    assert_eq!(word(strange.open(&node(&token), NOW)), "broken_chain");
    let past = google.roots().replace("4102444800000", &NOW.to_string());
    let past = Keys::new(RECIPIENT, None, &[&private], &past).unwrap();
    assert_eq!(word(past.open(&node(&token), NOW)), "broken_chain");
    assert_eq!(word(past.open(&node(&token), NOW - 1)), "opened");
    // A root of the other version signs nothing here.
    let old = json!({"keys": [{"protocolVersion": "ECv1",
        "keyValue": base64(rcgen::PublicKeyData::subject_public_key_info(&google.root))}]});
    let old = Keys::new(RECIPIENT, None, &[&private], &old.to_string()).unwrap();
    assert_eq!(word(old.open(&node(&token), NOW)), "broken_chain");
}

#[test]
fn a_gateway_knows_its_merchants_apart() {
    let google = Google::new();
    let private = google.merchant.serialize_pem();
    let open = |merchant: &str| {
        let keys = Keys::new("gateway:fuda", Some(merchant), &[&private], &google.roots()).unwrap();
        let ask = Ask { recipient: "gateway:fuda".into(), ..card("ECv2", NOW) };
        word(keys.open(&node(&google.token(&ask)), NOW))
    };
    assert_eq!((open("shop-1"), open("shop-2")), ("opened", "wrong_recipient"));
}

#[test]
fn set_up_says_what_is_wrong() {
    let google = Google::new();
    let (key, roots) = (google.merchant.serialize_pem(), google.roots());
    let wrong = |recipient: &str, merchant: Option<&str>, keys: &[&str], roots: &str| {
        Keys::new(recipient, merchant, keys, roots).err().unwrap_or_default()
    };
    assert_eq!(wrong(RECIPIENT, None, &[&key], &roots), "");
    assert!(wrong("12345", None, &[&key], &roots).contains("merchant:<id>"));
    assert!(wrong("merchant:", None, &[&key], &roots).contains("merchant:<id>"));
    assert!(wrong("gateway:fuda", None, &[&key], &roots).contains("--gateway-merchant-id"));
    assert!(wrong(RECIPIENT, None, &[], &roots).contains("private key"));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    for bad in ["", "no key", p384.as_str()] {
        assert!(wrong(RECIPIENT, None, &[bad], &roots).contains("openssl genpkey"), "{bad}");
    }
    for bad in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"protocolVersion":"ECv2","keyValue":"AAAA"}]}"#] {
        assert!(wrong(RECIPIENT, None, &[&key], bad).contains("keys.json"), "{bad}");
    }
}

#[test]
fn every_member_is_needed_and_typed() {
    let google = Google::new();
    for name in ["signature", "protocolVersion", "signedMessage", "intermediateSigningKey"] {
        for odd in [Value::Null, json!(7), json!([]), json!({}), json!(""), json!("💳"), json!("x".repeat(70_000))] {
            let mut token = google.token(&card("ECv2", NOW));
            token[name] = odd.clone();
            let said = word(open(&google, &token));
            assert!(["malformed", "unsupported", "wrong_recipient", "changed"].contains(&said), "{name} {said}");
        }
    }
    // Signed by Google and sealed for us, yet not what the documents say.
    for name in ["messageExpiration", "messageId", "paymentMethodDetails"] {
        let mut ask = card("ECv2", NOW);
        ask.message.as_object_mut().unwrap().remove(name);
        assert_eq!(word(open(&google, &google.token(&ask))), "malformed", "{name}");
    }
    for (name, odd) in [("pan", "4111111111111112"), ("cryptogram", "not base64!"), ("eciIndicator", "123")] {
        let mut ask = device("ECv2", NOW);
        ask.message["paymentMethodDetails"][name] = odd.into();
        assert_eq!(word(open(&google, &google.token(&ask))), "malformed", "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// What opens in spite of a change is the same card, for the same one payment: a name that is not looked at was changed.
    #[test]
    fn no_changed_byte_changes_what_opens(at in 0usize..4000, by in 1u8..=255, first in any::<bool>()) {
        let google = Google::new();
        let token = google.token(&device(if first { "ECv1" } else { "ECv2" }, NOW)).to_string();
        if let Some(text) = bent(&token, at, by)
            && let Ok(token_node) = fuda::wallet::parse(&text)
            && let Ok(opened) = keys(&google).open(&token_node, NOW)
        {
            let before = keys(&google).open(&fuda::wallet::parse(&token).unwrap(), NOW).unwrap();
            prop_assert_eq!(opened, before);
        }
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,200}", value in json_value()) {
        let google = Google::new();
        prop_assert!(fuda::wallet::parse(&text).is_err() || keys(&google).open(&fuda::wallet::parse(&text).unwrap(), NOW).is_err());
        if let Ok(node) = fuda::wallet::parse(&value.to_string()) {
            prop_assert!(keys(&google).open(&node, NOW).is_err());
        }
    }
}

/// Trees with the names that tokens have.
pub fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[A-Za-z0-9+/=]{0,80}".prop_map(Value::from),
        Just(json!("ECv1")),
        Just(json!("ECv2")),
        Just(json!("EC_v1")),
        Just(json!("RSA_v1")),
    ];
    let name = prop::sample::select(vec![
        "protocolVersion",
        "signature",
        "signedMessage",
        "intermediateSigningKey",
        "signedKey",
        "signatures",
        "version",
        "data",
        "header",
        "ephemeralPublicKey",
        "wrappedKey",
        "publicKeyHash",
        "transactionId",
        "paymentData",
    ]);
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}
