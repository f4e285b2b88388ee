//! The tools that the other stories rely on, turned on pages whose faults are known.

use crate::chromium::{Habits, Visitor};
use crate::shop::Shop;
use crate::world::{Engine, World};

const GOOD: &str = "<!doctype html><html lang=en><title>Good</title>
    <meta name=viewport content='width=device-width'><main><h1>Good</h1>
    <label>Name <input name=name autocomplete=name></label></main>";

const BAD: &str = "<!doctype html><html lang=en><title>Bad</title>
    <meta name=viewport content='width=device-width'><main><h1>Bad</h1><input name=name>
    <p style='color:#999;background:#fff'>pale</p><div style='width:500px'>wide</div>
    <style>@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } h1 { color: #222 } }</style></main>";

pub async fn faults_of_a_page_are_found(_: Engine) {
    let shop = Shop::new().await;
    shop.shows("/good", GOOD);
    shop.shows("/bad", BAD);
    let visitor = Visitor::new(Habits::default()).await;
    visitor.screen(320, 640).await;
    visitor.opens(&shop.url("/good")).await;
    visitor.is_accessible("good").await;
    assert_eq!(visitor.overhang().await, 0);
    visitor.picture("harness", false).await;
    let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots/harness.png")).unwrap();
    assert_eq!(picture[12..20], *b"IHDR\0\0\x01\x40");
    visitor.opens(&shop.url("/bad")).await;
    let rules = |faults: Vec<String>| {
        let mut rules: Vec<_> = faults.iter().map(|fault| fault.split(' ').next().unwrap().to_owned()).collect();
        rules.sort();
        rules
    };
    assert_eq!(rules(visitor.faults().await), ["\"color-contrast\":", "\"label\":"]);
    visitor.prefers("dark", "reduce").await;
    assert_eq!(rules(visitor.faults().await), ["\"color-contrast\":", "\"color-contrast\":", "\"label\":"]);
    assert_eq!(visitor.runs("return matchMedia('(prefers-reduced-motion: reduce)').matches").await, true);
    assert!(visitor.overhang().await > 100);
}

pub async fn what_a_page_asks_for_is_seen(_: Engine) {
    let shop = Shop::new().await;
    let script = "localStorage.kept = 'one'; sessionStorage.kept = 'two'; document.cookie = 'kept=three'";
    let form = "<form method=post action='/post?q'><input name=secret><button>Send</button></form>";
    shop.shows("/form", &format!("{GOOD}<img src='http://127.0.0.2:1/x.png' alt=''>{form}<script>{script}</script>"));
    let mut visitor = Visitor::new(Habits { language: "ja", ..Habits::default() }).await;
    visitor.opens(&shop.url("/form#mark")).await;
    assert_eq!(visitor.runs("return navigator.language").await, "ja");
    let kept = visitor.remembers().await;
    for found in ["\"one\"", "\"two\"", "kept=three", "/form#mark"] {
        assert!(kept.contains(found.trim_matches('"')), "{found} is not in {kept}");
    }
    visitor.fills("secret", "seen 1").await;
    visitor.presses("button").await;
    assert_eq!(visitor.arrives(&shop.url("/post")).await, shop.url("/post?q"));
    assert_eq!(shop.told(), ["secret=seen+1"]);
    let asked = visitor.asked().await;
    assert!(asked.iter().any(|asked| asked.url == "http://127.0.0.2:1/x.png"), "{asked:#?}");
    let posted: Vec<_> = asked.iter().filter(|asked| asked.method == "POST").collect();
    assert_eq!((posted.len(), posted[0].body.as_str()), (1, "secret=seen+1"));
    assert!(posted.iter().all(|posted| !posted.rest.contains("seen")), "{posted:#?}");
    visitor.leave();
    assert!(visitor.profile.join("Default").exists());
}

pub async fn without_scripts(_: Engine) {
    let shop = Shop::new().await;
    shop.shows("/", &format!("{GOOD}<script>document.title = 'Scripted'</script>"));
    let visitor = Visitor::new(Habits { javascript: false, ..Habits::default() }).await;
    visitor.opens(&shop.url("/")).await;
    assert_eq!(visitor.window.title().await.unwrap(), "Good");
    visitor.fills("name", "Hanako").await;
    assert!(!visitor.has("[name=other]").await);
    let field = visitor.sees("[name=name]").await;
    assert_eq!(field.prop("value").await.unwrap().unwrap(), "Hanako");
}

/// The shop asks its gateway before the browser has its answer.
pub async fn the_shop_is_asked_first(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Shop::new().await;
    shop.asks(world.authed(world.http.get(world.url("events")), &world.keys));
    let visitor = Visitor::new(Habits::default()).await;
    visitor.opens(&shop.url("/done?%E6%9C%AD=1&a#part")).await;
    assert_eq!(visitor.place().await, shop.url("/done?%E6%9C%AD=1&a#part"));
    let visits = shop.visits();
    assert_eq!((visits.len(), visits[0].target.as_str()), (1, "/done?%E6%9C%AD=1&a"));
    assert_eq!((&visits[0].learned["success"], &visits[0].referrer), (&true.into(), &None));
}
