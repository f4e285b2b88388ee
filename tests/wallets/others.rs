//! The same tokens, opened by others in processes of their own: packages from npm, which decrypt and do not verify signatures,
//! so what they refuse is a part of what we refuse; and OpenSSL, which verifies them.

use crate::maker::apple::{Apple, GOOD, Merchant, yen};
use crate::maker::google::{Google, RECIPIENT, card, device};
use crate::maker::{base64, hex, p256, random};
use crate::{NOW, node};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fuda::wallet::{Kind, Opened, Refusal, applepay, googlepay};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// Past the runner, which shows nothing of a test that passes.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED, not passed: {why}\n").as_bytes()).unwrap();
}

/// `None` where the packages are not installed: `./test` installs them.
fn theirs(test: &str, asked: &[Value]) -> Option<Vec<Value>> {
    let Some(modules) = std::env::var("FUDA_TEST_NODE_MODULES").ok().filter(|path| !path.is_empty()) else {
        skipped(&format!(
            "{test}: FUDA_TEST_NODE_MODULES does not say where the npm packages are (./test installs them)"
        ));
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/wallets.mjs");
    let mut child = Command::new("node")
        .args([script, &modules])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    child.stdin.take().unwrap().write_all(Value::from(asked).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// What both say of a token, in one spelling.
fn ours(opened: &Opened) -> Value {
    let (cryptogram, eci) = match &opened.kind {
        Kind::Device { cryptogram, eci } => (Some(cryptogram.expose()), eci.clone()),
        Kind::PanOnly => (None, None),
    };
    json!({"pan": opened.pan.expose(), "month": opened.expiry.month, "year": opened.expiry.year,
           "cryptogram": cryptogram, "eci": eci, "minor": opened.money.map(|money| money.minor)})
}

fn from_google(message: &Value) -> Value {
    let card = &message["paymentMethodDetails"];
    json!({"pan": card["pan"], "month": card["expirationMonth"], "year": card["expirationYear"],
           "cryptogram": card["cryptogram"], "eci": card["eciIndicator"], "minor": null})
}

fn from_apple(message: &Value) -> Value {
    let date = message["applicationExpirationDate"].as_str().unwrap();
    let number = |text: &str| text.parse::<u16>().unwrap();
    json!({"pan": message["applicationPrimaryAccountNumber"], "month": number(&date[2..4]),
           "year": 2000 + number(&date[..2]), "cryptogram": message["paymentData"]["onlinePaymentCryptogram"],
           "eci": format!("0{}", message["paymentData"]["eciIndicator"].as_str().unwrap()),
           "minor": message["transactionAmount"]})
}

/// Both open it to the same, or both refuse it.
fn agree(ours_said: &Result<Opened, Refusal>, theirs_said: &Value, read: fn(&Value) -> Value, good: bool) {
    assert_eq!(ours_said.is_ok(), good, "{ours_said:?}");
    match ours_said {
        Ok(opened) => assert_eq!(ours(opened), read(&theirs_said["opened"]), "{theirs_said}"),
        Err(refusal) => assert!(theirs_said["refused"].is_string(), "{refusal} {theirs_said}"),
    }
}

#[test]
fn google_pay_js_opens_the_same() {
    let google = Google::new();
    let key = google.merchant.serialize_pem();
    let keys = googlepay::Keys::new(RECIPIENT, None, &[&key], &google.roots()).unwrap();
    // Their key reader wants SEC 1.
    let (key, other) = (sec1(&google.merchant), sec1(&p256()));
    let mut changed = google.token(&card("ECv2", NOW));
    let mut message: Value = serde_json::from_str(changed["signedMessage"].as_str().unwrap()).unwrap();
    message["tag"] = base64([0; 32]).into();
    changed["signedMessage"] = message.to_string().into();
    let (device, card) = (google.token(&device("ECv2", NOW)), google.token(&card("ECv2", NOW)));
    let ask = |token: &Value, key: &str| json!({"wallet": "googlepay", "token": token, "key": key});
    let asked = [ask(&device, &key), ask(&card, &key), ask(&changed, &key), ask(&card, &other)];
    let Some(theirs) = theirs("google_pay_js_opens_the_same", &asked) else { return };
    agree(&keys.open(&node(&device), NOW), &theirs[0], from_google, true);
    agree(&keys.open(&node(&card), NOW), &theirs[1], from_google, true);
    agree(&keys.open(&node(&changed), NOW), &theirs[2], from_google, false);
    let stranger = googlepay::Keys::new(RECIPIENT, None, &[&other], &google.roots()).unwrap();
    agree(&stranger.open(&node(&card), NOW), &theirs[3], from_google, false);
}

#[test]
fn apple_pay_js_opens_the_same() {
    let apple = Apple::new(GOOD);
    let (ec, rsa, stranger) = (Merchant::ec(), Merchant::rsa(), Merchant::ec());
    let open = |merchant: &Merchant, token: &Value| {
        let key = merchant.key.serialize_pem();
        let keys = applepay::Keys::new(&[(&merchant.certificate_pem, &key)], &apple.root_pem).unwrap();
        keys.open(&node(token), NOW)
    };
    let ask = |merchant: &Merchant, token: &Value| {
        json!({"wallet": "applepay", "token": token, "key": merchant.key.serialize_pem(),
               "certificate": merchant.certificate_pem})
    };
    let (by_ec, by_rsa) = (apple.token(&ec, &yen(1000, NOW)), apple.token(&rsa, &yen(250, NOW)));
    let asked = [ask(&ec, &by_ec), ask(&rsa, &by_rsa), ask(&stranger, &by_ec)];
    let Some(theirs) = theirs("apple_pay_js_opens_the_same", &asked) else { return };
    agree(&open(&ec, &by_ec), &theirs[0], from_apple, true);
    agree(&open(&rsa, &by_rsa), &theirs[1], from_apple, true);
    agree(&open(&stranger, &by_ec), &theirs[2], from_apple, false);
}

/// What stands for Apple's device signs as CMS says: OpenSSL verifies it up to the same root.
#[test]
fn openssl_verifies_what_we_verify() {
    if Command::new("openssl").arg("version").output().is_err() {
        skipped("openssl_verifies_what_we_verify: there is no openssl (./test installs it)");
        return;
    }
    let (apple, merchant) = (Apple::new(GOOD), Merchant::ec());
    let token = apple.token(&merchant, &yen(1000, NOW));
    let folder = std::env::temp_dir().join(format!("fuda_cms_{}", hex(&random::<8>())));
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let id = token["header"]["transactionId"].as_str().unwrap();
    let id: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect();
    let mut content = [bytes(&token["header"]["ephemeralPublicKey"]), bytes(&token["data"]), id].concat();
    write("signature", &bytes(&token["signature"]));
    write("root.pem", apple.root_pem.as_bytes());
    let verified = || {
        let arguments = ["-verify", "-inform", "DER", "-binary", "-purpose", "any", "-attime", "1800000000"];
        let files = ["-in", "signature", "-content", "content", "-CAfile", "root.pem", "-out", "out"];
        let mut openssl = Command::new("openssl");
        openssl.arg("cms").args(arguments).args(files).current_dir(&folder).output().unwrap().status.success()
    };
    write("content", &content);
    assert!(verified());
    content[0] ^= 1;
    write("content", &content);
    assert!(!verified());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// SEC 1 in PEM, from PKCS#8.
fn sec1(key: &KeyPair) -> String {
    let key = PrivateKey::from_private_key_der(&ECDH_P256, &key.serialize_der()).unwrap();
    let der: EcPrivateKeyRfc5915Der<'_> = key.as_der().unwrap();
    format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", base64(der.as_ref()))
}
