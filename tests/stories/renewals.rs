//! What happens later to a subscription (contract section 7), on a test clock: renewals, declines and refusals.

use crate::follow::id_of;
use crate::world::{Engine, Keys, World, answer};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const GOOD: &str = "4111111111111111";
/// Stored like any other, then declined softly, for good, or never answered.
pub const SOFT: &str = "4000000000000341";
pub const HARD: &str = "4000000000000358";
pub const SILENT: &str = "4000000000000366";

pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// A subscription, and when its first charge was.
pub struct Begun {
    pub id: String,
    pub first: String,
    pub start: i64,
}

/// 1,000 yen every two days for ever, unless `changes` say otherwise.
pub fn plan(world: &World, card: &str, changes: Value) -> Value {
    let mut body = world.card_charge(card);
    body["subscription"] = json!({"plan_name": "読み放題", "plan_desc": "Two days", "cycle_type": "DAYS",
        "cycle_interval": 2, "subscription_end_type": "FOREVER"});
    for (name, value) in changes.as_object().unwrap() {
        body["subscription"][name] = value.clone();
    }
    body
}

pub fn cycles(count: i64) -> Value {
    json!({"subscription_end_type": "CYCLE", "max_cycle_count": count})
}

pub async fn begin(world: &World, card: &str, changes: Value) -> Begun {
    begin_by(world, &world.keys, plan(world, card, changes)).await
}

pub async fn begin_by(world: &World, keys: &Keys, mut body: Value) -> Begun {
    body["merchant_id"] = json!(keys.merchant);
    let (status, made) = world.post_as(keys, "subscription/payment", &body).await;
    assert_eq!((status, &made["success"]), (201, &json!(true)), "{made}");
    let id = made["subscription_details"]["id"].as_str().unwrap().to_owned();
    Begun { id, first: id_of(&made), start: millis(&made["transaction_details"]["timestamp"]) }
}

pub fn millis(text: &Value) -> i64 {
    let text = text.as_str().unwrap_or_else(|| panic!("no time: {text}"));
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Days and hours since the first charge, exactly; `~` where some seconds are missing or too many.
pub fn since(start: i64, at: &Value) -> String {
    if at.is_null() {
        return "never".to_owned();
    }
    let ms = millis(at) - start;
    let hours = (ms + HOUR_MS / 2).div_euclid(HOUR_MS);
    let off = (ms - hours * HOUR_MS).abs();
    let mark = if off == 0 { "" } else { "~" };
    assert!(off < 100_000, "{ms} ms after its first charge");
    if hours % 24 == 0 { format!("{mark}{}d", hours / 24) } else { format!("{mark}{}d{}h", hours / 24, hours % 24) }
}

impl Begun {
    pub async fn details_by(&self, world: &World, keys: &Keys) -> Value {
        let url = world.url(&format!("subscription/{}", self.id));
        let (status, found) = answer(world.authed(world.http.get(url), keys)).await;
        assert_eq!(status, 200, "{found}");
        found["subscription_details"].clone()
    }

    pub async fn details(&self, world: &World) -> Value {
        self.details_by(world, &world.keys).await
    }

    pub async fn act(&self, world: &World, word: &str) -> (u16, Value) {
        let request =
            world.authed(world.http.post(world.url(&format!("subscription/{}/{word}", self.id))), &world.keys);
        answer(request).await
    }

    /// It is done; how it stands then.
    pub async fn done(&self, world: &World, word: &str) -> String {
        let (status, done) = self.act(world, word).await;
        assert_eq!((status, &done["gateway_response"]["code"]), (200, &json!("INFO3000")), "{done}");
        self.outline(&done["subscription_details"])
    }

    pub async fn new_card(&self, world: &World, body: Value) -> (u16, Value) {
        world.post(&format!("subscription/{}/payment-method", self.id), &body).await
    }

    /// `ACTIVE 2, next 3 at 4d, last SUCCESSFUL: 1 900 CAPTURED 0d, 2 900 CAPTURED 2d`
    pub fn outline(&self, details: &Value) -> String {
        let word = |of: &Value, name: &str| of[name].as_str().unwrap_or("-").to_owned();
        let charges = details["subscription_transaction_details"].as_array().unwrap();
        let charge = |one: &Value| {
            let at = since(self.start, &one["transaction_date"]);
            format!("{} {} {} {at}", one["cycle"], one["amount"], word(one, "event"))
        };
        format!(
            "{} {}, next {} at {}, last {}: {}",
            word(details, "status"),
            details["completed_payment_cycle"],
            details["next_payment_cycle"],
            since(self.start, &details["next_payment_date"]),
            word(details, "last_payment_status"),
            charges.iter().map(charge).collect::<Vec<_>>().join(", ")
        )
    }

    pub async fn stands(&self, world: &World) -> String {
        self.outline(&self.details(world).await)
    }

    /// Waits, in real time, until it stands so; how it stands in full.
    pub async fn comes_to(&self, world: &World, beginning: &str) -> String {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let found = self.stands(world).await;
            if found.starts_with(beginning) {
                return found;
            }
            assert!(Instant::now() < end, "not {beginning}: {found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl World {
    /// What the bank's book says of purchases of this card, the oldest first: amounts, with the state where it does not stand.
    pub fn bank(&self, card: &str) -> Vec<String> {
        let book = rusqlite::Connection::open(self.folder.join("sandbox-bank.db")).unwrap();
        let sql = "SELECT amount_minor, state FROM operations WHERE kind = 2 AND masked LIKE ?1 ORDER BY rowid";
        let mut found = book.prepare(sql).unwrap();
        let line = |row: &rusqlite::Row<'_>| {
            let (amount, state) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            Ok(if state == 1 { amount.to_string() } else { format!("{amount} in state {state}") })
        };
        let pattern = format!("{}%{}", &card[..6], &card[12..]);
        found.query_map([pattern], line).unwrap().map(Result::unwrap).collect()
    }

    /// Moves an entity's clock to a moment of its next year; where that is.
    pub async fn advance_to(&self, keys: &Keys, month_and_on: &str) -> jiff::Timestamp {
        let asked = answer(self.authed(self.http.get(self.url("test/clock")), keys)).await.1;
        let now: jiff::Timestamp = asked["clock"]["now"].as_str().unwrap().parse().unwrap();
        let year: i64 = now.to_string()[..4].parse().unwrap();
        let to: jiff::Timestamp = format!("{}-{month_and_on}", year + 1).parse().unwrap();
        self.advance_as(keys, &format!("PT{}S", to.as_second() - now.as_second())).await;
        to
    }
}

pub async fn the_samples_figures(engine: Engine) {
    let world = World::new(engine).await;
    let discount = json!({"has_discount": true, "discount_percentage": 10, "discount_duration": 2,
        "cycle_type": "MONTHLY", "cycle_interval": 1});
    let monthly = begin(&world, "4000000000001091", discount).await;
    let days = begin(&world, GOOD, json!({})).await;
    assert_eq!(days.stands(&world).await, "ACTIVE 1, next 2 at 2d, last SUCCESSFUL: 1 1000 CAPTURED 0d");
    world.advance("P2D").await;
    assert_eq!(
        days.stands(&world).await,
        "ACTIVE 2, next 3 at 4d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d"
    );
    days.done(&world, "cancel").await;
    for days in ["P29D", "P31D", "P31D"] {
        world.advance(days).await;
    }
    let found = monthly.details(&world).await;
    let charges = found["subscription_transaction_details"].as_array().unwrap();
    let amounts: Vec<i64> = charges.iter().map(|one| one["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [900, 900, 1000, 1000]);
    assert_eq!(world.bank("4000000000001091"), ["900", "900", "1000", "1000"]);
    assert_eq!((&found["completed_payment_cycle"], &found["next_payment_cycle"]), (&json!(4), &json!(5)));
    // On the calendar from the first, to the millisecond.
    let utc = jiff::tz::TimeZone::UTC;
    let first = utc.to_datetime(jiff::Timestamp::from_millisecond(monthly.start).unwrap());
    let later = |months: i64| {
        let date = first.checked_add(jiff::Span::new().months(months)).unwrap();
        utc.to_timestamp(date).unwrap().as_millisecond()
    };
    let dates: Vec<i64> = charges.iter().map(|one| millis(&one["transaction_date"])).collect();
    assert_eq!(dates, [0, 1, 2, 3].map(later));
    assert_eq!(millis(&found["next_payment_date"]), later(4));
    monthly.done(&world, "cancel").await;
    // Each of its transactions is one like any other.
    for one in charges {
        let (status, paid) = world.get(&format!("transaction/status/{}", one["id"].as_str().unwrap())).await;
        assert_eq!((status, &paid["payment_details"]["amount"]), (200, &one["amount"]), "{paid}");
        assert_eq!(
            (&paid["transaction_details"]["timestamp"], &paid["success"]),
            (&one["transaction_date"], &json!(true))
        );
    }
    world.books_are_clean();
}

pub async fn calendars_and_clocks(engine: Engine) {
    let world = World::new(engine).await;
    let to = world.advance_to(&world.keys, "01-31T09:00:00Z").await;
    let month = json!({"cycle_type": "MONTHLY", "cycle_interval": 1});
    let ends = begin(&world, GOOD, month.clone()).await;
    let year: i64 = to.to_string()[..4].parse().unwrap();
    let february = if year % 4 == 0 { format!("{year}-02-29") } else { format!("{year}-02-28") };
    let next = async |one: &Begun| one.details(&world).await["next_payment_date"].as_str().unwrap().to_owned();
    assert_eq!(next(&ends).await[..10], february);
    world.advance("P29D").await;
    assert_eq!(next(&ends).await[..10], format!("{year}-03-31"));
    ends.done(&world, "cancel").await;
    // The clocks of New York go forward between these dates; those of UTC do not.
    let mut body = plan(&world, GOOD, json!({"cycle_interval": 14}));
    let utc = begin_by(&world, &world.keys, body.clone()).await;
    body["time_zone"] = json!("America/New_York");
    let new_york = begin_by(&world, &world.keys, body).await;
    world.advance("P15D").await;
    assert_eq!(
        utc.stands(&world).await,
        "ACTIVE 2, next 3 at 28d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 14d"
    );
    assert_eq!(
        new_york.stands(&world).await,
        "ACTIVE 2, next 3 at 27d23h, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 13d23h"
    );
    world.books_are_clean();
}

pub async fn declined_and_tried_again(engine: Engine) {
    let world = World::new(engine).await;
    let retries = |days: &str| world.run(&["merchant", "retries", &world.keys.merchant, "--days", days]);
    let soft = begin(&world, SOFT, json!({})).await;
    let hard = begin(&world, HARD, json!({})).await;
    world.advance("PT60H").await;
    assert_eq!(
        soft.stands(&world).await,
        "PAST_DUE 1, next 2 at 3d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d"
    );
    assert_eq!(
        hard.stands(&world).await,
        "PAST_DUE 1, next 2 at 7d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d"
    );
    world.advance("P4D").await;
    assert_eq!(
        soft.stands(&world).await,
        "PAST_DUE 1, next 2 at 7d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d, 2 1000 DECLINED 3d, 2 1000 DECLINED 5d"
    );
    assert_eq!(
        hard.stands(&world).await,
        "PAST_DUE 1, next 2 at 7d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d"
    );
    let begun = Instant::now();
    world.advance("P60D").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(
        soft.stands(&world).await,
        "CANCELLED 1, next null at never, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d, 2 1000 DECLINED 3d, 2 1000 DECLINED 5d, 2 1000 DECLINED 7d"
    );
    assert_eq!(
        hard.stands(&world).await,
        "CANCELLED 1, next null at never, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d"
    );
    // The end that no charge brought has an event of its own.
    let events = async |one: &Begun| {
        let log = world.get(&format!("webhooks?transaction_id={}", one.first)).await.1;
        log["webhooks"].as_array().unwrap().len()
    };
    assert_eq!((events(&soft).await, events(&hard).await), (1, 2));
    // Other days; the last of them counts for a card that is done for.
    retries("2,7");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (soft, hard) = (begin(&world, SOFT, json!({})).await, begin(&world, HARD, json!({})).await);
    world.advance("P8D").await;
    assert_eq!(
        soft.stands(&world).await,
        "PAST_DUE 1, next 2 at 9d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d, 2 1000 DECLINED 4d"
    );
    assert_eq!(
        hard.stands(&world).await,
        "PAST_DUE 1, next 2 at 9d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d"
    );
    world.advance("P2D").await;
    let ends = [soft.stands(&world).await, hard.stands(&world).await];
    assert!(ends[0].starts_with("CANCELLED 1") && ends[0].ends_with("4d, 2 1000 DECLINED 9d"), "{ends:?}");
    assert!(ends[1].starts_with("CANCELLED 1") && ends[1].ends_with("0d, 2 1000 DECLINED 2d"), "{ends:?}");
    retries("none");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (soft, hard) = (begin(&world, SOFT, json!({})).await, begin(&world, HARD, json!({})).await);
    world.advance("P8D").await;
    for one in [soft, hard] {
        let end = one.stands(&world).await;
        assert!(end.starts_with("CANCELLED 1") && end.ends_with("0d, 2 1000 DECLINED 2d"), "{end}");
    }
    world.books_are_clean();
}

/// What a rule refuses is told and listed, is no try, and comes again.
pub async fn refused_by_a_rule(engine: Engine) {
    let world = World::new(engine).await;
    let (good, soft) = (begin(&world, GOOD, json!({})).await, begin(&world, SOFT, json!({})).await);
    let often = begin(&world, "5200000000001005", json!({})).await;
    let block = world.rule(json!({"kind": "bin_block", "entries": ["411111"]})).await;
    world.advance("PT50H").await;
    assert_eq!(
        good.stands(&world).await,
        "ACTIVE 1, next 2 at 2d3h, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d, 2 1000 DECLINED 2d1h"
    );
    let charge = good.details(&world).await["subscription_transaction_details"][2]["id"].as_str().unwrap().to_owned();
    let refused = world.get(&format!("transaction/status/{charge}")).await.1;
    assert_eq!(
        (&refused["success"], &refused["gateway_response"]["type"]),
        (&json!(false), &json!("ERROR")),
        "{refused}"
    );
    let log = world.get(&format!("webhooks?transaction_id={charge}")).await.1;
    assert_eq!(log["webhooks"].as_array().unwrap().len(), 1, "{log}");
    world.no_rule(&block).await;
    let block = world.rule(json!({"kind": "bin_block", "entries": ["400000"]})).await;
    world.advance("PT22H").await;
    assert!(good.stands(&world).await.ends_with("2 1000 DECLINED 2d1h, 2 1000 CAPTURED 2d3h"));
    assert_eq!(
        soft.stands(&world).await,
        "PAST_DUE 1, next 2 at 3d1h, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d, 2 1000 DECLINED 3d"
    );
    world.no_rule(&block).await;
    world.advance("PT118H").await;
    let tries = "2 1000 DECLINED 2d, 2 1000 DECLINED 3d, 2 1000 DECLINED 3d1h, 2 1000 DECLINED 5d, 2 1000 DECLINED 7d";
    let end = soft.stands(&world).await;
    assert!(end.starts_with("CANCELLED 1") && end.ends_with(tries), "{end}");
    // A count that has no room for more refuses like any other rule.
    let velocity = json!({"kind": "card_velocity", "merchant_id": world.keys.merchant, "limit": 1, "window": 24,
        "unit": "hours"});
    let velocity = world.rule(velocity).await;
    world.advance("P1D").await;
    assert!(often.stands(&world).await.starts_with("ACTIVE 5, next 6 at 10d, last SUCCESSFUL: "));
    world.advance("PT26H").await;
    let refused = often.stands(&world).await;
    assert!(refused.starts_with("ACTIVE 5, next 6 at 10d1h, last NOTSUCCESSFUL: "), "{refused}");
    world.no_rule(&velocity).await;
    world.advance("P2D").await;
    let end = often.stands(&world).await;
    let cycles = "5 1000 CAPTURED 8d, 6 1000 DECLINED 10d, 6 1000 CAPTURED 10d1h, 7 1000 CAPTURED 12d";
    assert!(end.starts_with("ACTIVE 7") && end.ends_with(cycles), "{end}");
    world.books_are_clean();
}
