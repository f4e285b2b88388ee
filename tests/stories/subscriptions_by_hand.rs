//! `fuda subscriptions`: what an operator sees of subscriptions, and ends.

use crate::world::{Engine, World, fuda};
use serde_json::{Value, json};
use std::time::Duration;

/// Sends the plan with a charge that `with` may change; the subscription as the answer has it.
async fn subscribed(world: &World, number: &str, plan: Value, with: impl FnOnce(&mut Value)) -> Value {
    let mut body = world.card_charge(number);
    body["subscription"] = plan;
    with(&mut body);
    let (status, answer) = world.post("subscription/payment", &body).await;
    assert_eq!(status, 201, "{answer:#}");
    answer["subscription_details"].clone()
}

fn monthly() -> Value {
    json!({"plan_name": "月額プラン", "plan_desc": "毎月のお支払い", "cycle_type": "MONTHLY", "cycle_interval": 1,
        "subscription_end_type": "FOREVER", "has_trial_period": false, "has_discount": false})
}

fn id(one: &Value) -> String {
    one["id"].as_str().unwrap().to_owned()
}

fn refused(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = fuda(&world.folder, world.database_url.as_deref()).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn json_of(world: &World, args: &[&str]) -> Value {
    let text = world.run(args);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list["subscriptions"].as_array().unwrap().iter().map(id).collect()
}

/// What differs in each run, by its form: ids, times, this world's own names.
fn stable(world: &World, text: &str) -> String {
    let digits = |word: &str| word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let word = |word: &str| {
        let (bare, comma) = word.strip_suffix(',').map_or((word, ""), |bare| (bare, ","));
        let said = match bare {
            _ if bare == world.keys.entity => "<entity>",
            _ if bare == world.keys.merchant => "<merchant>",
            _ if bare == world.token => "<token>",
            _ if bare.len() == 36 && digits(bare) => "<id>",
            _ if bare.len() == 24 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' => "<time>",
            _ => bare,
        };
        format!("{said}{comma}")
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ").trim_end().to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A paused one on a card of its own, and one with all that a plan can have, on the entity's card.
async fn two(world: &World) -> (Value, Value) {
    let first = subscribed(world, "4111111111111111", monthly(), |_| ()).await;
    let plan = json!({"plan_name": "Box", "cycle_type": "WEEKLY", "cycle_interval": 2, "subscription_end_type": "CYCLE",
        "max_cycle_count": 12, "has_trial_period": true, "trial_period_duration_type": "DAYS", "trial_period_duration": 14,
        "has_discount": true, "discount_percentage": 10, "discount_duration": 3});
    let second = subscribed(world, "4111111111111111", plan, |body| {
        body["time_zone"] = json!("Asia/Tokyo");
        body["payment_method"] = json!({"type": "scheme", "stored_payment_method_id": world.token});
        body.as_object_mut().unwrap().remove("card");
    })
    .await;
    let (status, _) = world.post(&format!("subscription/{}/pause", id(&first)), &json!({})).await;
    assert_eq!(status, 200);
    // Of a declined first charge there is none, for operators neither.
    let mut declined = world.card_charge("4000000000000002");
    declined["subscription"] = monthly();
    assert_eq!(world.post("subscription/payment", &declined).await.1["success"], false);
    (first, second)
}

pub async fn are_listed_and_shown(engine: Engine) {
    let world = World::new(engine).await;
    assert_eq!(world.run(&["subscriptions", "list"]), "No such subscriptions.\n");
    assert_eq!(json_of(&world, &["subscriptions", "list", "--json"]), json!({"subscriptions": [], "more": false}));

    let (first, second) = two(&world).await;
    let other = world.other_entity();

    let list = |more: &[&str]| world.run(&[&["subscriptions", "list"][..], more].concat());
    insta::assert_snapshot!(stable(&world, &list(&[])), @r"
    <id>  ACTIVE     <merchant>  1000 JPY every 2 weeks  cycle 1 on <time>  Box
    <id>  PAUSED     <merchant>  1000 JPY every month  cycle 2 of <time> waits for the resume  月額プラン
    One of them with its charges: fuda subscriptions show ID
    ");
    let both = json_of(&world, &["subscriptions", "list", "--json"]);
    assert_eq!((ids(&both), &both["more"]), (vec![id(&second), id(&first)], &json!(false)));
    assert!(both["subscriptions"][0].get("subscription_transaction_details").is_none(), "{both:#}");
    let one = json_of(&world, &["subscriptions", "list", "--limit", "1", "--json"]);
    assert_eq!((ids(&one), &one["more"]), (vec![id(&second)], &json!(true)));
    assert!(list(&["--limit", "1"]).ends_with("The newest 1; --limit shows more, --status and --merchant fewer.\n"));
    for status in ["PAUSED", "paused"] {
        let paused = json_of(&world, &["subscriptions", "list", "--status", status, "--json"]);
        assert_eq!(ids(&paused), [id(&first)]);
    }
    assert_eq!(list(&["--status", "past-due"]), "No such subscriptions.\n");
    assert_eq!(list(&["--merchant", &other.merchant]), "No such subscriptions.\n");
    assert_eq!(
        ids(&json_of(&world, &["subscriptions", "list", "--merchant", &world.keys.merchant, "--json"])).len(),
        2
    );

    insta::assert_snapshot!(stable(&world, &world.run(&["subscriptions", "show", &id(&first)])), @r"
    <id>  PAUSED  月額プラン
      merchant  <merchant> (test), entity <entity>
      plan      毎月のお支払い
      price     1000 JPY every month
      time zone UTC
      created   <time>
      ends      never by itself
      paid      1 cycle(s)
      next      cycle 2 of <time> waits for the resume
      card      <id>, stored for this subscription alone
      cycle 1   <time>  1000 JPY  paid      <id>
    To end it at once: fuda subscriptions cancel <id> --reason …
    ");
    insta::assert_snapshot!(stable(&world, &world.run(&["subscriptions", "show", &id(&second)])), @r"
    <id>  ACTIVE  Box
      merchant  <merchant> (test), entity <entity>
      price     1000 JPY every 2 weeks, 10 % less in the first 3 cycle(s)
      trial     14 days
      time zone Asia/Tokyo
      created   <time>
      ends      after 12 paid cycle(s)
      paid      0 cycle(s)
      next      cycle 1 on <time>
      card      <token>, a stored card of the entity
    No charges yet.
    To end it at once: fuda subscriptions cancel <id> --reason …
    ");
    for one in [&first, &second] {
        // All that the API's callers see, and whose it is.
        let mut shown = json_of(&world, &["subscriptions", "show", &id(one), "--json"]);
        let fields = shown.as_object_mut().unwrap();
        let own = ["merchant_id", "entity_id", "is_live", "declines"].map(|name| fields.remove(name).unwrap());
        assert_eq!(own, [json!(world.keys.merchant), json!(world.keys.entity), json!(false), json!(0)]);
        assert!(fields.remove("created").is_some() && fields.remove("token_id").is_some());
        let (_, seen) = world.get(&format!("subscription/{}", id(one))).await;
        assert_eq!(shown, seen["subscription_details"]);
    }
}

pub async fn that_cannot_be_shown(engine: Engine) {
    let world = World::new(engine).await;
    let unknown = "fuda: there is no such subscription: fuda subscriptions list shows them\n";
    let upper = "0193626C-29C5-7B11-8A1B-2C3D4E5F6071";
    for text in ["", "x", "0193626c-29c5-7b11-8a1b-2c3d4e5f6071", upper, "月額", &"9".repeat(10_000)] {
        assert_eq!(refused(&world, &["subscriptions", "show", text]), (Some(1), unknown.to_owned()), "{text}");
        let cancel = ["subscriptions", "cancel", text, "--reason", "ticket 1"];
        assert_eq!(refused(&world, &cancel), (Some(1), unknown.to_owned()), "{text}");
    }
    let merchant = "fuda: there is no such merchant: fuda merchant list shows them\n";
    for text in ["", "JP99999999", "' OR ''='"] {
        assert_eq!(refused(&world, &["subscriptions", "list", "--merchant", text]), (Some(1), merchant.to_owned()));
    }
    for args in
        [["--status", "STARTING"], ["--status", "nope"], ["--limit", "0"], ["--limit", "1001"], ["--limit", "x"]]
    {
        let (code, said) = refused(&world, &[&["subscriptions", "list"][..], &args].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(args[0]), "{said}");
    }
    assert_eq!(refused(&world, &["subscriptions"]).0, Some(2));
}

pub async fn are_cancelled(engine: Engine) {
    let world = World::new(engine).await;
    // Its card is its own, and its end erases it.
    let owned = subscribed(&world, "4111111111111111", monthly(), |_| ()).await;
    let shared = subscribed(&world, "4111111111111111", monthly(), |body| {
        body["payment_method"] = json!({"type": "scheme", "stored_payment_method_id": world.token});
        body.as_object_mut().unwrap().remove("card");
    })
    .await;
    let (owned, shared) = (id(&owned), id(&shared));
    let cards = "SELECT COUNT(*) FROM tokens WHERE owner IS NOT NULL";
    assert_eq!(world.texts(cards).await, ["1"]);

    for reason in ["", "  ", "a\u{7}bell", "4111111111111111", "カード ４１１１ 1111 1111 1111", &"あ".repeat(256)]
    {
        let (code, said) = refused(&world, &["subscriptions", "cancel", &owned, "--reason", reason]);
        assert_eq!((code, said.as_str()), (Some(1), "fuda: --reason takes 1 to 255 characters, and no card number\n"));
    }
    assert_eq!(refused(&world, &["subscriptions", "cancel", &owned]).0, Some(2), "without a reason");
    let nowhere = ["--sandbox-bank", "/nowhere/bank.db", "subscriptions", "cancel", &owned, "--reason", "ticket 1"];
    assert!(refused(&world, &nowhere).1.contains("there is no sandbox bank at /nowhere/bank.db"));
    assert_eq!(world.deeds("subscription").await, [] as [&str; 0]);
    assert_eq!(world.get(&format!("subscription/{owned}")).await.1["subscription_details"]["status"], "ACTIVE");

    let said = world.run(&["subscriptions", "cancel", &owned, "--reason", " 閉店のため "]);
    assert_eq!(said, format!("{owned} is CANCELLED now. This is in the audit log.\n"));
    let said = json_of(&world, &["subscriptions", "cancel", &shared, "--reason", "ticket 1234", "--json"]);
    assert_eq!(said, json!({"id": shared, "status": "CANCELLED"}));
    let deeds = ["ACTIVE before: 閉店のため", "ACTIVE before: ticket 1234"];
    let deeds =
        [format!("subscription.cancel {owned} {}", deeds[0]), format!("subscription.cancel {shared} {}", deeds[1])];
    assert_eq!(world.deeds("subscription").await, deeds);
    let again = refused(&world, &["subscriptions", "cancel", &owned, "--reason", "again"]);
    assert_eq!(again, (Some(1), "fuda: the subscription is CANCELLED: there is nothing to cancel\n".to_owned()));
    assert_eq!(world.deeds("subscription").await.len(), 2);

    // The running gateway and its callers see it; the card of its own is gone, the entity's is not.
    for id in [&owned, &shared] {
        let (_, seen) = world.get(&format!("subscription/{id}")).await;
        assert_eq!(seen["subscription_details"]["status"], "CANCELLED");
        assert_eq!(world.post(&format!("subscription/{id}/resume"), &json!({})).await.0, 412);
        assert!(world.run(&["subscriptions", "show", id]).contains("  next      no charge follows\n"));
    }
    assert_eq!(world.texts(cards).await, ["0"]);
    assert_eq!(world.post("payment", &world.token_charge(&world.token)).await.0, 201);
    let (_, feed) = world.get("events").await;
    // Told of its change, and not of a charge.
    let bodies = feed["events"].as_array().unwrap().iter().map(|event| event["body"].as_str().unwrap());
    let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).unwrap());
    let changes = bodies.filter(|body| body.get("transaction_details").is_none());
    let told: Vec<_> = changes.map(|body| body["subscription_details"]["status"].clone()).collect();
    assert_eq!(told, ["CANCELLED", "CANCELLED"], "{feed:#}");
}

/// Two operators, and the merchant: one cancel is written, and one deed.
pub async fn cancelled_by_many_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let one = id(&subscribed(&world, "4111111111111111", monthly(), |_| ()).await);
    let operator = |reason: &str| {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        command.args(["subscriptions", "cancel", &one, "--reason", reason]);
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let operators = ["first", "second", "third"].map(operator);
    let (path, empty) = (format!("subscription/{one}/cancel"), json!({}));
    let (status, _) = world.post(&path, &empty).await;
    let by_hand = operators.map(|child| child.wait_with_output().unwrap());
    let by_hand = by_hand.iter().filter(|output| output.status.success()).count();
    assert_eq!(by_hand + usize::from(status == 200), 1);
    assert_eq!(world.deeds("subscription").await.len(), by_hand);
}

pub async fn that_was_declined(engine: Engine) {
    let world = World::new(engine).await;
    // The bank takes the card from the cardholder, and declines it from the vault.
    let one = id(&subscribed(&world, "4000000000000341", monthly(), |_| ()).await);
    world
        .sql("UPDATE subscriptions SET due_at = created_at; UPDATE jobs SET due_at = 1, run_at = 1 WHERE kind = 6")
        .await;
    let shown = || json_of(&world, &["subscriptions", "show", &one, "--json"]);
    let mut tries = 0;
    while shown()["status"] != "PAST_DUE" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tries += 1;
        assert!(tries < 200, "{:#}", shown());
    }
    assert_eq!(
        ids(&json_of(&world, &["subscriptions", "list", "--status", "PAST_DUE", "--json"])),
        std::slice::from_ref(&one)
    );
    assert_eq!(shown()["declines"], 1);
    insta::assert_snapshot!(stable(&world, &world.run(&["subscriptions", "show", &one])), @r"
    <id>  PAST_DUE  月額プラン
      merchant  <merchant> (test), entity <entity>
      plan      毎月のお支払い
      price     1000 JPY every month
      time zone UTC
      created   <time>
      ends      never by itself
      paid      1 cycle(s)
      next      cycle 2 is tried again on <time>
      declined  1 time(s) since <time>
      card      <id>, stored for this subscription alone
      cycle 1   <time>  1000 JPY  paid      <id>
      cycle 2   <time>  1000 JPY  not paid  <id>
    To end it at once: fuda subscriptions cancel <id> --reason …
    ");
    world.run(&["subscriptions", "cancel", &one, "--reason", "ticket 77"]);
    assert_eq!(world.deeds("subscription").await, [format!("subscription.cancel {one} PAST_DUE before: ticket 77")]);
}
