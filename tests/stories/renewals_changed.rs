//! What happens later to a subscription that gets another card, is paused or ends, also in the middle of a renewal.

use crate::renewals::{GOOD, HARD, SILENT, SOFT, begin, cycles};
use crate::world::{Engine, World, answer};
use serde_json::json;
use std::time::{Duration, Instant};

/// A change of the card of what is past due tries at once; the dates that passed meanwhile are neither charged nor counted.
pub async fn another_card(engine: Engine) {
    let world = World::new(engine).await;
    let daily = json!({"cycle_interval": 1});
    let by_card = begin(&world, SOFT, daily.clone()).await;
    let by_token = begin(&world, HARD, daily.clone()).await;
    let in_vain = begin(&world, SOFT, daily.clone()).await;
    let paused = begin(&world, HARD, daily.clone()).await;
    let cancelled = begin(&world, SOFT, daily.clone()).await;
    let in_time = begin(&world, SOFT, daily).await;
    // Before anything is due nothing is tried.
    let card = json!({"card": world.card_charge(GOOD)["card"]});
    let (status, changed) = in_time.new_card(&world, card.clone()).await;
    assert_eq!((status, &changed["subscription_details"]["status"]), (200, &json!("ACTIVE")), "{changed}");
    world.advance("PT108H").await;
    assert_eq!(
        by_card.stands(&world).await,
        "PAST_DUE 1, next 2 at 6d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 1d, 2 1000 DECLINED 2d, 2 1000 DECLINED 4d"
    );
    assert_eq!(
        in_time.stands(&world).await,
        "ACTIVE 5, next 6 at 5d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 1d, 3 1000 CAPTURED 2d, \
         4 1000 CAPTURED 3d, 5 1000 CAPTURED 4d"
    );
    let (status, changed) = by_card.new_card(&world, card.clone()).await;
    assert_eq!((status, &changed["gateway_response"]["code"]), (200, &json!("INFO3000")), "{changed}");
    let token = json!({"payment_method": {"type": "scheme", "stored_payment_method_id": world.token}});
    assert_eq!(by_token.new_card(&world, token).await.0, 200);
    assert_eq!(
        by_card.comes_to(&world, "ACTIVE").await,
        "ACTIVE 2, next 3 at 5d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 1d, 2 1000 DECLINED 2d, 2 1000 DECLINED 4d, 2 1000 CAPTURED ~4d12h"
    );
    assert_eq!(
        by_token.comes_to(&world, "ACTIVE").await,
        "ACTIVE 2, next 3 at 5d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 1d, 2 1000 CAPTURED ~4d12h"
    );
    // One that is declined as well uses up none of the days.
    let (status, changed) = in_vain.new_card(&world, json!({"card": world.card_charge(SOFT)["card"]})).await;
    let answered = in_vain.outline(&changed["subscription_details"]);
    assert!(status == 200 && answered.starts_with("PAST_DUE 1, next 2 at ~4d12h, last NOTSUCCESSFUL"), "{answered}");
    world.advance("PT1S").await;
    let found = in_vain.stands(&world).await;
    assert!(found.starts_with("PAST_DUE 1, next 2 at 6d"), "{found}");
    assert!(found.ends_with("2 1000 DECLINED 4d, 2 1000 DECLINED ~4d12h"), "{found}");
    // A pause holds the tries back, too; what they wait for stands as it was.
    let card_in_hand = paused.done(&world, "pause").await;
    assert_eq!(card_in_hand, "PAUSED 1, next 2 at 6d, last NOTSUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 1d");
    assert_eq!(paused.done(&world, "resume").await, card_in_hand.replace("PAUSED", "PAST_DUE"));
    paused.done(&world, "pause").await;
    assert!(cancelled.done(&world, "cancel").await.starts_with("CANCELLED 1, next null at never, last NOTSUCCESSFUL"));
    let tried = cancelled.stands(&world).await;
    world.advance("P30D").await;
    assert_eq!(cancelled.stands(&world).await, tried);
    let found = in_vain.stands(&world).await;
    assert!(found.starts_with("CANCELLED 1") && found.ends_with("~4d12h, 2 1000 DECLINED 6d"), "{found}");
    assert_eq!(paused.stands(&world).await, card_in_hand);
    assert_eq!(paused.new_card(&world, card).await.0, 200);
    paused.done(&world, "resume").await;
    assert_eq!(
        paused.comes_to(&world, "ACTIVE").await,
        "ACTIVE 2, next 3 at 35d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 DECLINED 1d, 2 1000 CAPTURED ~34d12h"
    );
    for word in ["pause", "resume", "cancel"] {
        let (status, refused) = cancelled.act(&world, word).await;
        assert_eq!((status, &refused["gateway_response"]["code"]), (412, &json!("ERR1005")), "{word}");
    }
    world.books_are_clean();
}

/// The bank does not answer for three seconds. What is changed meanwhile stands, and the renewal is no try.
pub async fn changed_in_flight(engine: Engine) {
    let world = World::new(engine).await;
    world.advance("PT1S").await;
    let (paused, cancelled) = (begin(&world, SILENT, json!({})).await, begin(&world, SILENT, json!({})).await);
    let kept = begin(&world, SILENT, json!({})).await;
    let moved = tokio::spawn({
        let request = world.authed(world.http.post(world.url("test/clock")), &world.keys);
        answer(request.json(&json!({"advance": "P2D"})))
    });
    let begun = Instant::now();
    let in_flight = "SELECT COUNT(*) FROM subscriptions WHERE running IS NOT NULL";
    while world.texts(in_flight).await != ["3"] {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A charge without a result is not shown.
    assert_eq!(paused.done(&world, "pause").await, "PAUSED 1, next 2 at 2d, last SUCCESSFUL: 1 1000 CAPTURED 0d");
    assert_eq!(
        cancelled.done(&world, "cancel").await,
        "CANCELLED 1, next null at never, last SUCCESSFUL: 1 1000 CAPTURED 0d"
    );
    assert_eq!(kept.stands(&world).await, "ACTIVE 1, next 2 at 2d, last SUCCESSFUL: 1 1000 CAPTURED 0d");
    assert_eq!(world.texts(in_flight).await, ["3"], "the bank was too fast");
    let (status, moved) = moved.await.unwrap();
    assert_eq!((status, &moved["clock"]["still_due"]), (200, &json!(0)), "{moved}");
    assert_eq!(world.texts(in_flight).await, ["0"]);
    let undone = ": 1 1000 CAPTURED 0d, 2 1000 DECLINED 2d";
    assert_eq!(kept.stands(&world).await, format!("ACTIVE 1, next 2 at 2d1h, last NOTSUCCESSFUL{undone}"));
    assert_eq!(paused.stands(&world).await, format!("PAUSED 1, next 2 at 2d1h, last NOTSUCCESSFUL{undone}"));
    assert_eq!(cancelled.stands(&world).await, format!("CANCELLED 1, next null at never, last NOTSUCCESSFUL{undone}"));
    let reversed = ["1000", "1000", "1000", "1000 in state 2", "1000 in state 2", "1000 in state 2"];
    assert_eq!(world.bank(SILENT), reversed);
    // Charged again by the clock, with a card that answers.
    let card = json!({"card": world.card_charge(GOOD)["card"]});
    for one in [&kept, &paused] {
        assert_eq!(one.new_card(&world, card.clone()).await.0, 200);
    }
    world.advance("PT1H").await;
    assert_eq!(
        kept.stands(&world).await,
        format!("ACTIVE 2, next 3 at 4d, last SUCCESSFUL{undone}, 2 1000 CAPTURED 2d1h")
    );
    assert_eq!(paused.stands(&world).await, format!("PAUSED 1, next 2 at 2d1h, last NOTSUCCESSFUL{undone}"));
    paused.done(&world, "resume").await;
    assert_eq!(
        paused.comes_to(&world, "ACTIVE 2").await,
        format!("ACTIVE 2, next 3 at 4d, last SUCCESSFUL{undone}, 2 1000 CAPTURED ~2d1h")
    );
    world.advance("P20D").await;
    assert_eq!(world.bank(SILENT), reversed);
    world.books_are_clean();
}

pub async fn paused_and_resumed(engine: Engine) {
    let world = World::new(engine).await;
    let (long, short) = (begin(&world, GOOD, json!({})).await, begin(&world, GOOD, json!({})).await);
    let once = begin(&world, GOOD, cycles(2)).await;
    world.advance("PT60H").await;
    let standing = "ACTIVE 2, next 3 at 4d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d";
    assert_eq!(short.done(&world, "pause").await, standing.replace("ACTIVE", "PAUSED"));
    long.done(&world, "pause").await;
    assert_eq!(once.act(&world, "pause").await.0, 412, "it has ended");
    for (word, one) in [("pause", &long), ("resume", &once), ("cancel", &once)] {
        let (status, refused) = one.act(&world, word).await;
        assert_eq!((status, &refused["gateway_response"]["code"]), (412, &json!("ERR1005")), "{word}: {refused}");
    }
    world.advance("P1D").await;
    // Nothing has fallen due.
    assert_eq!(short.done(&world, "resume").await, standing);
    assert_eq!(short.act(&world, "resume").await.0, 412);
    world.advance("PT84H").await;
    assert_eq!(
        short.stands(&world).await,
        "ACTIVE 4, next 5 at 8d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d, 3 1000 CAPTURED 4d, 4 1000 CAPTURED 6d"
    );
    // Two have: one is charged now, the other is skipped and not counted.
    assert_eq!(long.stands(&world).await, standing.replace("ACTIVE", "PAUSED"));
    long.done(&world, "resume").await;
    assert_eq!(
        long.comes_to(&world, "ACTIVE 3").await,
        "ACTIVE 3, next 4 at 8d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d, 3 1000 CAPTURED ~7d"
    );
    world.advance("PT36H").await;
    assert_eq!(
        long.stands(&world).await,
        "ACTIVE 4, next 5 at 10d, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d, 3 1000 CAPTURED ~7d, 4 1000 CAPTURED 8d"
    );
    world.books_are_clean();
}

pub async fn ends(engine: Engine) {
    let world = World::new(engine).await;
    let counted = begin(&world, GOOD, cycles(3)).await;
    let now: jiff::Timestamp = jiff::Timestamp::from_millisecond(counted.start).unwrap();
    let end = now.checked_add(jiff::SignedDuration::from_hours(5 * 24)).unwrap().to_string();
    let dated = begin(&world, GOOD, json!({"subscription_end_type": "DATE", "end_date": end})).await;
    let mut trial = cycles(2);
    for (name, value) in [
        ("has_trial_period", json!(true)),
        ("trial_period_duration_type", json!("DAYS")),
        ("trial_period_duration", json!(7)),
    ] {
        trial[name] = value;
    }
    let tried = begin(&world, GOOD, trial).await;
    let gift = json!({"has_discount": true, "discount_percentage": 100, "discount_duration": 2});
    let free = begin(&world, "4000000000001091", gift.clone()).await;
    let single = begin(&world, GOOD, cycles(1)).await;
    assert_eq!(single.stands(&world).await, "EXPIRED 1, next null at never, last SUCCESSFUL: 1 1000 CAPTURED 0d");
    assert_eq!(tried.stands(&world).await, "ACTIVE 0, next 1 at 7d, last -: ");
    world.advance("PT60H").await;
    let begun = Instant::now();
    world.advance("P2D").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "an end is waited for: {:?}", begun.elapsed());
    assert_eq!(
        counted.stands(&world).await,
        "EXPIRED 3, next null at never, last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED 2d, 3 1000 CAPTURED 4d"
    );
    assert_eq!(dated.stands(&world).await, counted.stands(&world).await);
    world.advance("P10D").await;
    assert_eq!(
        tried.stands(&world).await,
        "EXPIRED 2, next null at never, last SUCCESSFUL: 1 1000 CAPTURED 7d, 2 1000 CAPTURED 9d"
    );
    assert_eq!(
        free.stands(&world).await,
        "ACTIVE 8, next 9 at 16d, last SUCCESSFUL: 1 0 CAPTURED 0d, 2 0 CAPTURED 2d, 3 1000 CAPTURED 4d, \
         4 1000 CAPTURED 6d, 5 1000 CAPTURED 8d, 6 1000 CAPTURED 10d, 7 1000 CAPTURED 12d, 8 1000 CAPTURED 14d"
    );
    // The bank was not asked for nothing.
    assert_eq!(world.bank("4000000000001091"), ["1000"; 6]);
    let cycle = free.details(&world).await["subscription_transaction_details"][1]["id"].as_str().unwrap().to_owned();
    let (status, found) = world.get(&format!("transaction/status/{cycle}")).await;
    assert_eq!(
        (status, &found["success"], &found["transaction_type"]),
        (200, &json!(true), &json!("CAPTURE")),
        "{found}"
    );
    let (paid, state) = (&found["payment_details"], &found["transaction_details"]["state"]);
    assert_eq!((&paid["amount"], &paid["response_code"], state), (&json!(0), &json!(0), &json!("APPROVED")), "{found}");
    let refused = world.follow("refund", &cycle, Some("1")).await;
    assert_eq!(refused.1["gateway_response"]["code"], "ERR3019", "{}", refused.1);
    world.books_are_clean();
}
