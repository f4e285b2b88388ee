//! From the sign-on to the sign-off.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_host_that_never_signs_on() {
    let mut world = World::new(65_536, |_| {});
    let mut hosts = Vec::new();
    for _ in 0..3 {
        let mut host = world.arrival().await;
        assert_eq!(host.hear().await.text(70), Some("001"));
        assert!(is_not_sent(&world.link.send(Kind::Purchase, request(1, "TERM0001"), None).await));
        hosts.push(host);
    }
    // Each was left after ten seconds.
    for host in hosts.iter_mut().take(2) {
        assert!(host.is_left().await);
    }
    let passed = world.clock.now() - START;
    assert!((20_000..21_000).contains(&passed), "{passed}");
}

#[tokio::test(start_paused = true)]
async fn a_sign_on_that_is_declined() {
    let mut world = World::new(65_536, |_| {});
    for _ in 0..3 {
        let mut host = world.arrival().await;
        let sign_on = host.hear().await;
        host.say(&host.answer(&sign_on, 91)).await;
        assert!(host.is_left().await);
        assert!(!world.link.up());
    }
    world.host().await;
    assert!(matches!(world.told(), Some(News::Up)));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_are_forgotten() {
    let mut world = World::new(65_536, |_| {});
    world.pipes.refuses.store(true, Ordering::SeqCst);
    world.clock.sleep(600_000).await;
    // 0.1 s, 0.2 s, ... 30 s, each at least the half of it: nine until the longest, and then 15 to 30 s apart.
    let dialled = world.pipes.dialled.load(Ordering::SeqCst);
    assert!((25..=50).contains(&dialled), "{dialled}");
    world.pipes.refuses.store(false, Ordering::SeqCst);
    let host = world.host().await;
    world.clock.sleep(2_000).await;
    let broke = world.clock.now();
    drop(host);
    world.host().await;
    assert!(world.clock.now() - broke <= 110);
}

#[tokio::test(start_paused = true)]
async fn an_echo_in_silence() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    for _ in 0..3 {
        let began = world.clock.now();
        let echo = host.hear().await;
        assert_eq!((echo.mti().as_str(), echo.text(70)), ("0800", Some("301")));
        assert!((59_000..=60_000).contains(&(world.clock.now() - began)));
        host.approve(&echo).await;
    }
    // A host that talks is not asked.
    for number in 1..=4 {
        world.clock.sleep(40_000).await;
        let sent = world.send(request(number, "TERM0001"));
        let heard = host.hear().await;
        assert_eq!(heard.text(70), None);
        host.approve(&heard).await;
        assert!(sent.await.unwrap().is_ok());
    }
    // One that does not answer is left, and who waits for it hears of it.
    host.hear().await;
    let sent = world.send(request(9, "TERM0001"));
    assert!(is_unknown(&sent.await.unwrap()));
    host.hear().await;
    assert!(host.is_left().await);
    world.host().await;
}

#[tokio::test(start_paused = true)]
async fn the_host_asks_for_an_echo() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let mut echo = Message::new(Mti::parse(b"0800").unwrap());
    for (field, value) in [(7, "1124160000"), (11, "000077"), (70, "301")] {
        echo.set(field, value.as_bytes());
    }
    host.say(&echo).await;
    let answer = host.hear().await;
    assert_eq!((answer.mti().as_str(), answer.text(11), answer.text(39)), ("0810", Some("000077"), Some("00")));
    // It cannot ask for money.
    host.say(&request(1, "TERM0001")).await;
    host.say(&echo).await;
    assert_eq!(host.hear().await.mti().as_str(), "0810");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_is_in_flight_end() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    let heard = host.hear().await;
    let link = world.link.clone();
    let stopped = tokio::spawn(async move { link.stop().await });
    world.settle().await;
    assert!(is_not_sent(&world.link.send(Kind::Purchase, request(2, "TERM0001"), None).await));
    world.clock.sleep(5_000).await;
    assert!(!stopped.is_finished());
    host.approve(&heard).await;
    assert!(sent.await.unwrap().is_ok());
    let sign_off = host.hear().await;
    assert_eq!((sign_off.mti().as_str(), sign_off.text(70)), ("0800", Some("002")));
    host.approve(&sign_off).await;
    stopped.await.unwrap();
    assert!(host.is_left().await);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_host() {
    // None that can be reached, none that signs on, none that answers.
    let world = World::new(65_536, |_| {});
    world.pipes.refuses.store(true, Ordering::SeqCst);
    world.clock.sleep(60_000).await;
    world.link.stop().await;
    let mut world = World::new(65_536, |_| {});
    let _host = world.arrival().await;
    world.settle().await;
    let began = world.clock.now();
    world.link.stop().await;
    assert_eq!(world.clock.now(), began);
    let mut world = World::new(65_536, |_| {});
    let host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    world.settle().await;
    let began = world.clock.now();
    world.link.stop().await;
    assert!(world.clock.now() - began < 60_000);
    assert!(is_unknown(&sent.await.unwrap()));
    drop(host);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_dropped_signs_off() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let link = std::mem::replace(&mut world.link, World::new(64, |_| {}).link);
    drop(link);
    let sign_off = host.hear().await;
    assert_eq!(sign_off.text(70), Some("002"));
    host.approve(&sign_off).await;
    assert!(host.is_left().await);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_not_sent() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let unknown_field = with(request(1, "TERM0001"), 65, "1");
    let too_long = with(request(1, "TERM0001"), 4, "1234567890123");
    let unnamed = without(request(1, "TERM0001"), &[11]);
    for message in [unknown_field, too_long, unnamed] {
        assert!(is_not_sent(&world.link.send(Kind::Purchase, message, None).await));
    }
    let sent = world.send(request(2, "TERM0001"));
    let heard = host.hear().await;
    assert_eq!(stan(&heard), "000002");
    host.approve(&heard).await;
    assert!(sent.await.unwrap().is_ok());
}
