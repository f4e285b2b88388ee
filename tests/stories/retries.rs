//! A merchant's days of retries, set at the command line beside the running gateway.

use crate::world::{Engine, World, fuda};
use serde_json::{Value, json};

pub async fn a_merchants_days(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = world.keys.merchant.as_str();
    let run = |args: &[&str]| world.run(&[&["merchant", "retries", merchant], args].concat());
    let days = |args: &[&str]| serde_json::from_str::<Value>(&run(&[args, &["--json"]].concat())).unwrap();
    let with = |days: Value| json!({"merchant_id": merchant, "retry_days": days});
    assert_eq!(days(&[]), with(json!([1, 3, 5])));
    assert_eq!(days(&["--days", "2,7,14"]), with(json!([2, 7, 14])));
    assert_eq!(days(&[]), with(json!([2, 7, 14])));
    assert_eq!(days(&["--days", "none"]), with(json!([])));
    assert_eq!(
        run(&[]).lines().next().unwrap(),
        format!("A declined renewal of merchant {merchant} is not tried again.")
    );
    insta::allow_duplicates! { insta::assert_snapshot!(run(&["--days", "60"]).replace(merchant, "<merchant>"), @r"
    A declined renewal of merchant <merchant> is tried again, in days after its first failure: 60.
    In force within a second.
    ") }
    insta::allow_duplicates! { insta::assert_snapshot!(run(&[]).replace(merchant, "<merchant>"), @r"
    A declined renewal of merchant <merchant> is tried again, in days after its first failure: 60.
    To change it: fuda merchant retries <merchant> --days 1,3,5
    ") }
    // Another merchant of the store keeps its own.
    let other = world.other_entity().merchant;
    let listed: Value = serde_json::from_str(&world.run(&["merchant", "list", "--json"])).unwrap();
    let listed = listed["merchants"].as_array().unwrap();
    let of = |id: &str| listed.iter().find(|one| one["merchant_id"] == id).unwrap()["retry_days"].clone();
    assert_eq!((of(merchant), of(&other)), (json!([60]), json!([1, 3, 5])));
    let deeds = world.deeds("merchant.retries").await;
    let said = |days: &str| format!("merchant.retries {merchant} {days}");
    assert_eq!(deeds, [said("2,7,14"), said("none"), said("60")]);
    // What is refused changes nothing, and says what would do.
    for (id, wrong, exit, why) in [
        (merchant, "0", 2, "from 1 to 60"),
        (merchant, "61", 2, "from 1 to 60"),
        (merchant, "3,1", 2, "each later than the one before"),
        (merchant, "", 2, "such as 1,3,5"),
        (merchant, "１", 2, "or: none"),
        (merchant, "1,2,3,4,5,6,7,8,9,10,11", 2, "one to ten"),
        ("JP99999999", "1", 1, "there is no such merchant: fuda merchant list shows them"),
    ] {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let refused = command.args(["merchant", "retries", id, "--days", wrong]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(exit), "{wrong}: {said}");
        assert!(said.contains(why), "{wrong}: {said}");
    }
    assert_eq!((days(&[]), world.deeds("merchant.retries").await.len()), (with(json!([60])), 3));
}
