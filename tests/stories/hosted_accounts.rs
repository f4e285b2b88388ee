//! The hosted payment page of a link that is paid in a wallet's own page (contract section 8): GCash and PayPay, through a
//! browser without scripts.

use crate::browser::{Browser, Page};
use crate::hosted::{URLS, url_of};
use crate::world::{Engine, World};
use serde_json::{Value, json};

/// In English, whatever the address says.
async fn link(world: &World, wallet: &str, with: Value) -> (String, Value) {
    let mut body = with;
    body["payment_method"]["type"] = json!(wallet);
    let link = world.link(body).await;
    (url_of(&link).replace("/jp/", "/"), link)
}

/// What stands between the page's header and its footer.
fn main_of(world: &World, page: &Page, url: &str) -> String {
    assert_eq!(page.status, 200, "{}", page.text);
    let main = page.text.split("<main>").nth(1).unwrap().split("</main>").next().unwrap();
    main.replace(url.rsplit('/').next().unwrap(), "<code>").replace(&world.server.base, "<checkout>").trim().to_owned()
}

/// Presses the page's button; the payment's own page, where it leads.
async fn begun(browser: &Browser, url: &str, fields: &[(&str, &str)]) -> String {
    let pressed = browser.send(url, fields).await;
    assert_eq!(pressed.status, 303, "{}", pressed.text);
    let entrance = pressed.location.unwrap();
    assert!(entrance.contains("/checkout/"), "{entrance}");
    entrance
}

async fn at_the_wallet(browser: &Browser, entrance: &str) -> Page {
    let there = browser.open(entrance).await;
    assert_eq!(there.status, 303, "{}", there.text);
    let page = browser.open(&there.location.unwrap()).await;
    assert!(page.url.contains("/sandbox/wallet/") && page.status == 200, "{}", page.text);
    page
}

/// Decides at the wallet; where the browser is behind the payment's own page.
async fn decided(browser: &Browser, entrance: &str, decision: &str) -> String {
    let page = at_the_wallet(browser, entrance).await;
    let back = browser.press(&page.form(), &[("decision", decision)]).await;
    let back = back.location.unwrap_or_else(|| panic!("{}", back.text));
    browser.open(&back).await.location.unwrap()
}

/// Our own paths come without a host.
async fn follow(world: &World, browser: &Browser, path: &str) -> Page {
    browser.open(&format!("{}{path}", world.server.base)).await
}

async fn ids(world: &World, link: &Value) -> (Value, Vec<String>) {
    let now = world.link_now(link).await;
    let ids = now["transaction_ids"].as_array().unwrap();
    (now["status"].clone(), ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect())
}

fn policy(world: &World) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self' https://shop.example \
         https://shop.example:8443 https://cart.example {}; frame-ancestors 'none'; base-uri 'none'",
        world.server.base
    )
}

pub async fn paid_in_the_wallet(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let (url, made) = link(&world, "gcash", json!({})).await;
    let page = browser.open(&url).await;
    assert_eq!(page.headers["content-security-policy"].to_str().unwrap(), policy(&world));
    insta::assert_snapshot!(main_of(&world, &page, &url), @r#"
    <div class="due">
    <h1>Amount</h1>
    <p class="sum" id="amount">¥12,800 <small>JPY</small></p>
    <p id="reference">Reference: order-1</p>
    </div>
    <form method="post" id="payment" action="/HostedPaymentPage/<code>" data-summary="Please check the following:">
    <p class="note" id="how">You confirm the payment at GCash, and come back to the shop.</p>
    <button id="pay" type="submit" data-busy="Paying… please wait">Pay with GCash</button>
    </form>
    <form method="post" id="cancelling" action="/HostedPaymentPage/<code>/cancel"><button id="cancel" class="second" type="submit">Cancel and go back</button></form>
    "#);
    for (text, shown) in [
        ("You sign in at GCash itself.", true),
        ("Test mode: no money moves.<", true),
        ("id=\"number\"", false),
        ("card", false),
    ] {
        assert_eq!(page.text.split("</head>").nth(1).unwrap().contains(text), shown, "{text}: {}", page.text);
    }
    let entrance = begun(&browser, &url, &[]).await;
    let wallet = at_the_wallet(&browser, &entrance).await;
    assert!(wallet.text.contains("GCash") && wallet.text.contains("¥12,800"), "{}", wallet.text);
    assert!(!wallet.text.contains("may charge this account again"));
    let (_, tried) = ids(&world, &made).await;
    assert_eq!(
        decided(&browser, &entrance, "approve").await,
        format!("https://shop.example/thanks?order=1&lang=ja&transaction_id={}", tried[0])
    );
    assert_eq!(ids(&world, &made).await, (json!("PAID"), tried.clone()));
    let paid = world.get(&format!("transaction/status/{}", tried[0])).await.1;
    let part = |path: &str| paid.pointer(path).cloned().unwrap_or_default();
    assert_eq!(
        ["/transaction_details/state", "/transaction_type", "/payment_details/payment_method"].map(part),
        [json!("APPROVED"), json!("CAPTURE"), json!("GCASH-SSL")]
    );
    assert_eq!(
        ["/payment_details/amount", "/payment_details/card", "/merchant_details/merchant_txn_ref"].map(part),
        [json!(12800), Value::Null, json!("order-1")]
    );
    assert_eq!(part("/transaction_details/billing_details/billing_address/email"), json!("hanako@example.jp"));
    assert!(browser.open(&url).await.text.contains("This is already paid"));
    // Told like any charge.
    let told = "SELECT count(*) FROM events e JOIN links l ON l.transaction_id = e.transaction_id";
    assert_eq!(world.texts(told).await, ["1"]);
}

pub async fn in_japanese(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let lacks = json!({"amount": null, "billing_address": {"country": "JP", "address1": "1-2-3", "city": "新宿区"},
        "payment_method": {"store_payment_method": true}});
    let (url, made) = link(&world, "paypay", lacks).await;
    let url = url.replace("/HostedPaymentPage/", "/jp/HostedPaymentPage/");
    let page = browser.open(&url).await;
    insta::assert_snapshot!(main_of(&world, &page, &url), @r#"
    <div class="due">
    <h1>札の店 (Fuda sandbox)へのお支払い</h1>
    <p id="reference">ご注文番号: order-1</p>
    </div>
    <form method="post" id="payment" action="/jp/HostedPaymentPage/<code>" data-summary="次の項目をご確認ください。">
    <div class="field">
    <label for="amount">お支払い金額</label>
    <input id="amount" name="amount" type="text" inputmode="numeric" autocomplete="transaction-amount" maxlength="16" value="" required aria-describedby="amount-hint amount-error" data-missing="金額を入力してください。" data-form="金額は 1000 のように数字で入力してください。">
    <p class="wrong" id="amount-error" aria-live="polite"></p>
    <p class="hint" id="amount-hint">ショップとお約束の金額（JPY）</p>
    </div>
    <fieldset>
    <legend>ご請求先</legend>
    <div class="field">
    <label for="email">メールアドレス</label>
    <input id="email" name="email" type="email" inputmode="email" autocomplete="email" maxlength="45" value="" required aria-describedby="email-error" data-missing="メールアドレスを入力してください。" data-form="メールアドレスを name@example.com の形で入力してください。">
    <p class="wrong" id="email-error" aria-live="polite"></p>
    </div>
    <div class="field">
    <label for="phone_number">電話番号</label>
    <input id="phone_number" name="phone_number" type="tel" inputmode="tel" autocomplete="tel" maxlength="20" value="" required aria-describedby="phone_number-error" data-missing="電話番号を入力してください。" data-form="">
    <p class="wrong" id="phone_number-error" aria-live="polite"></p>
    </div>
    </fieldset>
    <p class="note" id="how">ボタンを押すとPayPayの画面に移動します。お支払いが済むとショップに戻ります。</p>
    <p class="note" id="stores">お支払いが完了するとPayPayのアカウントを登録します。次回から札の店 (Fuda sandbox)は、PayPayでの確認なしに請求できるようになります。</p>
    <button id="pay" type="submit" data-busy="処理しています…">PayPayで支払う</button>
    </form>
    <form method="post" id="cancelling" action="/jp/HostedPaymentPage/<code>/cancel"><button id="cancel" class="second" type="submit">キャンセルして戻る</button></form>
    "#);
    // What is missing is asked, and nothing of a card.
    let wrong = browser.send(&url, &[("number", "4111111111111111"), ("email", "taro")]).await;
    assert_eq!(wrong.status, 422);
    let summary = wrong.text.split("id=\"error-summary\"").nth(1).unwrap().split("</ul>").next().unwrap();
    let listed: Vec<&str> = summary.split("href=\"#").skip(1).map(|item| item.split("</a>").next().unwrap()).collect();
    assert_eq!(
        listed,
        [
            "amount\">金額を入力してください。",
            "email\">メールアドレスを name@example.com の形で入力してください。",
            "phone_number\">電話番号を入力してください。",
        ]
    );
    assert!(!wrong.text.contains("4111"));
    assert_eq!(ids(&world, &made).await.1.len(), 0);
    gone_on_with(&world, &browser, &url).await;
    let (status, tried) = ids(&world, &made).await;
    assert_eq!((status, tried.len()), (json!("PAID"), 1));
    // The agreement is a token: charged later without anybody being asked.
    let paid = world.get(&format!("transaction/status/{}", tried[0])).await.1;
    assert_eq!(paid["payment_details"]["amount"], json!(3000));
    let token = paid["transaction_details"]["stored_payment_method_id"].as_str().unwrap_or_else(|| panic!("{paid}"));
    let mut charge = world.token_charge(token);
    charge["payment_method"]["initiator"] = json!("merchant");
    let (status, charged) = world.post("payment", &charge).await;
    assert_eq!((status, &charged["success"]), (201, &json!(true)), "{charged}");
    assert_eq!(charged["payment_details"]["payment_method"], json!("PAYPAY-SSL"));
}

/// To the wallet, away from it without a word, and there again to pay.
async fn gone_on_with(world: &World, browser: &Browser, url: &str) {
    let typed = [("amount", "￥３，０００"), ("email", "taro@example.jp"), ("phone_number", "03-1234-5678")];
    let entrance = begun(browser, url, &typed).await;
    let there = browser.open_in(&entrance, "ja").await;
    let wallet = browser.open_in(&there.location.unwrap(), "ja").await;
    for text in ["PayPay", "￥3,000", "札の店", "ショップは今後もこのアカウントに請求できるようになります。"]
    {
        assert!(wallet.text.contains(text), "{text}: {}", wallet.text);
    }
    // Left without a word: our own page asks, the link's page offers the way on.
    let undecided = browser.open_in(&format!("{entrance}?back"), "ja").await;
    assert!(undecided.text.contains("PayPayでのお支払いの確認がまだ済んでいません。"), "{}", undecided.text);
    let waits = browser.open(url).await;
    let waiting = main_of(world, &waits, url);
    let waiting = waiting.replace(&entrance.replace(&world.server.base, "<checkout>"), "<entrance>");
    insta::assert_snapshot!(waiting, @r#"
    <section class="told" id="told">
    <h1 id="heading">PayPayでのお支払いをお待ちしています</h1>
    <div role="status">
    <p>お支払いの手続きが始まっています。PayPayで承認されるまで、請求は行われません。</p>
    </div>
    <p><a class="button" id="continue" href="<entrance>">PayPayの画面に進む</a></p>
    <form method="post" action="/jp/HostedPaymentPage/<code>/other-card"><button class="button second" id="other-card">はじめからやり直す</button></form>
    </section>
    "#);
    assert!(decided(browser, &entrance, "approve").await.starts_with(URLS[0].1));
}

pub async fn not_paid_in_the_wallet(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let (url, made) = link(&world, "gcash", json!({})).await;
    // Refused there: the reason, and another try.
    let entrance = begun(&browser, &url, &[]).await;
    let page = follow(&world, &browser, &decided(&browser, &entrance, "decline").await).await;
    let alert = page.text.split("role=\"alert\"").nth(1).unwrap().split("</div>").next().unwrap().to_owned();
    insta::assert_snapshot!(alert, @r#"
     tabindex="-1" autofocus>
    <h2>The payment did not go through</h2>
    <p>You did not confirm the payment at GCash.</p>
    <p>Nothing was charged. You can try 2 more times.</p>
    "#);
    assert!(page.text.contains("Pay with GCash"), "{}", page.text);
    // Left on the payment's own page.
    let entrance = begun(&browser, &url, &[]).await;
    let undecided = browser.open(&format!("{entrance}?back")).await;
    assert_eq!(
        undecided.headers["content-security-policy"].to_str().unwrap(),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self' https://shop.example \
         https://shop.example:8443; frame-ancestors 'none'; base-uri 'none'"
    );
    let left = browser.press(&undecided.form(), &[]).await.location.unwrap();
    let page = follow(&world, &browser, &left).await;
    assert!(page.text.contains("You did not confirm the payment at GCash.") && page.text.contains("one more time"));
    // Given up on the link's page; that was the third.
    let entrance = begun(&browser, &url, &[]).await;
    let wallet = at_the_wallet(&browser, &entrance).await.form();
    let waits = browser.open(&url).await;
    assert!(waits.text.contains("Continue at GCash") && waits.text.contains(&entrance), "{}", waits.text);
    let ended = browser.press(&waits.form(), &[]).await.location.unwrap();
    let shop = follow(&world, &browser, &ended).await.location.unwrap();
    let (status, tried) = ids(&world, &made).await;
    assert_eq!((status, tried.len()), (json!("DECLINED"), 3));
    assert_eq!(shop, format!("https://shop.example:8443/declined?transaction_id={}#top", tried[2]));
    // Too late: what was ended stays so.
    let back = browser.press(&wallet, &[("decision", "approve")]).await.location.unwrap();
    let late = browser.open(&back).await.location.unwrap();
    assert_eq!(follow(&world, &browser, &late).await.location.unwrap(), shop);
    for id in &tried {
        let found = world.get(&format!("transaction/status/{id}")).await.1;
        assert_eq!(found["gateway_response"]["code"], json!("ERR1009"), "{found}");
    }
    // What a rule refuses counts, and speaks of no card.
    let limit = json!({"kind": "max_amount", "merchant_id": world.keys.merchant, "currency": "JPY", "amount": "100"});
    assert_eq!(world.post("risk/rules", &limit).await.0, 201);
    let (url, made) = link(&world, "gcash", json!({})).await;
    let page = browser.send(&url, &[]).await;
    assert!(page.text.contains("The amount is outside of what the shop accepts.") && page.text.contains("2 more"));
    assert_eq!(ids(&world, &made).await.1.len(), 1);
}

pub async fn in_many_tabs(engine: Engine) {
    let world = World::new(engine).await;
    let (url, made) = link(&world, "paypay", json!({})).await;
    let tabs: Vec<_> = (0..12)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Browser::new().send(&url, &[]).await.location.unwrap() })
        })
        .collect();
    let mut entrances = Vec::new();
    for tab in tabs {
        let location = tab.await.unwrap();
        match location.contains("/checkout/") {
            true => entrances.push(location),
            false => assert!(location.ends_with("/result"), "{location}"),
        }
    }
    assert_eq!(entrances.len(), 1);
    let browser = Browser::new();
    // The other tabs' page leads into the same payment, and it cannot be cancelled under it.
    let other = browser.open(&format!("{url}/result")).await;
    assert!(other.text.contains(&entrances[0]) && other.text.contains("Continue at PayPay"), "{}", other.text);
    let kept = browser.send(&format!("{url}/cancel"), &[]).await.location.unwrap();
    assert!(kept.contains("/HostedPaymentPage/"), "{kept}");
    let page = at_the_wallet(&browser, &entrances[0]).await;
    let back = browser.press(&page.form(), &[("decision", "approve")]).await.location.unwrap();
    let returns: Vec<_> = (0..8)
        .map(|_| {
            let back = back.clone();
            tokio::spawn(async move { Browser::new().open(&back).await })
        })
        .collect();
    for tab in returns {
        let page = tab.await.unwrap();
        let shop = page.location.as_deref().is_some_and(|url| url.starts_with(URLS[0].1));
        assert!(shop || page.text.contains("http-equiv=\"refresh\""), "{} {}", page.status, page.text);
    }
    let (status, tried) = ids(&world, &made).await;
    assert_eq!((status, tried.len()), (json!("PAID"), 1));
    assert_eq!(world.texts("SELECT count(*) FROM transactions WHERE amount_minor = 12800").await, ["1"]);
    // Before a try it can be cancelled.
    let (url, made) = link(&world, "paypay", json!({})).await;
    assert_eq!(browser.send(&format!("{url}/cancel"), &[]).await.location.unwrap(), URLS[2].1);
    assert!(browser.send(&url, &[]).await.location.unwrap().ends_with("/result"));
    assert_eq!(ids(&world, &made).await, (json!("CANCELLED"), Vec::new()));
}
