//! By which acquirer a merchant's payments go, set at the command line beside the running gateway.

use crate::operator::{refused, take_key_out};
use crate::world::{Engine, World, fuda};
use serde_json::{Value, json};

/// The words of `fuda route add` for a merchant and an acquirer.
fn words<'a>(merchant: &'a str, acquirer: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["route", "add", "--merchant", merchant, "--acquirer", acquirer];
    for (name, value) in [("--terminal", "T1"), ("--acceptor", "SHOP 1")] {
        if !more.contains(&name) {
            words.extend([name, value]);
        }
    }
    [&words[..], more].concat()
}

fn add(world: &World, acquirer: &str, more: &[&str]) -> Value {
    let words = words(&world.keys.merchant, acquirer, more);
    serde_json::from_str(&world.run(&[&words[..], &["--json"]].concat())).unwrap()
}

fn id(added: &Value) -> String {
    added["route"]["id"].to_string()
}

/// One line on standard error, exit 1.
fn not_added(world: &World, acquirer: &str, more: &[&str]) -> String {
    not_done(world, &words(&world.keys.merchant, acquirer, more))
}

fn not_done(world: &World, words: &[&str]) -> String {
    refused(fuda(&world.folder, world.database_url.as_deref()).args(words))
}

/// Currency, rank and acquirer of the routes in force, the oldest first.
fn standing(world: &World) -> Vec<String> {
    let listed: Value = serde_json::from_str(&world.run(&["route", "list", "--json"])).unwrap();
    let line = |route: &Value| {
        let currency = route["currency"].as_str().unwrap_or("any");
        format!("{currency} {} {}", route["rank"].as_str().unwrap(), route["acquirer"].as_str().unwrap())
    };
    listed["routes"].as_array().unwrap().iter().map(line).collect()
}

pub async fn made_listed_and_ended(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = world.keys.merchant.as_str();
    assert!(world.run(&["route", "list"]).starts_with("No route: test payments go to the sandbox"));
    let place = "SHIBUYA TOKYO JP";
    let added = add(&world, "acme", &["--currency", "jpy", "--category", "5411", "--place", place]);
    let (first, created) = (id(&added), added["route"]["created"].clone());
    let route = json!({"id": added["route"]["id"], "merchant_id": merchant, "is_live": false, "currency": "JPY",
        "rank": "first", "acquirer": "acme", "terminal": "T1", "acceptor": "SHOP 1", "category": "5411", "place": place,
        "created": created, "ended": null});
    assert_eq!(added, json!({"route": route, "replaced": null, "acquirer_checked": false}));
    let said = world.run(&words(merchant, "other-bank", &["--currency", "JPY", "--second"]));
    let known = |said: &str| said.replace(merchant, "<merchant>");
    insta::allow_duplicates! { insta::assert_snapshot!(known(&said), @r"
    Route 2: <merchant>, test JPY, second, goes to other-bank as terminal T1, acceptor SHOP 1
    In force within a second. To end it: fuda route end 2
    Whether the gateways have an acquirer other-bank was not checked: --acquirers FILE would have.
    ") }
    let said = world.run(&words(merchant, "sandbox", &[]));
    insta::allow_duplicates! { insta::assert_snapshot!(known(&said), @r"
    Route 3: <merchant>, test any currency, first, goes to sandbox as terminal T1, acceptor SHOP 1
    In force within a second. To end it: fuda route end 3
    ") }
    let before: Value = serde_json::from_str(&world.run(&["route", "list", "--json"])).unwrap();
    assert_eq!(before["routes"][0], route);
    assert_eq!(standing(&world), ["JPY first acme", "JPY second other-bank", "any first sandbox"]);
    // Another merchant's are its own.
    let other = world.other_entity().merchant;
    world.run(&words(&other, "acme", &[]));
    let of = |merchant: &str, all: bool| {
        let all: &[&str] = if all { &["--all"] } else { &[] };
        world.run(&[&["route", "list", "--merchant", merchant], all].concat())
    };
    assert_eq!((of(merchant, false).lines().count(), of(&other, false).lines().count()), (3, 1));
    let replaced = add(&world, "acme", &["--currency", "JPY", "--replace", "--terminal", "T2"]);
    assert_eq!((&replaced["replaced"], &replaced["route"]["terminal"]), (&route["id"], &json!("T2")));
    assert!(world.run(&["route", "end", "2"]).starts_with("Route 2 has ended, everywhere within a second."));
    let ended: Value = serde_json::from_str(&world.run(&["route", "end", &id(&replaced), "--json"])).unwrap();
    assert_eq!(ended, json!({"id": replaced["route"]["id"], "ended": true}));
    assert_eq!(standing(&world), ["any first sandbox", "any first acme"]);
    let all = of(merchant, true);
    assert_eq!((all.lines().count(), all.matches(", ended 20").count()), (4, 3), "{all}");
    // The replaced one ended when the other began.
    assert_eq!(world.texts("SELECT r.id FROM routes r, routes n WHERE r.ended_at = n.created_at").await, [first]);
    let deeds = world.deeds("route.").await;
    let deeds: Vec<&str> =
        deeds.iter().filter_map(|deed| deed.split_once(&format!("{merchant} ")).map(|(_, detail)| detail)).collect();
    insta::allow_duplicates! { insta::assert_snapshot!(deeds.join("\n"), @r"
    test JPY, first to acme: terminal T1, acceptor SHOP 1, category 5411, place SHIBUYA TOKYO JP
    test JPY, second to other-bank: terminal T1, acceptor SHOP 1
    test any currency, first to sandbox: terminal T1, acceptor SHOP 1
    test JPY, first to acme: terminal T2, acceptor SHOP 1, in place of route 1
    route 2: test JPY, second to other-bank
    route 5: test JPY, first to acme
    ") }
}

pub async fn that_cannot_be(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = world.keys.merchant.as_str();
    add(&world, "acme", &["--currency", "JPY"]);
    add(&world, "other", &["--currency", "JPY", "--second"]);
    let jpy = ["--currency", "JPY"];
    for (acquirer, more, why) in [
        (
            "third",
            &jpy[..],
            format!("{merchant} has a route test JPY, first already, 1 to acme: end it (fuda route end 1)"),
        ),
        (
            "third",
            &["--currency", "JPY", "--second"],
            format!("{merchant} has a route test JPY, second already, 2 to other"),
        ),
        // It would be both.
        ("other", &["--currency", "JPY", "--replace"], "route 2 goes to other too, as the second".to_owned()),
        ("acme", &["--currency", "JPY", "--second", "--replace"], "route 1 goes to acme too, as the first".to_owned()),
        ("acme", &["--second"], format!("{merchant} has no route test any currency, first: add that one first")),
        ("acme", &["--currency", "JPY", "--second", "--live"], "has no route live JPY, first".to_owned()),
        ("acme", &["--currency", "CHF"], format!("merchant {merchant} does not take CHF; it takes JPY, ")),
        ("acme", &["--currency", "YEN"], "--currency takes an ISO 4217 code".to_owned()),
        ("sandbox", &["--live"], "the sandbox takes test payments only".to_owned()),
        ("Acme", &[], "1 to 32 of a-z, 0-9 and -".to_owned()),
        ("acme", &["--terminal", "123456789"], "the terminal is 1 to 8".to_owned()),
        ("acme", &["--acceptor", "東京"], "the acceptor is 1 to 15".to_owned()),
        ("acme", &["--category", "541"], "the category is four digits".to_owned()),
        ("acme", &["--place", "4111 1111 1111 1111"], "the place is 1 to 40".to_owned()),
    ] {
        let said = not_added(&world, acquirer, more);
        assert!(said.contains(&why), "{acquirer} {more:?}: {said}");
        assert!(!said.contains("4111"), "{said}");
    }
    let unknown = "there is no such merchant: fuda merchant list shows them";
    for (words, why) in [
        (words("JP99999999", "acme", &[]), unknown),
        (vec!["route", "list", "--merchant", "JP99999999"], unknown),
        (vec!["route", "end", "99"], "there is no such route in force: fuda route list shows them"),
        (vec!["route", "end", "1"], "route 2 to other is second to it: end that one first (fuda route end 2)"),
    ] {
        let said = not_done(&world, &words);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    // Nothing of it has changed anything; then the second goes, and the first after it, once.
    assert_eq!(standing(&world), ["JPY first acme", "JPY second other"]);
    assert_eq!(world.deeds("route.").await.len(), 2);
    for id in ["2", "1"] {
        world.run(&["route", "end", id]);
        let twice = not_done(&world, &["route", "end", id]);
        assert!(twice.contains("no such route in force"), "{twice}");
    }
    assert_eq!(standing(&world), [""; 0]);
}

/// Without --live a route is for what the merchant's keys are for.
pub async fn of_a_mode(engine: Engine) {
    let mut world = World::durable(engine).await;
    assert_eq!(world.server.stop(), Some(0));
    let key = take_key_out(&world);
    let run = |words: &[&str]| -> Value {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let output = command.args(words).arg("--json").env("FUDA_VAULT_KEY", &key).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mode = |merchant: &str, more: &[&str]| run(&words(merchant, "acme", more))["route"]["is_live"].clone();
    let tests = world.keys.merchant.as_str();
    assert_eq!((mode(tests, &[]), mode(tests, &["--live"])), (json!(false), json!(true)));
    let words = ["merchant", "add", "--legal-name", "Live K.K.", "--country", "JP", "--currency", "JPY", "--live"];
    let made = run(&words);
    let (live, entity) = (made["merchant_id"].as_str().unwrap(), made["entity_id"].as_str().unwrap());
    assert_eq!(mode(live, &[]), true);
    // With keys of both kinds it must be said.
    run(&["key", "new", "--entity", entity]);
    assert_eq!((mode(live, &[]), mode(live, &["--replace", "--live"])), (json!(false), json!(true)));
}

/// With an acquirers file the name must be in it, and of the route's mode.
pub async fn looked_up_in_the_acquirers_file(engine: Engine) {
    let world = World::new(engine).await;
    let file = world.folder.join("some.toml");
    let one = |name: &str, mode: &str| {
        format!("[acquirers.{name}]\nprotocol = \"iso8583\"\nmode = \"{mode}\"\naddress = \"host.example:5000\"\n")
            + "dialect = \"generic-1987\"\n"
    };
    std::fs::write(&file, one("acme", "test") + &one("north", "live")).unwrap();
    let path = file.to_str().unwrap();
    let with = |more: &[&'static str]| [&["--acquirers", path], more].concat();
    for (acquirer, more, why) in [
        ("acne", with(&[]), format!("fuda: {path} has no acquirer acne\n")),
        ("north", with(&[]), "fuda: north is no test acquirer: this would be a test route\n".to_owned()),
        ("acme", with(&["--live"]), "fuda: acme is no live acquirer: this would be a live route\n".to_owned()),
        ("acme", vec!["--acquirers", "/nowhere.toml"], "fuda: cannot read /nowhere.toml: ".to_owned()),
    ] {
        let said = not_added(&world, acquirer, &more);
        assert!(said.starts_with(&why), "{acquirer}: {said}");
    }
    assert_eq!(standing(&world), [""; 0]);
    for (acquirer, more) in
        [("acme", with(&[])), ("north", with(&["--live"])), ("sandbox", with(&["--currency", "JPY"]))]
    {
        assert_eq!(add(&world, acquirer, &more)["acquirer_checked"], true, "{acquirer}");
    }
    // The built-in one needs no file to be known.
    assert_eq!(add(&world, "sandbox", &["--currency", "USD"])["acquirer_checked"], true);
    let said = world.run(&words(&world.keys.merchant, "acme", &with(&["--replace"])));
    assert!(said.contains("goes to acme") && !said.contains("was not checked"), "{said}");
}

/// Of many who add a route at once for the same payments one does.
pub async fn made_by_many_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = world.keys.merchant.as_str();
    let start = |acquirer: &str| {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        command.args(words(merchant, acquirer, &[]));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..6).map(|at| start(&format!("bank-{at}"))).collect();
    let mut added = 0;
    for child in all {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        added += usize::from(output.status.success());
        let told = ["has a route", "were changed by somebody else"].iter().any(|why| said.contains(why));
        assert!(output.status.success() || told, "{said}");
    }
    assert_eq!((added, standing(&world).len(), world.deeds("route.").await.len()), (1, 1, 1));
}
