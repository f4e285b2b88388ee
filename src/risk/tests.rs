//! Rules against a database of their own, on both engines.

use super::asked::{self, Asked};
use super::change::{self, Added, Author};
use super::*;
use crate::clock::Clock;
use crate::db::{Durability, MIGRATIONS, args};
use crate::id::EntityId;
use crate::random::Random;

const NOW: Millis = 1_790_000_000_000;

struct Place {
    db: Db,
    random: Random,
    caller: Caller,
    pan: Pan,
}

/// SQLite, and PostgreSQL where a cluster is given.
async fn places() -> Vec<Place> {
    let random = Random::system();
    let name = format!("fuda_risk_{}", u64::from_le_bytes(random.bytes()));
    let mut engines = vec![Db::open_sqlite(&std::env::temp_dir().join(format!("{name}.db")), Durability::Off).unwrap()];
    if let Ok(admin) = std::env::var("FUDA_TEST_POSTGRES") {
        let (client, connection) = tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
        engines.push(Db::connect_postgres(&url, Clock::system()).await.unwrap());
    }
    let mut places = Vec::new();
    for db in engines {
        db.migrate(MIGRATIONS).await.unwrap();
        let caller = Caller { entity: EntityId::new(&random), live: false };
        let insert = "INSERT INTO entities (id, created_at) VALUES ($1, $2)";
        applied(db.write(vec![Stmt::new(insert, args![caller.entity, NOW])]).await.unwrap());
        places.push(Place { db, random: Random::system(), caller, pan: Pan::parse("4111111111111111").unwrap() });
    }
    places
}

fn applied(written: crate::db::Written) {
    assert!(matches!(written, crate::db::Written::Applied(_)));
}

impl Place {
    fn author(&self) -> Author<'_> {
        Author { who: "somebody", caller: self.caller, now: NOW }
    }

    async fn try_add(&self, asked: &Asked<'_>) -> Result<Rule, Error> {
        let draft = asked::draft(asked, &|_| "f".repeat(32)).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        match change::add(&self.db, &self.random, &self.author(), draft, |_| (vec![], vec![])).await? {
            Added::Rule(rule) => Ok(*rule),
            Added::FirstFailed => panic!("there was no first"),
        }
    }

    async fn add(&self, kind: &str, merchant: Option<&str>, values: &[(&'static str, &str)]) -> Rule {
        self.try_add(&Asked { kind, merchant, values: values.to_vec(), ..Asked::default() }).await.unwrap()
    }

    fn charge<'a>(&'a self, ip: Option<&str>) -> Charge<'a> {
        Charge {
            caller: self.caller,
            merchant_id: "JP1",
            money: yen(1_000),
            card: Some(Carded { pan: &self.pan, fingerprint: "0123456789abcdef0123456789abcdef" }),
            ip: public_ip(ip),
            country: None,
            issuer_country: None,
            now: NOW,
        }
    }
}

fn yen(minor: i64) -> Money {
    Money { minor, currency: crate::money::Currency::parse("JPY").unwrap() }
}

const ONE_AN_HOUR: [(&str, &str); 3] = [("limit", "1"), ("window", "1"), ("unit", "hours")];

/// A guard that fails breaks the write that other charges share.
#[tokio::test]
async fn what_is_full_is_refused_without_a_write() {
    for place in places().await {
        place.add("card_velocity", Some("JP1"), &ONE_AN_HOUR).await;
        let volume = [("currency", "JPY"), ("amount", "1000"), ("per", "day")];
        place.add("refund_volume", Some("JP1"), &volume).await;
        let risk = Risk::load(&place.db).await.unwrap();
        let charge = place.charge(None);
        let (first, raced) =
            (risk.assess(&place.db, &charge).await.unwrap(), risk.assess(&place.db, &charge).await.unwrap());
        assert_eq!((first.code, raced.code), (None, None));
        applied(place.db.write(first.writes().collect()).await.unwrap());
        let late = place.db.write(raced.writes().collect()).await.unwrap();
        assert!(matches!(late, crate::db::Written::GuardFailed(0)), "the guard holds against races");
        let refused = risk.assess(&place.db, &charge).await.unwrap();
        assert_eq!((refused.code, refused.note.fired.len()), (Some(Code::Err3009), 1));
        let refund = async |minor| risk.assess_refund(&place.db, place.caller, "JP1", yen(minor), NOW).await.unwrap();
        assert_eq!(refund(1_001).await.code, Some(Code::Err3020));
        applied(place.db.write(refund(600).await.writes().collect()).await.unwrap());
        let refused = refund(401).await;
        assert_eq!((refused.code, refused.note.volumes.len()), (Some(Code::Err3020), 0));
        assert_eq!(refund(400).await.code, None);
    }
}

#[tokio::test]
async fn two_lists_allow_what_either_holds() {
    for place in places().await {
        let allow = async |entry: &str, effect: &str| {
            let (values, entries) = (vec![("effect", effect)], vec![entry]);
            let asked = Asked { kind: "ip_allow", merchant: Some("JP1"), values, entries, ..Asked::default() };
            place.try_add(&asked).await.unwrap();
        };
        allow("8.8.8.0/24", "deny").await;
        allow("1.1.1.0/24", "deny").await;
        allow("9.9.9.9", "shadow").await;
        let risk = Risk::load(&place.db).await.unwrap();
        let all = stored_with_lists(&place.db).await.unwrap();
        for (ip, code, fired) in [
            ("8.8.8.8", None, 1),
            ("1.1.1.1", None, 1),
            ("9.9.9.9", Some(Code::Err3017), 1),
            ("8.8.4.4", Some(Code::Err3017), 2),
        ] {
            let charge = place.charge(Some(ip));
            let verdict = risk.assess(&place.db, &charge).await.unwrap();
            assert_eq!((verdict.code, verdict.note.fired.len()), (code, fired), "{ip}");
            let stored = Stored { money: charge.money, first_six: "411111", ip: charge.ip };
            let would: Vec<bool> = all.iter().map(|rule| rule.would_fire(&all, &stored)).collect();
            let denied = code.is_some();
            assert_eq!(would, [denied, denied, ip != "9.9.9.9"], "{ip}");
        }
    }
}

/// The clocks of two processes differ: what comes out of order must not push the oldest from the end.
#[tokio::test]
async fn a_late_clock_does_not_open_a_window() {
    let velocity = Velocity { limit: 3, window: 1, unit: Unit::Hours };
    for place in places().await {
        for (key, guarded) in [(vec![1], true), (vec![2], false)] {
            for at in [NOW, NOW - 90 * 60_000, NOW + 5, NOW + 4] {
                let write = if guarded {
                    windows::guarded(key.clone(), &velocity, at)
                } else {
                    windows::counted(key.clone(), velocity.limit, at, velocity.expires_at(at))
                };
                let written = place.db.write(vec![write]).await.unwrap();
                assert_eq!(matches!(written, crate::db::Written::GuardFailed(0)), guarded && at == NOW + 4);
            }
            let stored = place.db.rows("SELECT times FROM risk_windows WHERE id = $1", args![key]).await.unwrap();
            let newest = if guarded { [NOW + 5, NOW, NOW] } else { [NOW + 5, NOW + 5, NOW] };
            assert_eq!(stored[0].text(0).unwrap(), newest.map(|at| at.to_string()).concat());
        }
    }
}

#[tokio::test]
async fn rules_and_lists_are_bounded() {
    for place in places().await {
        let refused = async |asked: Asked<'_>| {
            let error = place.try_add(&asked).await.unwrap_err();
            (error.fields[0].field.clone(), error.fields[0].message.clone())
        };
        let velocity = |merchant| {
            let values = ONE_AN_HOUR.to_vec();
            Asked { kind: "card_velocity", merchant: Some(merchant), values, ..Asked::default() }
        };
        let list = || Asked { kind: "ip_block", entries: vec!["1.1.1.1"], ..Asked::default() };
        for _ in 0..change::MOST_COUNTING {
            place.try_add(&velocity("JP1")).await.unwrap();
        }
        let (field, message) = refused(velocity("JP1")).await;
        assert!(field == "kind" && message.contains("64 rules that count"), "{field}: {message}");
        let last = place.try_add(&velocity("JP2")).await.unwrap();
        assert_eq!(place.try_add(&list()).await.unwrap().entries, 1, "a list does not count");
        let filled = Stmt::new("UPDATE risk_rules SET entries = $2 WHERE id = $1", args![last.id.as_str(), 3_999_998]);
        applied(place.db.write(vec![filled]).await.unwrap());
        place.try_add(&list()).await.unwrap();
        let (field, message) = refused(list()).await;
        assert!(field == "entries" && message.contains("4000000 entries"), "{field}: {message}");
        assert!(change::remove(&place.db, &place.author(), &last.id).await.unwrap());
        place.try_add(&list()).await.unwrap();
    }
}

#[tokio::test]
async fn an_unreadable_rule_does_not_stop_the_others() {
    for place in places().await {
        let good =
            place.try_add(&Asked { kind: "bin_block", entries: vec!["411111"], ..Asked::default() }).await.unwrap();
        let amount = [("currency", "JPY"), ("amount", "1")];
        let bad = place.add("max_amount", Some("JP1"), &amount).await;
        let listed =
            place.try_add(&Asked { kind: "ip_block", entries: vec!["8.8.8.8"], ..Asked::default() }).await.unwrap();
        let before = Risk::load(&place.db).await.unwrap();
        for sql in [
            "UPDATE risk_rules SET spec = '{\"of_next_year\":{}}' WHERE id = $1",
            "DELETE FROM risk_lists WHERE rule_number = (SELECT number FROM risk_rules WHERE id = $1)",
        ] {
            let id = if sql.starts_with("UPDATE") { &bad.id } else { &listed.id };
            applied(place.db.write(vec![Stmt::new(sql, args![id.as_str()])]).await.unwrap());
        }
        let later = place.add("min_amount", Some("JP1"), &amount).await;
        before.refresh(&place.db).await.unwrap();
        let after = Risk::load(&place.db).await.unwrap();
        let ids = |risk: &Risk| -> Vec<String> {
            risk.rules(place.caller).unwrap().all.iter().map(|rule| rule.id.clone()).collect()
        };
        assert_eq!(ids(&after), [good.id.as_str(), &later.id]);
        let known = [&listed.id, &good.id, &bad.id, &later.id].map(String::as_str);
        assert_eq!(ids(&before), known, "what was read before stays in force");
        let all = all_stored(&place.db).await.unwrap();
        assert_eq!(all.iter().filter_map(|one| one.as_ref().err()).collect::<Vec<_>>(), [&bad.id]);
        assert_eq!(owner(&place.db, &bad.id).await.unwrap(), Some(place.caller), "it can be removed");
    }
}
