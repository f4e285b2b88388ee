//! The merchant is told of a final result (contract section 9): the delivery's job. One try, then done or again by the
//! schedule; the body is made of the transaction's row at each try, so no copy of it lies about.

use super::{envelope, recover, store, subscribed};
use crate::app::App;
use crate::clock::Millis;
use crate::db::Written;
use crate::error::Error;
use crate::jobs::Job;
use crate::random::Random;
use crate::webhook::courier::{Letter, Tried};
use crate::webhook::sign::{self, Secret};
use crate::webhook::{self, Delivery, Event};

/// Waits after the first try, the second, ..., milliseconds; each up to a fifth longer. After the last one it has failed.
const SCHEDULE_MS: [i64; 7] = [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000];

/// How long an event waits for an earlier one that says nothing, milliseconds; that one's end lets it go at once.
const BLOCKED_MS: i64 = 5_000;

/// An event's tries after which later events of the same charge wait no longer.
const TRIES_IN_ORDER: i64 = 2;

/// The longest `Retry-After` that is heeded while later events wait, milliseconds.
const WISH_IN_ORDER_MS: i64 = 300_000;

/// A receiver that takes longer than this to answer is given fewer at once, milliseconds.
const SLOW_MS: i64 = 2_000;

/// How a delivery job ended, for the limits of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing was sent.
    Nothing,
    Heard,
    Failed,
}

/// The job: one try.
pub async fn tell(app: &App, job: &Job) -> Result<Told, Error> {
    let found = webhook::to_tell(&app.db, &app.vault, job.event(), app.clock.now()).await?;
    let Some(found) = found.filter(|found| found.event.delivery == Delivery::Waiting) else {
        app.db.write(vec![job.done()]).await?;
        return Ok(Told::Nothing);
    };
    let event = &found.event;
    if found.blocked {
        let writes = vec![job.postpone(app.database_now() + BLOCKED_MS), webhook::still_blocked(event)];
        match app.db.write(writes).await? {
            Written::Applied(_) => return Ok(Told::Nothing),
            Written::GuardFailed(0) | Written::Ambiguous => return Ok(Told::Nothing),
            // The earlier one has had its tries since we looked.
            Written::GuardFailed(_) => {}
        }
    }
    let tried = match one_try(app, event, &found.secrets).await {
        Ok(tried) => tried,
        Err(error) => {
            // By the schedule like any other: an event that cannot be told must not hold up the later ones for ever.
            tracing::error!(cause = error.cause(), event = %event.id, "a webhook could not be made");
            let problem = Some("fault: the gateway could not make it; its log says why".to_owned());
            Tried { at: app.clock.now(), problem, ..Tried::default() }
        }
    };
    let (delivery, next) = after(&tried, event.step + 1, &app.random);
    note(event, &tried, delivery);
    ended(app, job, event, &tried, (delivery, next)).await?;
    Ok(match delivery {
        Delivery::Delivered if tried.ms < SLOW_MS => Told::Heard,
        Delivery::Gone | Delivery::Refused => Told::Nothing,
        _ => Told::Failed,
    })
}

/// An event's body with its signature, as it is sent and as the feed shows it.
pub struct Signed {
    pub id: String,
    pub timestamp_s: i64,
    pub signature: String,
    pub body: String,
}

pub async fn signed(app: &App, event: &Event, secrets: &[Secret]) -> Result<(Signed, Option<String>), Error> {
    let (body, url) = match event.subscription {
        Some(id) => subscribed::told(app, id, event).await?,
        None => {
            let transaction = store::reread(&app.db, event.transaction).await?;
            let transaction = transaction.ok_or_else(|| Error::internal("an event's transaction is gone"))?;
            let merchant = recover::merchant(app, &transaction)?;
            let subscription = subscribed::of_charge(app, &transaction, event).await?;
            (envelope::told(&transaction, &merchant, subscription), transaction.details.return_url.webhook_url)
        }
    };
    let (id, timestamp_s) = (event.id.to_string(), app.clock.now() / 1_000);
    let signature = sign::header(secrets, &id, timestamp_s, &body);
    Ok((Signed { id, timestamp_s, signature, body }, url))
}

async fn one_try(app: &App, event: &Event, secrets: &[Secret]) -> Result<Tried, Error> {
    let at = app.clock.now();
    let refused = |problem: &str| Tried { at, hopeless: true, problem: Some(problem.to_owned()), ..Tried::default() };
    if secrets.is_empty() {
        return Ok(refused("refused: there is no webhook secret to sign with; fuda webhooks rotate-secret makes one"));
    }
    let (signed, url) = signed(app, event, secrets).await?;
    let Some(url) = url else { return Ok(refused("refused_url: there is none")) };
    let letter = Letter {
        url: &url,
        live: event.caller.live,
        id: &signed.id,
        timestamp_s: signed.timestamp_s,
        signature: signed.signature,
        body: signed.body,
    };
    // A gateway that has live keys sends nothing into its own network, whatever was allowed before it had them.
    let private = !event.caller.live && !app.directory.has_live_keys();
    Ok(app.courier.deliver(letter, private).await)
}

/// What a try means; `step` counts it.
fn after(tried: &Tried, step: i64, random: &Random) -> (Delivery, Option<i64>) {
    match tried.status {
        Some(200..300) => return (Delivery::Delivered, None),
        Some(410) => return (Delivery::Gone, None),
        None if tried.hopeless => return (Delivery::Refused, None),
        _ => {}
    }
    let wait = usize::try_from(step - 1).ok().and_then(|place| SCHEDULE_MS.get(place));
    let Some(wait) = wait else { return (Delivery::Failed, None) };
    let wait = wait + jitter(*wait, random);
    // As long as later events wait for this one a wish may not keep them for a day.
    let most = if step < TRIES_IN_ORDER { WISH_IN_ORDER_MS } else { i64::MAX };
    (Delivery::Waiting, Some(wait.max(tried.wish_ms.unwrap_or(0).min(most))))
}

/// Up to a fifth: receivers that failed together are not all tried again together.
fn jitter(wait_ms: i64, random: &Random) -> i64 {
    let [low, high] = random.bytes::<2>();
    wait_ms * i64::from(u16::from_be_bytes([low, high])) / (5 * 65_536)
}

fn note(event: &Event, tried: &Tried, delivery: Delivery) {
    let result = delivery.name();
    metrics::counter!("fuda_webhook_tries_total", "result" => result).increment(1);
    let (problem, status) = (tried.problem.as_deref().unwrap_or(""), tried.status.unwrap_or(0));
    if delivery == Delivery::Delivered {
        tracing::debug!(event = %event.id, transaction = %event.transaction, status, ms = tried.ms, "webhook delivered");
        return;
    }
    tracing::info!(event = %event.id, transaction = %event.transaction, result, status, problem, "webhook not delivered");
}

/// The write after a try.
async fn ended(
    app: &App,
    job: &Job,
    event: &Event,
    tried: &Tried,
    (delivery, wait): (Delivery, Option<Millis>),
) -> Result<(), Error> {
    let (now, step) = (app.database_now(), event.step + 1);
    let mut writes = match wait {
        Some(wait) => vec![job.postpone(now + wait)],
        None => vec![job.done()],
    };
    writes.push(webhook::log(event.id, tried));
    writes.push(webhook::moved(event, delivery, step));
    let was_in_the_way = event.step < TRIES_IN_ORDER;
    if was_in_the_way && (delivery != Delivery::Waiting || step >= TRIES_IN_ORDER) {
        writes.push(webhook::let_followers_go(event, now));
    }
    match app.db.write(writes).await? {
        Written::Applied(_) => Ok(()),
        // Another worker has the job by now, and will say how it ends; this try was made all the same.
        Written::GuardFailed(_) => app.db.write(vec![webhook::log(event.id, tried)]).await.map(|_| ()),
        Written::Ambiguous => Err(Error::internal("the database was lost while a webhook's try was being written")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(status: Option<u16>, wish_ms: Option<i64>) -> Tried {
        Tried { status, wish_ms, ..Tried::default() }
    }

    #[test]
    fn the_schedule() {
        let random = Random::seeded(7);
        for (step, wait) in (1..).zip(SCHEDULE_MS) {
            for tried in [with(Some(500), None), with(Some(302), None), with(None, None), with(Some(199), Some(1))] {
                let (delivery, next) = after(&tried, step, &random);
                assert_eq!(delivery, Delivery::Waiting);
                assert!((wait..=wait * 6 / 5).contains(&next.unwrap()), "{step}: {next:?}");
            }
        }
        assert_eq!(after(&with(Some(500), None), 8, &random), (Delivery::Failed, None));
        assert_eq!(after(&with(Some(410), None), 1, &random), (Delivery::Gone, None));
        for status in [200, 201, 204, 299] {
            assert_eq!(after(&with(Some(status), None), 3, &random), (Delivery::Delivered, None));
        }
        assert_eq!(after(&with(Some(503), Some(9_000_000)), 1, &random), (Delivery::Waiting, Some(300_000)));
        assert_eq!(after(&with(Some(503), Some(9_000_000)), 2, &random), (Delivery::Waiting, Some(9_000_000)));
        // A wish lengthens, and never shortens.
        assert_eq!(after(&with(Some(503), Some(60_000)), 1, &random), (Delivery::Waiting, Some(60_000)));
        assert!(after(&with(Some(503), Some(1_000)), 2, &random).1.unwrap() >= 300_000);
        let hopeless = Tried { hopeless: true, ..Tried::default() };
        assert_eq!(after(&hopeless, 1, &random), (Delivery::Refused, None));
    }
}
