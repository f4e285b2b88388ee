//! Whose answer is it?

use super::*;
use futures_util::future::join_all;

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent: Vec<_> = (1..=5).map(|number| world.send(request(number, "TERM0001"))).collect();
    let mut heard = Vec::new();
    for _ in 1..=5 {
        heard.push(host.hear().await);
    }
    for message in heard.iter().rev() {
        host.approve(message).await;
    }
    for (number, answer) in (1..).zip(join_all(sent).await) {
        let answer = answer.unwrap().unwrap();
        assert_eq!((answer.mti().as_str(), stan(&answer)), ("0210", format!("{number:06}").as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_trace_number_at_two_terminals_and_two_times() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let other_terminal = request(1, "TERM0002");
    let other_time = with(request(1, "TERM0001"), 7, "1124160001");
    let other_kind = {
        let mut reversal = Message::new(Mti::parse(b"0400").unwrap());
        for (field, tag, value) in request(1, "TERM0001").parts() {
            reversal.set_sub(field, tag, value);
        }
        reversal
    };
    let other_number = with(request(1, "TERM0001"), 37, "000000000009");
    let sent: Vec<_> = [request(1, "TERM0001"), other_terminal, other_time, other_kind, other_number]
        .map(|message| world.send(message))
        .into();
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(host.hear().await);
    }
    // What nothing tells from the first one does not go beside it.
    assert!(is_not_sent(&world.link.send(Kind::Purchase, request(1, "TERM0001"), None).await));
    for at in [2, 0, 4, 3, 1] {
        host.approve(&heard[at]).await;
    }
    let answers: Vec<String> = join_all(sent)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().unwrap())
        .map(|answer| [41, 7, 37].map(|field| answer.text(field).unwrap()).join(" ") + " " + answer.mti().as_str())
        .collect();
    let wanted = [
        "TERM0001 1124160000 000000000001 0210",
        "TERM0002 1124160000 000000000001 0210",
        "TERM0001 1124160001 000000000001 0210",
        "TERM0001 1124160000 000000000001 0410",
        "TERM0001 1124160000 000000000009 0210",
    ];
    assert_eq!(answers, wanted);
}

#[tokio::test(start_paused = true)]
async fn what_a_host_leaves_out_agrees_with_anything_but_two() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    let heard = host.hear().await;
    host.say(&without(host.answer(&heard, 0), &[7, 37, 41])).await;
    assert!(sent.await.unwrap().is_ok());
    // Two at once could both be meant.
    let sent = [world.send(request(2, "TERM0001")), world.send(request(2, "TERM0002"))];
    let heard = [host.hear().await, host.hear().await];
    host.say(&without(host.answer(&heard[0], 0), &[7, 37, 41])).await;
    world.settle().await;
    assert!(sent.iter().all(|sent| !sent.is_finished()));
    // What tells them apart does.
    host.say(&without(host.answer(&heard[1], 51), &[7, 37])).await;
    let [first, second] = sent;
    assert_eq!(second.await.unwrap().unwrap().text(39), Some("51"));
    assert!(!first.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_advice_is_answered_with_either_origin() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    for (request_type, answer_type) in [("0421", "0430"), ("0421", "0431"), ("0221", "0230"), ("0420", "0430")] {
        let retyped = |message: &Message, mti: &str| {
            let mut typed = Message::new(Mti::parse(mti.as_bytes()).unwrap());
            for (field, tag, value) in message.parts() {
                typed.set_sub(field, tag, value);
            }
            typed
        };
        let sent = world.send(retyped(&request(1, "TERM0001"), request_type));
        let heard = host.hear().await;
        // Of another class or function: not its answer.
        host.say(&retyped(&host.answer(&heard, 0), "0110")).await;
        host.say(&retyped(&host.answer(&heard, 0), "0210")).await;
        world.settle().await;
        assert!(!sent.is_finished(), "{request_type}");
        host.say(&retyped(&host.answer(&heard, 0), answer_type)).await;
        assert_eq!(sent.await.unwrap().unwrap().mti().as_str(), answer_type);
    }
}

#[tokio::test(start_paused = true)]
async fn late_and_twice_and_to_nothing() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    assert!(matches!(world.told(), Some(News::Up)));
    // The caller has gone. The host leaves out field 37: the request is remembered.
    let waited = world.clock.within(3_000, world.link.send(Kind::Purchase, request(1, "TERM0001"), None)).await;
    assert!(waited.is_none());
    let heard = host.hear().await;
    let answer = host.answer(&heard, 0);
    host.say(&without(answer.clone(), &[37])).await;
    world.settle().await;
    let told = world.told();
    let Some(News::Late(late)) = told else { panic!("{told:?}") };
    assert_eq!((late.stan, late.rrn.as_str(), late.reversal), (1, "000000000001", Some(false)));
    assert!(matches!(late.outcome, Outcome::Approved(_)));
    // A part was approved: it stands. Told by the name that the store knows.
    let (part, named) = (without(request(6, "TERM0001"), &[37]), Some("000000000777".to_owned()));
    assert!(world.clock.within(3_000, world.link.send(Kind::Purchase, part, named)).await.is_none());
    let part = host.hear().await;
    host.say(&host.answer(&part, 10)).await;
    world.settle().await;
    let told = world.told();
    let Some(News::Late(late)) = told else { panic!("{told:?}") };
    assert_eq!((late.stan, late.rrn.as_str()), (6, "000000000777"));
    assert!(matches!(late.outcome, Outcome::Approved(Approval { response_code: 10, .. })));
    // Once more: nobody's by now, but told.
    host.say(&answer).await;
    world.settle().await;
    assert_eq!(world.late(), Some((1, "000000000001".to_owned(), None)));
    // Answered twice.
    let sent = world.send(request(2, "TERM0001"));
    let heard = host.hear().await;
    host.say(&host.answer(&heard, 0)).await;
    host.say(&host.answer(&heard, 0)).await;
    assert!(sent.await.unwrap().is_ok());
    world.settle().await;
    assert_eq!(world.late(), Some((2, "000000000002".to_owned(), None)));
    // To nothing that this process has sent.
    host.say(&host.answer(&request(3, "TERM0001"), 51)).await;
    world.settle().await;
    assert_eq!(world.late(), Some((3, "000000000003".to_owned(), None)));
    // An answer's number is no number, or there is none: nothing to go by.
    host.say(&without(host.answer(&request(4, "TERM0001"), 0), &[11])).await;
    world.settle().await;
    assert_eq!(world.late(), None);
    // The line is as good as before.
    let sent = world.send(request(5, "TERM0001"));
    let heard = host.hear().await;
    host.approve(&heard).await;
    assert!(sent.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_dropped() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    for number in 1..=40 {
        host.say(&host.answer(&request(number, "TERM0001"), 0)).await;
    }
    world.settle().await;
    assert!(matches!(world.told(), Some(News::Up)));
    let told: Vec<_> = std::iter::from_fn(|| world.late()).collect();
    assert_eq!(told.len(), 15, "as many as the channel has room for");
    let sent = world.send(request(41, "TERM0001"));
    let heard = host.hear().await;
    host.approve(&heard).await;
    assert!(sent.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_in_flight() {
    let mut world = World::new(1 << 20, |terms| terms.window = 1_000);
    let mut host = world.host().await;
    let before = world.pipes.writes.load(Ordering::SeqCst);
    let sent: Vec<_> = (1..=1_000).map(|number| world.send(request(number, "TERM0001"))).collect();
    let mut heard = Vec::new();
    for _ in 0..1_000 {
        heard.push(host.hear().await);
    }
    assert!(is_not_sent(&world.link.send(Kind::Purchase, request(1_001, "TERM0001"), None).await));
    // What waits goes together: by 64 KiB.
    let bytes: usize = 1_000 * 130;
    let writes = world.pipes.writes.load(Ordering::SeqCst) - before;
    assert!(writes <= bytes.div_ceil(65_536) + 1, "{writes} writes");
    // 7 and 1,000 have no common divisor: each once, in another order.
    for step in 0..1_000 {
        host.approve(&heard[step * 7 % 1_000]).await;
    }
    for (number, answer) in (1..).zip(join_all(sent).await) {
        assert_eq!(stan(&answer.unwrap().unwrap()), format!("{number:06}"));
    }
    assert_eq!(world.link.shared.book().in_flight(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_and_who_leaves_it() {
    let mut world = World::new(65_536, |terms| terms.window = 2);
    let mut host = world.host().await;
    let first = world.send(request(1, "TERM0001"));
    let second = world.send(request(2, "TERM0001"));
    world.settle().await;
    let began = world.clock.now();
    assert!(is_not_sent(&world.link.send(Kind::Purchase, request(3, "TERM0001"), None).await));
    assert_eq!(world.clock.now(), began);
    // One gives up, one is answered: two places.
    first.abort();
    let heard = [host.hear().await, host.hear().await];
    host.approve(&heard[1]).await;
    assert!(second.await.unwrap().is_ok());
    world.settle().await;
    let again = [world.send(request(4, "TERM0001")), world.send(request(5, "TERM0001"))];
    for _ in 0..2 {
        let heard = host.hear().await;
        assert!(["000004", "000005"].contains(&stan(&heard)), "what was refused never leaves");
        host.approve(&heard).await;
    }
    for sent in again {
        assert!(sent.await.unwrap().is_ok());
    }
}
