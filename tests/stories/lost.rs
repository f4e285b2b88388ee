//! Answers that do not come: faults on request, and what becomes of the money.

use crate::follow::{code, id_of, wait_for};
use crate::world::{Engine, World};
use serde_json::json;
use std::time::Duration;

/// The bank does not answer a refund: it is not sent twice, its balance stays taken, and the key tells the end.
pub async fn a_refund_without_an_answer(engine: Engine) {
    let world = World::new(engine).await;
    for (fault, amount) in [("timeout-after", "300"), ("timeout-before", "200"), ("late", "100"), ("cut", "50")] {
        let paid = world.charged("payment", "1000").await;
        let body = world.following(&paid, Some(amount));
        let first = world.faulty("refund", fault, Some(fault), &body).await;
        assert_eq!(code(&first), (504, "ERR1016"), "{fault}");
        assert_eq!(first.1["payment_details"]["response_code"], 578);
        let refund = id_of(&first.1);
        // While its result is not known another one is refused, whatever its amount.
        let other = world.follow("refund", &paid, Some("1")).await;
        let settled = wait_for(&world, &refund, "APPROVED").await;
        if !settled {
            panic!("{fault}: the refund was not settled");
        }
        assert!(matches!(code(&other), (412, "ERR1005") | (201, "INFO0002")), "{other:?}");
        let (status, replay) = world.faulty("refund", fault, Some(fault), &body).await;
        assert_eq!((status, &replay["gateway_response"]["code"]), (201, &json!("INFO0002")), "{fault}");
        assert_eq!(id_of(&replay), refund);
    }
    // A late message comes some seconds after: it finds its answer given.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.books_are_clean();
}

/// Each word of the documents, on a charge.
pub async fn sandbox_faults(engine: Engine) {
    let world = World::new(engine).await;
    let body = world.token_charge(&world.token);
    let charges = ["timeout-before", "timeout-after", "late", "cut", "duplicate", "refused"].map(|fault| {
        let (world, body) = (&world, &body);
        async move { (fault, world.faulty("payment", fault, Some(fault), body).await) }
    });
    let mut unknown = Vec::new();
    for (fault, answered) in futures_join(charges).await {
        match fault {
            "duplicate" => assert_eq!(code(&answered), (201, "INFO0000")),
            "refused" => assert_eq!(code(&answered), (502, "ERR1011")),
            _ => {
                assert_eq!(code(&answered), (504, "ERR1010"), "{fault}");
                unknown.push((fault, id_of(&answered.1), answered.1));
            }
        }
    }
    for (fault, id, first) in unknown {
        assert!(wait_for(&world, &id, "REVERSED").await, "{fault}");
        let replay = world.faulty("payment", fault, Some(fault), &body).await;
        assert_eq!(replay, (504, first), "{fault}: the promise stands");
    }
    let wrong = world.faulty("payment", "earthquake", None, &body).await;
    assert_eq!((wrong.0, &wrong.1["errors"][0]["field"]), (400, &json!("Fuda-Sandbox-Fault")));
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.books_are_clean();
}

async fn futures_join<T, F: Future<Output = T>, const N: usize>(futures: [F; N]) -> Vec<T> {
    let mut boxed: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = (0..N).map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, slot) in boxed.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}
