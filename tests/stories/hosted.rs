//! The hosted payment page, as a browser without scripts uses it: links over the API, forms by plain HTTP.

use crate::world::{Engine, Keys, Server, World, address, answer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub struct Page {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Page {
    async fn of(request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        Page {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn leads_to(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        &self.headers["location"]
    }

    /// The value of an input by its id, as the page shows it.
    fn typed(&self, id: &str) -> &str {
        let field = self.text.split(&format!("id=\"{id}\"")).nth(1).unwrap_or_else(|| panic!("no {id}: {}", self.text));
        let field = field.split('>').next().unwrap();
        field.split("value=\"").nth(1).map_or("", |rest| rest.split('"').next().unwrap())
    }

    pub fn wrong(&self, id: &str) -> &str {
        let place = format!("id=\"{id}-error\" aria-live=\"polite\">");
        self.text.split(&place).nth(1).unwrap().split('<').next().unwrap()
    }

    pub fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// A browser that follows nothing by itself.
pub fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn urlencoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub const URLS: [(&str, &str); 3] = [
    ("success_url", "https://shop.example/thanks?order=1&lang=ja"),
    ("decline_url", "https://shop.example:8443/declined#top"),
    ("cancel_url", "https://cart.example/"),
];

const CARD: [(&str, &str); 4] =
    [("number", "4111 1111 1111 1111"), ("expiry", "12/40"), ("cvc", "123"), ("name", "TARO YAMADA")];

const TYPED_ADDRESS: [(&str, &str); 5] = [
    ("country", "JP"),
    ("email", "taro@example.jp"),
    ("phone_number", "03-1234-5678"),
    ("address1", "新宿1-2-3"),
    ("city", "新宿区"),
];

impl World {
    /// From now on each visitor has the address that a header says.
    pub fn trust_proxies(&mut self) {
        assert_eq!(self.server.stop(), Some(0));
        self.server = Server::start_with(&self.folder, self.database_url.as_deref(), |command| {
            command.args(["--trusted-proxies", "127.0.0.1/32"]);
        });
    }

    pub fn link_body(&self) -> Value {
        let mut urls: Value = URLS.into_iter().collect();
        urls["webhook_url"] = json!("https://shop.example/webhook");
        json!({"merchant_id": self.keys.merchant, "currency": "JPY", "amount": "12800", "merchant_txn_ref": "order-1",
            "billing_address": address("hanako@example.jp"), "return_url": urls})
    }

    /// A link's answer, with these members instead.
    pub async fn link(&self, with: Value) -> Value {
        let mut body = self.link_body();
        for (name, value) in with.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, link) = self.post("hpp/generate/link", &body).await;
        assert_eq!(status, 201, "{link}");
        link
    }

    pub async fn link_now(&self, link: &Value) -> Value {
        let (status, found) = self.get(&format!("hpp/link/{}", link["id"].as_str().unwrap())).await;
        assert_eq!(status, 200, "{found}");
        found
    }
}

pub async fn visit(url: &str) -> Page {
    Page::of(browser().get(url)).await
}

pub async fn send(url: &str, fields: &[&[(&str, &str)]]) -> Page {
    let form = browser().post(url).header("content-type", "application/x-www-form-urlencoded");
    Page::of(form.body(urlencoded(&fields.concat()))).await
}

/// The form's fields that take a text.
pub const TEXTS: [&str; 9] =
    ["name", "country", "email", "phone_number", "address1", "address2", "city", "state", "postal_code"];

fn with(number: &'static str) -> Vec<(&'static str, &'static str)> {
    std::iter::once(("number", number)).chain(CARD[1..].iter().copied()).collect()
}

pub fn url_of(link: &Value) -> &str {
    link["url"].as_str().unwrap()
}

pub async fn links_are_made(engine: Engine) {
    let world = World::new(engine).await;
    let request = world.authed(world.http.post(world.url("hpp/generate/link")), &world.keys).json(&world.link_body());
    let text = request.send().await.unwrap().text().await.unwrap();
    let link: Value = serde_json::from_str(&text).unwrap();
    let code = url_of(&link).rsplit('/').next().unwrap();
    assert!(code.len() == 22 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
    let expires = crate::receiver::now() + 24 * 60 * 60 * 1000;
    let said: jiff::Timestamp = link["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((said.as_millisecond() - expires).abs() < 60_000);
    let text = text
        .replace(link["id"].as_str().unwrap(), "<id>")
        .replace(code, "<code>")
        .replace(&world.server.base, "<checkout>")
        .replace(link["expires_at"].as_str().unwrap(), "<a day later>");
    insta::assert_snapshot!(text, @r#"{"id":"<id>","url":"<checkout>/jp/HostedPaymentPage/<code>","amount":12800,"currency":"JPY","merchant_txn_ref":"order-1","merchant_id":"JP00000001","merchant_email":null,"return_url":{"webhook_url":"https://shop.example/webhook","success_url":"https://shop.example/thanks?order=1&lang=ja","decline_url":"https://shop.example:8443/declined#top","cancel_url":"https://cart.example/"},"billing_address":{"country":"JP","email":"hanako@example.jp","phone_number":"8112345678","address1":"1-2-3 Shinjuku","city":"Shinjuku-ku","state":"Tokyo","postal_code":"1600022"},"shipping_address":null,"status":"CREATED","isValid":true,"expires_at":"<a day later>"}"#);
    // The least that a link needs, by the other path.
    let least = json!({"merchant_id": world.keys.merchant, "currency": "USD", "amount": "", "merchant_txn_ref": null,
        "return_url": {"webhook_url": "http://127.0.0.1:1/", "success_url": "http://a.example", "decline_url": "http://b.example"},
        "unknown": 1});
    let short = format!("{}/api/v1/api/v1/hpp/generate/link", world.server.base);
    let (status, least) = answer(world.authed(world.http.post(short), &world.keys).json(&least)).await;
    assert_eq!((status, &least["amount"], &least["billing_address"]), (201, &Value::Null, &Value::Null));
    assert!(url_of(&least).starts_with(&format!("{}/HostedPaymentPage/", world.server.base)));
    let read = world.link_now(&link).await;
    assert_eq!((&read["url"], &read["transaction_ids"], &read["isValid"]), (&link["url"], &json!([]), &json!(true)));
    refused(&world).await;
    let other = world.other_entity();
    let theirs = Keys { merchant: world.keys.merchant.clone(), ..other.clone() };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.post_as(&theirs, "hpp/generate/link", &world.link_body()).await.0, 403);
    let url = world.url(&format!("hpp/link/{}", link["id"].as_str().unwrap()));
    let hidden = answer(world.authed(world.http.get(&url), &other)).await;
    assert_eq!((hidden.0, &hidden.1["gateway_response"]["code"]), (404, &json!("ERR1013")));
    for id in ["x", "0193626c-2a44-7b90-a1c2-3d4e5f607182", "%ff"] {
        assert_eq!(world.get(&format!("hpp/link/{id}")).await.1["gateway_response"]["code"], "ERR1013");
    }
    // The address is stored nowhere, and is the same each time.
    assert!(world.texts(&format!("SELECT details FROM links WHERE details LIKE '%{code}%'")).await.is_empty());
}

async fn refused(world: &World) {
    let wrong = json!({"merchant_id": 1, "currency": "yen", "amount": "0", "expires_in": 0, "merchant_email": "x".repeat(46),
        "merchant_txn_ref": "4111111111111111", "billing_address": {"country": "Japan"}, "shipping_address": {},
        "return_url": {"success_url": "/relative", "cancel_url": "javascript:alert(1)"}, "payment_method": {"type": "cash"}});
    let (status, refusal) = world.post("hpp/generate/link", &wrong).await;
    assert_eq!(status, 400);
    let said: Vec<String> = refusal["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{} {}", error["field"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            "merchant_id type",
            "currency format",
            "return_url.webhook_url missing",
            "return_url.success_url format",
            "return_url.decline_url missing",
            "return_url.cancel_url format",
            "amount not_positive",
            "merchant_email too_long",
            "billing_address.country format",
            "shipping_address.country missing",
            "shipping_address.email missing",
            "shipping_address.phone_number missing",
            "shipping_address.address1 missing",
            "shipping_address.city missing",
            "payment_method.type unknown",
            "merchant_txn_ref contains_card_number",
            "expires_in range",
        ]
    );
    assert!(!refusal.to_string().contains("4111111111111111"));
    for (member, value, status, code) in [
        ("amount", json!("1000.5"), 400, "VAL0002"),
        ("currency", json!("GBP"), 400, "VAL0002"),
        ("expires_in", json!(31_536_001), 400, "VAL0002"),
        ("payment_method", json!({"type": "googlepay"}), 412, "ERR1015"),
    ] {
        let mut body = world.link_body();
        body[member] = value;
        let refused = world.post("hpp/generate/link", &body).await;
        assert_eq!((refused.0, refused.1["gateway_response"]["code"].as_str()), (status, Some(code)), "{member}");
    }
    let keyed = async |amount: &str| {
        let mut body = world.link_body();
        body["amount"] = json!(amount);
        let request = world.authed(world.http.post(world.url("hpp/generate/link")), &world.keys);
        answer(request.header("idempotency-key", "one").json(&body)).await
    };
    let (first, again, other) = (keyed("1").await, keyed("1").await, keyed("2").await);
    assert_eq!((first.0, &first.1["id"]), (201, &again.1["id"]));
    assert_eq!(other.1["gateway_response"]["code"], "ERR1007");
}

pub async fn pages_in_both_languages(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link).to_owned();
    assert!(url.contains("/jp/HostedPaymentPage/"));
    let page = visit(&url).await;
    assert_eq!(page.status, 200);
    for text in [
        "￥12,800",
        "order-1",
        "札の店",
        "カード番号",
        "<html lang=\"ja\">",
        "テストモード",
        "autocomplete=\"cc-number\"",
    ] {
        assert!(page.says(text), "{text}");
    }
    assert!(!page.says("id=\"country\"") && !page.says("hanako"), "the link knows the address");
    let english = visit(&url.replace("/jp/", "/")).await;
    assert!(
        english.says("¥12,800")
            && english.says("<html lang=\"en\">")
            && english.says(&format!("href=\"{}\"", &url[world.server.base.len()..]))
    );
    headers_of(&page);
    assert!(!page.says("style=") && !page.says("<script>") && !page.says(" onclick"), "nothing inline");
    for file in page.text.split(['"', '\'']).filter(|text| text.starts_with("/page/")) {
        let found = visit(&format!("{}{file}", world.server.base)).await;
        assert_eq!(
            (found.status, found.headers["cache-control"].as_str()),
            (200, "public, max-age=31536000, immutable")
        );
    }
}

/// All of them, exactly.
fn headers_of(page: &Page) {
    let wanted = [
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self' \
             https://shop.example https://shop.example:8443 https://cart.example; frame-ancestors 'none'; base-uri 'none'",
        ),
        ("content-type", "text/html; charset=utf-8"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(self), usb=()"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-robots-tag", "noindex, nofollow"),
    ];
    let told: Vec<(&str, &str)> = page.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ours = told.into_iter().filter(|(name, _)| !["content-length", "date", "x-request-id"].contains(name));
    assert_eq!(ours.collect::<Vec<_>>(), wanted);
}

pub async fn paid_without_scripts(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link).to_owned();
    let paid = send(&url, &[&CARD]).await;
    let id =
        paid.leads_to().strip_prefix("https://shop.example/thanks?order=1&lang=ja&transaction_id=").unwrap().to_owned();
    assert_eq!(
        (paid.headers["cache-control"].as_str(), paid.headers["referrer-policy"].as_str()),
        ("no-store", "same-origin")
    );
    // Durable before the browser leaves: the event is there, and so is the result.
    assert_eq!(
        world.texts("SELECT count(*) FROM events e JOIN links l ON l.transaction_id = e.transaction_id").await,
        ["1"]
    );
    let status = world.get(&format!("transaction/status/{id}")).await.1;
    let details = |path: &str| status.pointer(path).cloned().unwrap_or_default();
    assert_eq!(details("/transaction_details/state"), "APPROVED");
    assert_eq!(
        (details("/payment_details/amount"), details("/merchant_details/merchant_txn_ref")),
        (json!(12800), json!("order-1"))
    );
    assert_eq!(details("/payment_details/card/name"), "TARO YAMADA");
    let now = world.link_now(&link).await;
    assert_eq!(
        (&now["status"], &now["isValid"], &now["transaction_ids"]),
        (&json!("PAID"), &json!(false), &json!([id]))
    );
    let again = visit(&url).await;
    assert!(
        again.status == 200 && again.says("お支払いは完了しています") && again.says(&id) && !again.says("id=\"pay\"")
    );
    let result = send(&url, &[&CARD]).await.leads_to().to_owned();
    assert!(result.ends_with("/result"));
    let base = &world.server.base;
    assert!(visit(&format!("{base}{result}")).await.leads_to().ends_with(&format!("transaction_id={id}")));
    assert_eq!(send(&format!("{url}/cancel"), &[]).await.leads_to(), &url[base.len()..]);
    assert_eq!(world.link_now(&link).await["transaction_ids"].as_array().unwrap().len(), 1);
}

pub async fn what_the_link_lacks_is_asked(engine: Engine) {
    let world = World::new(engine).await;
    let stores = json!({"amount": null, "billing_address": {"email": "hanako@example.jp"},
        "payment_method": {"type": "scheme", "store_payment_method": true}, "shipping_address": address("s@example.jp")});
    let link = world.link(stores).await;
    let url = url_of(&link);
    let page = visit(url).await;
    for id in ["amount", "country", "address1", "address2", "city", "state", "postal_code", "phone_number", "stores"] {
        assert!(page.says(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(!page.says("id=\"email\"") && page.says("billing address-line1"));
    let address: Vec<(&str, &str)> = TYPED_ADDRESS.into_iter().filter(|(name, _)| *name != "email").collect();
    let half = send(url, &[&[("amount", "10,50")], &CARD, &address]).await;
    assert_eq!((half.status, half.wrong("amount")), (422, "Enter the amount in digits, such as 1000."));
    let paid = send(url, &[&[("amount", "￥１，５００")], &CARD, &address]).await;
    let id = paid.leads_to().rsplit('=').next().unwrap().to_owned();
    let status = world.get(&format!("transaction/status/{id}")).await.1;
    assert_eq!(status["payment_details"]["amount"], 1500);
    let billing = status.pointer("/transaction_details/billing_details/billing_address").unwrap();
    assert_eq!((&billing["email"], &billing["city"]), (&json!("hanako@example.jp"), &json!("新宿区")));
    let token = status["transaction_details"]["stored_payment_method_id"].as_str().unwrap();
    let charged = world.post("payment", &world.token_charge(token)).await;
    assert_eq!((charged.0, &charged.1["success"]), (201, &json!(true)));
}

pub async fn mistakes_are_told(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({"billing_address": null})).await;
    let (english, japanese) = (url_of(&link).to_owned(), url_of(&link).replace("/Hosted", "/jp/Hosted"));
    let empty = send(&english, &[]).await;
    assert_eq!(empty.status, 422);
    assert!(empty.says("id=\"error-summary\" role=\"alert\"") && empty.says("<title>Error: Pay ¥12,800"));
    for id in ["number", "expiry", "cvc", "name", "country", "address1", "city", "email", "phone_number"] {
        assert!(!empty.wrong(id).is_empty() && empty.says(&format!("<a href=\"#{id}\">")), "{id}");
    }
    assert_eq!(send(&japanese, &[]).await.wrong("cvc"), "セキュリティコードを入力してください。");
    for (name, value, wrong) in [
        ("number", "4111 1111 1111 1112", "カード番号に誤りがあるようです。カードの表記をご確認ください。"),
        ("number", "1234567812345670", "この番号のカードはご利用いただけません。別のカードをお試しください。"),
        ("number", "四一一一", "カード番号は、すべての桁を数字で入力してください。"),
        ("expiry", "13/40", "有効期限は 09/29 のように 月/年 で入力してください。"),
        ("expiry", "01/20", "有効期限が切れています。日付をご確認いただくか、別のカードをお試しください。"),
        ("cvc", "1234", "このカードのセキュリティコードは3桁です。カードの裏面をご確認ください。"),
        ("cvc", "<b>", "セキュリティコードは3桁または4桁の数字です。"),
        (
            "name",
            "4111 1111 1111 1111",
            "この欄からカード番号を削除してください。カード番号は専用の欄にのみ入力してください。",
        ),
        (
            "city",
            "4111-1111-1111-1111",
            "この欄からカード番号を削除してください。カード番号は専用の欄にのみ入力してください。",
        ),
        ("country", "XX", "国・地域を選択してください。"),
        ("email", "taro@example", "メールアドレスを name@example.com の形で入力してください。"),
        ("address1", "\"><script>alert(1)</script>\t\u{7}", "タブなどの目に見えない文字を削除してください。"),
    ] {
        let fields: Vec<_> = CARD.iter().chain(&TYPED_ADDRESS).filter(|field| field.0 != name).copied().collect();
        let page = send(&japanese, &[&fields, &[(name, value)]]).await;
        assert_eq!((page.status, page.wrong(name)), (422, wrong), "{name} {value}");
        assert_eq!(page.text.matches("aria-invalid").count(), 1, "{name} {value}");
        // What was typed is still there; the card number and the cvc nowhere.
        assert_eq!((page.typed("number"), page.typed("cvc")), ("", ""));
        if name != "city" && name != "address1" {
            assert_eq!((page.typed("city"), page.typed("address1")), ("新宿区", "新宿1-2-3"));
        }
        assert!(!page.says("4111") && !page.says("<script>alert") && !page.says("<b>"), "{name}");
    }
    let long = "あ".repeat(200);
    let fields: Vec<_> = CARD.iter().chain(&TYPED_ADDRESS).filter(|field| field.0 != "address1").copied().collect();
    assert_eq!(
        send(&japanese, &[&fields, &[("address1", &long)]]).await.wrong("address1"),
        "199文字以内で入力してください。"
    );
    assert_eq!(world.link_now(&link).await["transaction_ids"], json!([]), "no bank was asked");
    // In full width, as Japanese keyboards write.
    let wide = [
        ("number", "４１１１　１１１１　１１１１　１１１１"),
        ("expiry", "１２／４０"),
        ("cvc", "１２３"),
        ("name", "山田"),
    ];
    assert!(send(&japanese, &[&wide, &TYPED_ADDRESS]).await.leads_to().starts_with("https://shop.example/thanks"));
}

/// Neither another card's number nor the cvc comes back from a field where they do not belong, whatever stands in the number's.
pub async fn a_card_in_the_wrong_field(engine: Engine) {
    let world = World::new(engine).await;
    let mut sent = 0;
    for field in TEXTS {
        let link = world.link(json!({"amount": "", "billing_address": null})).await;
        let url = url_of(&link).replace("/jp/", "/");
        for (name, typed, wrong) in [
            ("number", "", "Remove the card number from this field; it belongs only in the field for it."),
            (
                "number",
                "5555 5555 5555 4445",
                "Remove the card number from this field; it belongs only in the field for it.",
            ),
            (
                "number",
                "5555 5555 5555 4444",
                "Remove the card number from this field; it belongs only in the field for it.",
            ),
            ("cvc", "974", "Remove the security code from this field; it belongs only in the field for it."),
        ] {
            let value = if name == "cvc" { typed } else { "4111-1111 11111111" };
            let good = CARD.iter().chain(&TYPED_ADDRESS).chain(&[("amount", "1000")]);
            let good: Vec<_> = good.filter(|good| good.0 != field && good.0 != name).copied().collect();
            let page = send(&url, &[&good, &[(name, typed), (field, value)]]).await;
            assert_eq!((page.status, page.wrong(field)), (422, wrong), "{field} {typed}");
            for hidden in ["4111", "5555", "\"974\""] {
                assert!(!page.says(hidden), "{hidden} in {field} came back: {}", page.text);
            }
            sent += 1;
        }
        assert_eq!(world.link_now(&link).await["transaction_ids"], json!([]));
    }
    assert_eq!(sent, 4 * TEXTS.len());
}

pub async fn declined_three_times(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({"billing_address": address("a@example.jp")})).await;
    let url = url_of(&link).replace("/jp/", "/");
    let first = send(&url, &[&with("4000000000009995")]).await;
    assert_eq!((first.status, first.typed("name"), first.typed("number")), (200, "TARO YAMADA", ""));
    assert!(first.says("there is not enough money or credit") && first.says("You can try 2 more times."));
    // What never reached a bank does not count.
    let unsent = send(&url, &[&with("4000000000006975")]).await;
    assert!(unsent.says("this try does not count"), "{}", unsent.text);
    let second = send(&url, &[&with("4000000000000127")]).await;
    assert!(second.says("the security code is wrong") && second.says("You can try one more time."));
    assert!(visit(&url).await.says("the security code is wrong"), "also for who opens it again");
    let third = send(&url, &[&with("4000000000000002")]).await;
    let now = world.link_now(&link).await;
    let ids = now["transaction_ids"].as_array().unwrap();
    assert_eq!((&now["status"], ids.len()), (&json!("DECLINED"), 3));
    let last = ids[2].as_str().unwrap();
    assert_eq!(third.leads_to(), format!("https://shop.example:8443/declined?transaction_id={last}#top"));
    let over = visit(&url).await;
    assert!(over.says("The payment was not possible") && over.says("Back to the shop") && !over.says("id=\"pay\""));
    assert!(send(&url, &[&CARD]).await.leads_to().ends_with("/result"));
    assert_eq!(visit(&format!("{url}/result")).await.leads_to(), third.leads_to());
    // What a rule refuses counts too, and says nothing of the rule.
    let limit = json!({"kind": "max_amount", "merchant_id": world.keys.merchant, "currency": "JPY", "amount": "100"});
    assert_eq!(world.post("risk/rules", &limit).await.0, 201);
    let limited = world.link(json!({})).await;
    for left in ["あと2回", "あと1回"] {
        let page = send(url_of(&limited), &[&CARD]).await;
        assert!(page.says("ショップで取り扱える金額の範囲を超えています") && page.says(left), "{}", page.text);
    }
    assert!(send(url_of(&limited), &[&CARD]).await.leads_to().starts_with("https://shop.example:8443/declined"));
}

pub async fn a_thousand_visitors_pay_once(engine: Engine) {
    let mut world = World::new(engine).await;
    world.trust_proxies();
    let link = world.link(json!({})).await;
    let client = browser();
    let tabs: Vec<_> = (0..1_000)
        .map(|number| {
            let (client, url) = (client.clone(), url_of(&link).to_owned());
            tokio::spawn(async move {
                let ip = format!("198.51.{}.{}", number / 250, number % 250);
                assert_eq!(Page::of(client.get(&url).header("x-forwarded-for", &ip)).await.status, 200);
                let form = client.post(&url).header("content-type", "application/x-www-form-urlencoded");
                let form = form.header("x-forwarded-for", ip);
                Page::of(form.body(urlencoded(&CARD))).await
            })
        })
        .collect();
    let (mut paid, mut went_on) = (0, 0);
    for tab in tabs {
        let page = tab.await.unwrap();
        match page.status {
            303 if page.leads_to().starts_with("https://shop.example/thanks") => paid += 1,
            303 => went_on += 1,
            429 => assert!(page.says("お試しの回数が多すぎます") && page.headers.contains_key("retry-after")),
            status => panic!("{status}: {}", page.text),
        }
    }
    assert!(paid == 1 && went_on >= 15, "{paid} paid, {went_on} saw that another was faster");
    assert_eq!(world.texts("SELECT count(*) FROM link_tries").await, ["1"]);
    assert_eq!(world.texts("SELECT count(*) FROM transactions WHERE amount_minor = 12800").await, ["1"]);
    assert_eq!(world.link_now(&link).await["status"], "PAID");
}

pub async fn cancelled_and_expired(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link);
    assert_eq!(send(&format!("{url}/cancel"), &[]).await.leads_to(), "https://cart.example/");
    assert_eq!(world.link_now(&link).await["status"], "CANCELLED");
    let over = visit(url).await;
    assert!(over.says("キャンセルされました") && over.says("https://cart.example/") && !over.says("id=\"pay\""));
    assert!(send(url, &[&CARD]).await.leads_to().ends_with("/result"), "nothing is charged");
    assert_eq!(world.link_now(&link).await["transaction_ids"], json!([]));
    // Without a cancel_url to decline_url; the id of a try that was recorded is added.
    let mut urls = world.link_body()["return_url"].clone();
    urls.as_object_mut().unwrap().remove("cancel_url");
    let link = world.link(json!({"return_url": urls})).await;
    send(url_of(&link), &[&with("4000000000000002")]).await;
    let left = send(&format!("{}/cancel", url_of(&link)), &[]).await;
    let tried = world.link_now(&link).await["transaction_ids"][0].as_str().unwrap().to_owned();
    assert_eq!(left.leads_to(), format!("https://shop.example:8443/declined?transaction_id={tried}#top"));
    let short = world.link(json!({"expires_in": "1"})).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let over = visit(url_of(&short)).await;
    assert!(over.status == 410 && over.says("リンクの有効期限が切れています"), "{}", over.text);
    assert!(send(url_of(&short), &[&CARD]).await.leads_to().ends_with("/result"));
    assert!(send(&format!("{}/cancel", url_of(&short)), &[]).await.leads_to().contains("/HostedPaymentPage/"));
    let now = world.link_now(&short).await;
    assert_eq!(
        (&now["status"], &now["isValid"], &now["transaction_ids"]),
        (&json!("EXPIRED"), &json!(false), &json!([]))
    );
    for code in ["x", "%ff", "aaaaaaaaaaaaaaaaaaaaaa", "%22%3E%3Cscript%3E", "aaaaaaaaaaaaaaaaaaaaa%00"] {
        for page in [
            visit(&format!("{}/HostedPaymentPage/{code}", world.server.base)).await,
            send(&format!("{}/HostedPaymentPage/{code}", world.server.base), &[&CARD]).await,
            send(&format!("{}/HostedPaymentPage/{code}/cancel", world.server.base), &[]).await,
        ] {
            assert!(
                page.status == 404 && page.says("This payment page does not exist") && !page.says("<script>"),
                "{code}"
            );
        }
    }
}

pub async fn forms_of_others(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link);
    let post = |headers: &[(&'static str, &str)], body: String| {
        let request = browser().post(url).body(body);
        let media = ("content-type", "application/x-www-form-urlencoded");
        let request =
            if headers.iter().any(|header| header.0 == media.0) { request } else { request.header(media.0, media.1) };
        Page::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    };
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-site"), ("origin", &world.server.base)],
    ] {
        let page = post(headers, urlencoded(&CARD)).await;
        assert!(page.status == 403 && page.says("別のサイトから送信されたフォームです"), "{headers:?} {}", page.text);
    }
    for (headers, body) in [
        (&[("content-type", "application/json")][..], "{}".to_owned()),
        (&[("content-type", "text/plain")], urlencoded(&CARD)),
        (&[][..], "a=".to_owned() + &"x".repeat(17_000)),
        (&[][..], "number=%ff".to_owned()),
    ] {
        let page = post(headers, body).await;
        assert!(page.status == 400 && page.says("フォームを読み取れませんでした"), "{}", page.text);
    }
    assert_eq!(world.link_now(&link).await["transaction_ids"], json!([]));
    let ours = [("sec-fetch-site", "same-origin"), ("origin", world.server.base.as_str())];
    assert!(post(&ours, urlencoded(&CARD)).await.leads_to().starts_with("https://shop.example/thanks"));
    // One address that sends and sends is told to wait, whatever the link.
    let mut waited = None;
    for _ in 0..80 {
        let other = world.link(json!({})).await;
        let page = send(url_of(&other), &[]).await;
        if page.status == 429 {
            waited = Some(page.headers["retry-after"].clone());
            break;
        }
        assert_eq!(page.status, 422);
    }
    assert_eq!(waited.as_deref(), Some("1"));
}

/// The pages beside the hosted one refuse other sites' forms as well; what an issuer sends back is another site's by nature.
pub async fn forms_of_others_elsewhere(engine: Engine) {
    let mut world = World::new(engine).await;
    let status = async |world: &World, path: &str, header: (&'static str, &str)| {
        let form = browser().post(format!("{}{path}", world.server.base)).header(header.0, header.1);
        Page::of(form.header("content-type", "application/x-www-form-urlencoded").body("creq=x&decision=approve"))
            .await
            .status
    };
    let own = world.server.base.clone();
    for path in ["/checkout/x/leave", "/sandbox/wallet/x", "/sandbox/issuer"] {
        for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
            assert_eq!(status(&world, path, foreign).await, 403, "{path} {foreign:?}");
        }
        assert_eq!(status(&world, path, ("origin", &own)).await, 404, "{path}");
    }
    assert_eq!(status(&world, "/checkout/x", ("sec-fetch-site", "cross-site")).await, 404);
    // A checkout that was named is the only origin that is ours, and the log says what is missing beside it.
    world.server.stop();
    let warning = "--trusted-proxies all visitors are one address";
    assert!(!std::fs::read_to_string(world.folder.with_extension("log")).unwrap().contains(warning));
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.args(["--checkout-url", "https://pay.example"]);
    });
    assert!(std::fs::read_to_string(world.folder.with_extension("log")).unwrap().contains(warning));
    let own = world.server.base.clone();
    assert_eq!(status(&world, "/checkout/x/leave", ("origin", &own)).await, 403);
    assert_eq!(status(&world, "/checkout/x/leave", ("origin", "https://pay.example")).await, 404);
}

/// Whoever asks and asks is told to wait by a page; who guesses links does not use up what the address may pay.
pub async fn pages_that_are_asked_too_often(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let unknown = format!("{}/HostedPaymentPage/{}", world.server.base, "a".repeat(22));
    let mut guesses = Vec::new();
    for _ in 0..40 {
        guesses.push(send(&unknown, &[&CARD]).await.status);
    }
    assert!(guesses[..20].iter().all(|status| *status == 404) && guesses.contains(&429), "{guesses:?}");
    assert_eq!(send(url_of(&link), &[]).await.status, 422, "the link's form is still taken");
    let client = browser();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (client, url) = (client.clone(), unknown.clone());
            tokio::spawn(async move {
                let mut pages = Vec::new();
                for _ in 0..100 {
                    pages.push(Page::of(client.get(&url)).await);
                }
                pages
            })
        })
        .collect();
    let mut pages = Vec::new();
    for task in asking {
        pages.extend(task.await.unwrap());
    }
    let told: Vec<&Page> = pages.iter().filter(|page| page.status == 429).collect();
    let found = pages.iter().filter(|page| page.status == 404).count();
    assert!(found >= 250 && found + told.len() == 800, "{found} {}", told.len());
    assert!(told[0].says("Too many") && told[0].headers["retry-after"] == "1", "{}", told[0].text);
    assert_eq!(visit(&format!("{}/page/accent/0a7d5a.css", world.server.base)).await.status, 200);
    assert_eq!(world.get("tokens").await.0, 200, "the shop is not its visitors");
}

pub async fn without_an_answer(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link).replace("/jp/", "/");
    let first = tokio::spawn({
        let url = url.clone();
        async move { send(&url, &[&with("4000000000000259")]).await }
    });
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    // Another tab meanwhile.
    let busy = visit(&url).await;
    let refresh =
        format!("<meta http-equiv=\"refresh\" content=\"0;url={}/result?wait\">", &url[world.server.base.len()..]);
    assert!(busy.says("Your payment is being processed") && busy.says(&refresh), "{}", busy.text);
    assert!(send(&url, &[&CARD]).await.leads_to().ends_with("/result"), "nothing is charged beside it");
    assert!(send(&format!("{url}/cancel"), &[]).await.leads_to().contains("/HostedPaymentPage/"));
    assert!(first.await.unwrap().leads_to().ends_with("/result"));
    for _ in 0..60 {
        let page = visit(&format!("{url}/result")).await;
        if page.says("id=\"pay\"") {
            assert!(page.says("the payment was undone") && page.says("You can try 2 more times."), "{}", page.text);
            let paid = send(&url, &[&CARD]).await;
            assert!(paid.leads_to().starts_with("https://shop.example/thanks"));
            assert_eq!(world.link_now(&link).await["transaction_ids"].as_array().unwrap().len(), 2);
            return;
        }
        assert!(page.says("Your bank has not answered yet"), "{}", page.text);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it was never reversed");
}

pub async fn killed_in_the_middle(engine: Engine) {
    let mut world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let url = url_of(&link).to_owned();
    let path = url[world.server.base.len()..].to_owned();
    let lost = tokio::spawn(async move {
        let form = browser().post(&url).header("content-type", "application/x-www-form-urlencoded");
        form.body(urlencoded(&with("4000000000000259"))).send().await.is_err()
    });
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    world.server.kill();
    assert!(lost.await.unwrap());
    world.restart();
    // The link is not free before the bank has confirmed that nothing stands.
    for _ in 0..80 {
        let tried = send(&format!("{}{path}", world.server.base), &[&CARD]).await;
        if tried.leads_to().starts_with("https://shop.example/thanks") {
            let ids = world.link_now(&link).await["transaction_ids"].clone();
            let first = ids[0].as_str().unwrap();
            let status = world.get(&format!("transaction/status/{first}")).await.1;
            assert_eq!(status["transaction_details"]["state"], "REVERSED");
            assert_eq!(ids.as_array().unwrap().len(), 2);
            return;
        }
        let page = visit(&format!("{}{}", world.server.base, tried.leads_to())).await;
        assert!(page.status == 200 && !page.says("お支払いは完了しています"), "{}", page.text);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the link was never free again");
}

pub async fn a_merchants_look(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({})).await;
    let logo = world.folder.with_extension("png");
    std::fs::write(&logo, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89").unwrap();
    let merchant = world.keys.merchant.as_str();
    let set = world.run(&[
        "merchant",
        "page",
        merchant,
        "--accent",
        "#0a7d5a",
        "--logo",
        logo.to_str().unwrap(),
        "--frame-ancestors",
        "https://shop.example,https://www.shop.example",
        "--json",
    ]);
    let set: Value = serde_json::from_str(&set).unwrap();
    assert_eq!((&set["accent"], &set["frame_ancestors"][1]), (&json!("#0a7d5a"), &json!("https://www.shop.example")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = visit(url_of(&link)).await;
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("; frame-ancestors https://shop.example https://www.shop.example;"), "{policy}");
    assert!(!page.headers.contains_key("x-frame-options"));
    let accent = visit(&format!("{}/page/accent/0a7d5a.css", world.server.base)).await;
    assert!(page.says("/page/accent/0a7d5a.css") && accent.text == ":root { --accent: #0a7d5a; }\n");
    let name = set["logo"].as_str().unwrap();
    assert!(page.says(&format!("src=\"/page/logo/{merchant}/{name}\"")));
    let shown = visit(&format!("{}/page/logo/{merchant}/{name}", world.server.base)).await;
    assert_eq!((shown.status, shown.headers["content-type"].as_str()), (200, "image/png"));
    assert!(shown.headers["content-security-policy"].contains("sandbox"));
    let other = visit(&format!("{}/page/logo/{merchant}/{}.png", world.server.base, "0".repeat(32))).await;
    assert_eq!(other.status, 404);
    let refused = |args: &[&str]| {
        let args = [&["merchant", "page"], args].concat();
        let output = crate::world::fuda(&world.folder, world.database_url.as_deref()).args(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[merchant, "--accent", "#ffd400"]).contains("a contrast of 1."));
    std::fs::write(&logo, "<svg xmlns='http://www.w3.org/2000/svg'/>").unwrap();
    assert!(refused(&[merchant, "--logo", logo.to_str().unwrap()]).contains("a logo is a PNG"));
    assert!(refused(&[merchant, "--frame-ancestors", "*"]).contains("no origin"));
    assert!(refused(&[merchant, "--frame-ancestors", "http://shop.example"]).contains("not https"));
    assert!(refused(&["JP00009999", "--accent", "#000000"]).contains("there is no such merchant"));
    std::fs::remove_file(&logo).unwrap();
    world.run(&["merchant", "page", merchant, "--logo", "", "--accent", "", "--frame-ancestors", ""]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let plain = visit(url_of(&link)).await;
    assert!(
        !plain.says("/page/accent/") && !plain.says("class=\"logo\"") && plain.headers.contains_key("x-frame-options")
    );
    assert_eq!(world.deeds("merchant.page").await.len(), 2);
}

/// The form of a page that leads to the bank or back, as a browser without scripts sends it.
async fn forward(world: &World, page: &Page, more: &[(&str, &str)]) -> Page {
    let attribute = |before: &str, name: &str| {
        let rest = page.text.split(before).nth(1).unwrap_or_else(|| panic!("no {before}: {}", page.text));
        rest.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let action = attribute("<form method=\"post\"", "action");
    let url = if action.starts_with('/') { format!("{}{action}", world.server.base) } else { action };
    let (name, value) = (attribute("type=\"hidden\"", "name"), attribute("type=\"hidden\"", "value"));
    send(&url, &[&[(&name, &value)], more]).await
}

/// From the payment form to the issuer, with this code entered there, and back.
async fn challenged(world: &World, url: &str, number: &'static str, code: &str) -> Page {
    let entrance = send(url, &[&with(number)]).await.leads_to().to_owned();
    assert!(entrance.starts_with(&format!("{}/checkout/", world.server.base)), "{entrance}");
    let issuer = forward(world, &visit(&entrance).await, &[]).await;
    let policy = &issuer.headers["content-security-policy"];
    assert!(policy.contains("form-action 'self'") && policy.contains(" https://shop.example "), "{policy}");
    let answered = forward(world, &issuer, &[("code", code)]).await;
    forward(world, &answered, &[]).await
}

pub async fn through_the_bank(engine: Engine) {
    let world = World::new(engine).await;
    let link = world.link(json!({"payment_method": {"type": "scheme", "store_payment_method": true}})).await;
    let url = url_of(&link);
    let failed = challenged(&world, url, "4000002500003155", "000000").await;
    let page = visit(&format!("{}{}", world.server.base, failed.leads_to())).await;
    assert!(page.says("ご本人確認ができませんでした") || page.says("Your bank could not confirm"), "{}", page.text);
    // The way through is offered again to who comes back, and so is another card.
    let entrance = send(url, &[&with("4000002500003155")]).await.leads_to().to_owned();
    let waits = visit(url).await;
    assert!(
        waits.says("ご本人確認をお待ちしています") && waits.says(&entrance) && !waits.says("id=\"pay\""),
        "{}",
        waits.text
    );
    assert!(send(url, &[&CARD]).await.leads_to().ends_with("/result"), "one try at a time");
    let given_up = send(&format!("{url}/other-card"), &[]).await;
    let page = visit(&format!("{}{}", world.server.base, given_up.leads_to())).await;
    assert!(page.says("id=\"pay\"") && page.says("あと1回"), "{}", page.text);
    let page = visit(&entrance).await;
    assert!(page.leads_to().contains("HostedPaymentPage"), "what was given up is not gone on with");
    let paid = challenged(&world, url, "4000002500003155", "123456").await;
    let now = world.link_now(&link).await;
    let ids = now["transaction_ids"].as_array().unwrap();
    assert_eq!((&now["status"], ids.len()), (&json!("PAID"), 3));
    let id = ids[2].as_str().unwrap();
    assert_eq!(paid.leads_to(), format!("https://shop.example/thanks?order=1&lang=ja&transaction_id={id}"));
    let status = world.get(&format!("transaction/status/{id}")).await.1;
    assert!(status["transaction_details"]["stored_payment_method_id"].is_string());
    assert_eq!(status["payment_details"]["three_d_secure"]["status"], "Y");
    assert!(visit(url).await.says("お支払いは完了しています"));
    // Passed at the issuer, declined by the bank: back to the form, with the reason.
    let link = world.link(json!({})).await;
    let declined = challenged(&world, url_of(&link), "4000008400001629", "123456").await;
    let page = visit(&format!("{}{}", world.server.base, declined.leads_to())).await;
    assert!(page.says("id=\"pay\"") && (page.says("あと2回") || page.says("2 more times")), "{}", page.text);
    // A card that needs no challenge goes straight through.
    let link = world.link(json!({})).await;
    let paid = send(url_of(&link), &[&with("4000000000003220")]).await;
    assert!(paid.leads_to().starts_with("https://shop.example/thanks"));
}
