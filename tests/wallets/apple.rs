use crate::google::json_value;
use crate::maker::apple::{Apple, Ask, Chain, Flaw, GOOD, Merchant, yen};
use crate::maker::{CRYPTOGRAM, DPAN, p256};
use crate::{NOW, bent, node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fuda::wallet::applepay::{APPLE_ROOT, Keys, WINDOW_MS};
use fuda::wallet::{Kind, Opened, Refusal};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn keys(apple: &Apple, merchant: &Merchant) -> Keys {
    Keys::new(&[(&merchant.certificate_pem, &merchant.key.serialize_pem())], &apple.root_pem).unwrap()
}

fn word(result: Result<Opened, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.word(), |_| "opened")
}

fn rsa_apple() -> Apple {
    Apple::with(GOOD, rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap())
}

#[test]
fn both_versions_open() {
    for (apple, merchant) in [(Apple::new(GOOD), Merchant::ec()), (rsa_apple(), Merchant::rsa())] {
        let keys = keys(&apple, &merchant);
        for der in [false, true] {
            let ask = Ask { der, application_data: vec![7; 32], ..yen(1000, NOW) };
            let opened = keys.open(&node(&apple.token(&merchant, &ask)), NOW).unwrap();
            assert_eq!((opened.pan.expose(), opened.expiry.month, opened.expiry.year), (DPAN, 12, 2030));
            let Kind::Device { cryptogram, eci } = &opened.kind else { panic!("{opened:?}") };
            assert_eq!((cryptogram.expose(), eci.as_deref()), (CRYPTOGRAM, Some("07")));
            let money = opened.money.unwrap();
            assert_eq!((money.minor, money.currency.code()), (1000, "JPY"));
            assert_eq!(opened.expires_at, NOW + WINDOW_MS);
        }
        // As the script hands it over: with the network and a display name around it.
        let token = json!({"paymentData": apple.token(&merchant, &yen(1, NOW)), "transactionIdentifier": "AB",
                           "paymentMethod": {"network": "Visa", "displayName": "Visa 1005"}});
        assert_eq!(word(keys.open(&node(&token), NOW)), "opened");
    }
}

#[test]
fn apples_own_root_is_built_in() {
    let merchant = Merchant::ec();
    let pair = (merchant.certificate_pem.as_str(), merchant.key.serialize_pem());
    let keys = Keys::new(&[(pair.0, &pair.1)], APPLE_ROOT).unwrap();
    let der = APPLE_ROOT.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let hash = crate::maker::hex(&crate::maker::sha256(&STANDARD.decode(der).unwrap()));
    // As Apple prints it beside the file.
    assert_eq!(hash, "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179");
    let token = Apple::new(GOOD).token(&merchant, &yen(1, NOW));
    assert_eq!(word(keys.open(&node(&token), NOW)), "broken_chain");
}

#[test]
fn each_reason_is_its_own() {
    let apple = Apple::new(GOOD);
    let merchant = Merchant::ec();
    let keys = keys(&apple, &merchant);
    let good = yen(1000, NOW);
    let token = apple.token(&merchant, &good);
    let open = |token: &Value| word(keys.open(&node(token), NOW));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut token = token.clone();
        change(&mut token);
        open(&token)
    };
    assert_eq!(open(&token), "opened");
    assert_eq!(open(&apple.token(&Merchant::ec(), &good)), "wrong_recipient");
    // The same key, but the key's derivation names another merchant.
    let key = rcgen::KeyPair::from_pem(&merchant.key.serialize_pem()).unwrap();
    assert_eq!(open(&apple.token(&Merchant::with(key, "merchant.other"), &good)), "wrong_key");
    // Signed by Apple for another, but says that it is ours.
    let mut other = apple.token(&Merchant::ec(), &good);
    other["header"]["publicKeyHash"] = token["header"]["publicKeyHash"].clone();
    assert_eq!(open(&other), "wrong_key");
    let flip = |name: &'static str, header: bool| {
        with(&move |token: &mut Value| {
            let place = if header { &mut token["header"][name] } else { &mut token[name] };
            let mut bytes = STANDARD.decode(place.as_str().unwrap()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            *place = STANDARD.encode(bytes).into();
        })
    };
    assert_eq!((flip("data", false), flip("ephemeralPublicKey", true)), ("changed", "changed"));
    assert_eq!(with(&|token| token["header"]["transactionId"] = "00".repeat(32).into()), "changed");
    assert_eq!(with(&|token| token["header"]["applicationData"] = "00".into()), "changed");
    assert_eq!(with(&|token| token["version"] = "EC_v2".into()), "unsupported");
    let later = |ahead: i64| word(keys.open(&node(&token), NOW + ahead));
    assert_eq!((later(WINDOW_MS), later(WINDOW_MS + 1)), ("opened", "expired"));
    assert_eq!((later(-WINDOW_MS), later(-WINDOW_MS - 1)), ("opened", "expired"));
    let mut emv = good.clone();
    emv.message["paymentDataType"] = "EMV".into();
    assert_eq!(open(&apple.token(&merchant, &emv)), "unsupported");
}

#[test]
fn a_chain_is_marked_and_in_force() {
    let merchant = Merchant::ec();
    for chain in [
        Chain { leaf_mark: false, ..GOOD },
        Chain { intermediate_mark: false, ..GOOD },
        Chain { leaf_by_root: true, ..GOOD },
        Chain { ends: 2026, ..GOOD },
        Chain { intermediate_ends: 2026, ..GOOD },
        Chain { intermediate_ca: false, ..GOOD },
    ] {
        let apple = Apple::new(chain);
        let opened = keys(&apple, &merchant).open(&node(&apple.token(&merchant, &yen(1, NOW))), NOW);
        assert_eq!(word(opened), "broken_chain");
    }
    let (apple, stranger) = (Apple::new(GOOD), Apple::new(GOOD));
    let opened = keys(&apple, &merchant).open(&node(&stranger.token(&merchant, &yen(1, NOW))), NOW);
    assert_eq!(word(opened), "broken_chain");
}

/// All but the one thing is as it should be: what refuses it is the check of that thing.
#[test]
fn a_signature_is_whole() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    let open = |flaw| word(keys.open(&node(&apple.token(&merchant, &Ask { flaw, ..yen(1, NOW) })), NOW));
    assert_eq!(open(Flaw::None), "opened");
    assert_eq!(open(Flaw::Forged), "changed");
    assert_eq!(open(Flaw::Attributes), "changed");
    assert_eq!(open(Flaw::Algorithm), "changed");
    assert_eq!(open(Flaw::Other(4)), "changed");
    assert_eq!(open(Flaw::Stranger), "broken_chain");
    for number in 3..=5 {
        assert_eq!(open(Flaw::Missing(number)), "malformed", "{number}");
        assert_eq!(open(Flaw::Twice(number)), "malformed", "{number}");
        assert_eq!(open(Flaw::TwoValues(number)), "malformed", "{number}");
    }
    assert_eq!(open(Flaw::Other(3)), "malformed");
    let unlike_apples =
        [Flaw::NoAttributes, Flaw::Digest, Flaw::TwoSigners, Flaw::NoSigner, Flaw::Attached, Flaw::Content, Flaw::Kind];
    for flaw in unlike_apples {
        assert_eq!(open(flaw), "malformed", "{flaw:?}");
    }
    // What follows the signature is no part of it.
    let mut token = apple.token(&merchant, &yen(1, NOW));
    let longer = [STANDARD.decode(token["signature"].as_str().unwrap()).unwrap(), vec![5, 0]].concat();
    token["signature"] = STANDARD.encode(longer).into();
    assert_eq!(word(keys.open(&node(&token), NOW)), "malformed");
}

#[test]
fn further_certificates_are_few_and_short() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    let open = |count, modulus| {
        let ask = Ask { flaw: Flaw::Certificates(count, modulus), ..yen(1, NOW) };
        word(keys.open(&node(&apple.token(&merchant, &ask)), NOW))
    };
    assert_eq!((open(2, 256), open(3, 256)), ("opened", "malformed"));
    assert_eq!((open(1, 512), open(1, 513)), ("opened", "unsupported"));
}

/// The parsers put sets in order, which takes the square of their size, before any signature can be looked at.
#[test]
fn a_crowd_is_turned_away_at_once() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    // The last ones are within the length of a signature.
    for (flaw, expected) in [
        (Flaw::Crowd(1, 32), "opened"),
        (Flaw::Crowd(32, 1), "opened"),
        (Flaw::Long(14_000), "opened"),
        (Flaw::Deep(16), "opened"),
        (Flaw::Crowd(1, 11_000), "malformed"),
        (Flaw::Crowd(1, 3_000), "malformed"),
        (Flaw::Crowd(1, 33), "malformed"),
        (Flaw::Crowd(33, 1), "malformed"),
        (Flaw::Crowd(500, 1), "malformed"),
        (Flaw::Crowd(30, 32), "malformed"),
        (Flaw::Long(16_384), "malformed"),
        (Flaw::Deep(17), "malformed"),
        (Flaw::Deep(900), "malformed"),
    ] {
        let token = node(&apple.token(&merchant, &Ask { flaw, ..yen(1, NOW) }));
        let timed = || {
            let began = Instant::now();
            assert_eq!(word(keys.open(&token, NOW)), expected, "{flaw:?}");
            began.elapsed()
        };
        // The best of some: the machine does other things, too.
        let best = (0..5).map(|_| timed()).min().unwrap();
        assert!(expected == "opened" || best < Duration::from_millis(50), "{flaw:?} {best:?}");
    }
}

/// The set-up that a token is for is told by its header: the others do not read its signature.
#[test]
fn the_recipient_comes_first() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let mut token = apple.token(&merchant, &yen(1, NOW));
    token["signature"] = STANDARD.encode([5, 0]).into();
    let open = |merchant: &Merchant| word(keys(&apple, merchant).open(&node(&token), NOW));
    assert_eq!((open(&merchant), open(&Merchant::ec())), ("malformed", "wrong_recipient"));
}

/// As `card.name` of a request: what could not be stored there is not stored from here.
#[test]
fn a_name_is_a_name() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    let name = |name: Value| {
        let mut ask = yen(1, NOW);
        ask.message["cardholderName"] = name;
        keys.open(&node(&apple.token(&merchant, &ask)), NOW).unwrap().name
    };
    for good in ["山田 太郎", "Zoë O'Neil-Smith", "", &"é".repeat(255)] {
        assert_eq!(name(good.into()), good);
    }
    let long = "x".repeat(256);
    for bad in
        [DPAN, "card 4111-1111 1111 1111!", "４１１１１１１１１１１１１１１１", "a\nb", "a\u{0}", "\u{85}", &long]
    {
        assert_eq!(name(bad.into()), "", "{bad:?}");
    }
    assert_eq!(name(json!(["x"])), "");
}

/// Nothing marks where one signed part ends: a digit can move from the transaction id to the next member, and the
/// signature still fits. It is the same token all the same.
#[test]
fn a_moved_mark_makes_no_second_token() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    let token = apple.token(&merchant, &yen(1000, NOW));
    let mut moved = token.clone();
    let id = token["header"]["transactionId"].as_str().unwrap();
    moved["header"]["transactionId"] = id[..60].to_uppercase().into();
    moved["header"]["applicationData"] = id[60..].into();
    let (first, second) = (keys.open(&node(&token), NOW).unwrap(), keys.open(&node(&moved), NOW).unwrap());
    assert_eq!(first.once, second.once);
    let other = apple.token(&merchant, &yen(1000, NOW));
    assert_ne!(keys.open(&node(&other), NOW).unwrap().once, first.once);
}

#[test]
fn set_up_says_what_is_wrong() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let (certificate, key) = (merchant.certificate_pem.as_str(), merchant.key.serialize_pem());
    let wrong =
        |certificate: &str, key: &str, root: &str| Keys::new(&[(certificate, key)], root).err().unwrap_or_default();
    assert_eq!(wrong(certificate, &key, &apple.root_pem), "");
    assert!(wrong("", &key, &apple.root_pem).contains("openssl x509"));
    assert!(wrong(certificate, "", &apple.root_pem).contains("private key"));
    assert!(wrong(certificate, &key, "no root").contains("root"));
    for other in [p256().serialize_pem(), Merchant::rsa().key.serialize_pem()] {
        assert!(wrong(certificate, &other, &apple.root_pem).contains("not the certificate's"));
    }
    // A certificate that names no merchant: the root's, with a key of its own.
    let plain = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
    assert!(wrong(&plain.cert.pem(), &plain.signing_key.serialize_pem(), &apple.root_pem).contains("100.6.32"));
    assert!(Keys::new(&[], &apple.root_pem).is_err());
}

#[test]
fn every_member_is_needed_and_typed() {
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let keys = keys(&apple, &merchant);
    let token = apple.token(&merchant, &yen(1000, NOW));
    for path in [
        "/version",
        "/data",
        "/signature",
        "/header",
        "/header/ephemeralPublicKey",
        "/header/publicKeyHash",
        "/header/transactionId",
    ] {
        for odd in [Value::Null, json!(7), json!([]), json!({}), json!("💳"), json!("AAAA"), json!("é".repeat(30_000))]
        {
            let mut token = token.clone();
            *token.pointer_mut(path).unwrap() = odd.clone();
            let said = word(keys.open(&node(&token), NOW));
            let known = ["malformed", "unsupported", "changed", "wrong_recipient"];
            assert!(known.contains(&said), "{path} {said}");
        }
    }
    for path in [
        "/applicationPrimaryAccountNumber",
        "/applicationExpirationDate",
        "/currencyCode",
        "/transactionAmount",
        "/paymentDataType",
        "/paymentData",
        "/paymentData/onlinePaymentCryptogram",
    ] {
        for odd in [Value::Null, json!(-7), json!([]), json!("é1")] {
            let mut ask = yen(1000, NOW);
            *ask.message.pointer_mut(path).unwrap() = odd;
            let said = word(keys.open(&node(&apple.token(&merchant, &ask)), NOW));
            assert!(["malformed", "unsupported"].contains(&said), "{path} {said}");
        }
    }
}

/// Keys are slow to make: once for all cases.
fn shared() -> &'static (Apple, Merchant, Keys) {
    static SHARED: OnceLock<(Apple, Merchant, Keys)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
        let keys = keys(&apple, &merchant);
        (apple, merchant, keys)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_byte_changes_what_opens(at in 0usize..4000, by in 1u8..=255) {
        let (apple, merchant, keys) = shared();
        let token = apple.token(merchant, &yen(1000, NOW)).to_string();
        if let Some(text) = bent(&token, at, by)
            && let Ok(token_node) = fuda::wallet::parse(&text)
            && let Ok(opened) = keys.open(&token_node, NOW)
        {
            prop_assert_eq!(opened, keys.open(&fuda::wallet::parse(&token).unwrap(), NOW).unwrap());
        }
    }

    /// The same below the base64, where the CMS is.
    #[test]
    fn no_changed_byte_of_the_signature_changes_what_opens(at in 0usize..4000, by in 1u8..=255, cut in any::<bool>()) {
        let (apple, merchant, keys) = shared();
        let mut token = apple.token(merchant, &yen(1000, NOW));
        let before = keys.open(&node(&token), NOW).unwrap();
        let mut signature = STANDARD.decode(token["signature"].as_str().unwrap()).unwrap();
        let at = at % signature.len();
        if cut { signature.truncate(at) } else { signature[at] = signature[at].wrapping_add(by) }
        token["signature"] = STANDARD.encode(signature).into();
        if let Ok(opened) = keys.open(&node(&token), NOW) {
            prop_assert_eq!(opened, before);
        }
    }

    #[test]
    fn nothing_panics(value in json_value(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (apple, merchant, keys) = shared();
        if let Ok(node) = fuda::wallet::parse(&value.to_string()) {
            prop_assert!(keys.open(&node, NOW).is_err());
        }
        let mut token = apple.token(merchant, &yen(1, NOW));
        token["signature"] = STANDARD.encode(bytes).into();
        prop_assert!(keys.open(&node(&token), NOW).is_err());
    }
}
