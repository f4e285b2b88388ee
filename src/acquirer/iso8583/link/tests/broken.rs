//! Connections that break, at every moment.

use super::*;

#[tokio::test(start_paused = true)]
async fn cut_after_the_write() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    let heard = host.hear().await;
    let cut = world.clock.now();
    drop(host);
    assert!(is_unknown(&sent.await.unwrap()));
    assert_eq!(world.clock.now(), cut, "it is known at once");
    // Nothing goes while the line is down, and nobody waits for that.
    assert!(!world.link.up());
    assert!(is_not_sent(&world.link.send(Kind::Purchase, request(2, "TERM0001"), None).await));
    // The host answers on the next connection.
    let mut host = world.host().await;
    assert!(world.clock.now() - cut <= 110, "{}", world.clock.now() - cut);
    assert!(matches!(world.told(), Some(News::Up)));
    assert!(matches!(world.told(), Some(News::Up)));
    host.approve(&heard).await;
    world.settle().await;
    assert_eq!(world.late(), Some((1, "000000000001".to_owned(), Some(false))));
}

/// The host reads nothing: one message stands in the pipe in part, the other has not left.
#[tokio::test(start_paused = true)]
async fn cut_within_and_before_the_write() {
    let mut world = World::new(64, |terms| terms.sign_on = false);
    let host = world.arrival().await;
    world.settle().await;
    let within = world.send(request(1, "TERM0001"));
    world.settle().await;
    let before = world.send(request(2, "TERM0001"));
    world.settle().await;
    // What gives up before its turn never leaves.
    let gone = world.send(request(3, "TERM0001"));
    world.settle().await;
    gone.abort();
    world.settle().await;
    drop(host);
    assert!(is_unknown(&within.await.unwrap()));
    assert!(is_not_sent(&before.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_before_the_write_is_not_written() {
    let mut world = World::new(64, |terms| terms.sign_on = false);
    let mut host = world.arrival().await;
    world.settle().await;
    let first = world.send(request(1, "TERM0001"));
    world.settle().await;
    let second = world.send(request(2, "TERM0001"));
    let third = world.send(request(3, "TERM0001"));
    world.settle().await;
    second.abort();
    world.settle().await;
    for sent in [first, third] {
        let heard = host.hear().await;
        assert_ne!(stan(&heard), "000002");
        // The pipe is small for the answer too: both ends at once.
        host.approve(&heard).await;
        assert!(sent.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_message_and_silence() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    host.hear().await;
    let began = world.clock.now();
    host.stream.write_all(&[0, 100, b'0', b'2']).await.unwrap();
    assert!(is_unknown(&sent.await.unwrap()));
    assert_eq!(world.clock.now() - began, 10_000);
    assert!(host.is_left().await);
    world.host().await;
}

/// A message may come in pieces, and two in one.
#[tokio::test(start_paused = true)]
async fn in_pieces() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = [world.send(request(1, "TERM0001")), world.send(request(2, "TERM0001"))];
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let heard = host.hear().await;
        let (mut body, answer) = (Vec::new(), host.answer(&heard, 0));
        host.language.codec.encode(&answer, &mut body).unwrap();
        host.language.frame.wrap(None, &body, &mut bytes).unwrap();
    }
    // A length of zero between them says nothing.
    bytes.splice(0..0, [0, 0]);
    for piece in bytes.chunks(3) {
        host.stream.write_all(piece).await.unwrap();
        world.clock.sleep(10).await;
    }
    for sent in sent {
        assert!(sent.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn garbage() {
    let mut world = World::new(65_536, |_| {});
    let mut host = world.host().await;
    let sent = world.send(request(1, "TERM0001"));
    let heard = host.hear().await;
    // In a frame that is one: the next message is found, and nobody is disturbed.
    host.stream.write_all(b"\x00\x08garbage!").await.unwrap();
    host.stream.write_all(b"\x00\x040210").await.unwrap();
    host.approve(&heard).await;
    assert!(sent.await.unwrap().is_ok());
    // A length that cannot be: from there nothing can be read.
    let sent = world.send(request(2, "TERM0001"));
    host.hear().await;
    host.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(is_unknown(&sent.await.unwrap()));
    assert!(host.is_left().await);
    world.host().await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_connections() {
    let mut world = World::new(65_536, |terms| terms.connections = 2);
    let (mut one, mut other) = (world.host().await, world.arrival().await);
    let sign_on = other.hear().await;
    other.approve(&sign_on).await;
    world.settle().await;
    assert!(matches!(world.told(), Some(News::Up)));
    assert!(world.told().is_none(), "the second one is no news");
    // Both are used.
    let sent = [world.send(request(1, "TERM0001")), world.send(request(2, "TERM0001"))];
    let (heard, lost) = (one.hear().await, other.hear().await);
    drop(other);
    one.approve(&heard).await;
    let mut answers = Vec::new();
    for sent in sent {
        answers.push(sent.await.unwrap());
    }
    answers.sort_by_key(Result::is_err);
    assert_eq!(stan(answers[0].as_ref().unwrap()), stan(&heard));
    assert!(is_unknown(&answers[1]));
    // The one that is left goes on, and the host may answer on it.
    assert!(world.link.up());
    one.approve(&lost).await;
    world.settle().await;
    assert_eq!(world.late().unwrap().0.to_string(), stan(&lost).trim_start_matches('0'));
}
