//! What acquirers say by themselves: answers that nobody waited for any more, and that a line stands again.

use super::attempts::{self, Answered, Message, Reply};
use super::recover::{MALFUNCTIONS, ending};
use super::state::Event;
use super::transaction::{State, Transaction};
use super::{outcome, store};
use crate::acquirer::{Late, News, Outcome};
use crate::app::App;
use crate::db::{Stmt, Written, args};
use crate::error::Error;
use crate::jobs::{self, Kind};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

/// How long a flow may take to write that nobody has answered, milliseconds, before it is looked at again.
const PAUSES_MS: [u64; 4] = [0, 200, 1_000, 3_000];

/// How often a late answer is tried to be used, and the pause between, milliseconds: of an approval of what was given up there may be
/// no other sign.
const TRIES: usize = 4;
const AGAIN_MS: u64 = 5_000;

/// Late answers of one acquirer that are used at once; more wait in the channel.
const AT_ONCE: usize = 32;

/// The shortest time between two rounds of what waits for a line, milliseconds: one that comes and goes must not void all pauses.
const UP_MS: i64 = 60_000;

/// Until the acquirer's line is gone.
pub async fn listen(app: App, acquirer: String, mut news: Receiver<News>) {
    let acquirer: Arc<str> = acquirer.into();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut last_up = None;
    while let Some(news) = news.recv().await {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (app, acquirer) = (app.clone(), acquirer.clone());
        match news {
            News::Up => {
                let now = app.clock.now();
                let pause = last_up.map_or(0, |last: i64| (last + UP_MS - now).max(0));
                // One that waits already is enough.
                if last_up.is_none_or(|last| last <= now) {
                    last_up = Some(now + pause);
                    tokio::spawn(async move {
                        app.clock.sleep(u64::try_from(pause).unwrap_or(0)).await;
                        drop(place);
                        tell(&acquirer, up(&app, &acquirer).await);
                    });
                }
            }
            News::Late(late) => {
                tokio::spawn(async move {
                    let _place = place;
                    for _ in 1..TRIES {
                        match heard(&app, &acquirer, &late).await {
                            Ok(()) => return,
                            failed => tell(&acquirer, failed),
                        }
                        app.clock.sleep(AGAIN_MS).await;
                    }
                    tell(&acquirer, heard(&app, &acquirer, &late).await);
                });
            }
        }
    }
}

fn tell(acquirer: &str, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::error!(cause = error.cause(), acquirer, "what an acquirer said could not be used");
    }
}

/// What could not be sent while it was down goes now, not when its next try would have come.
async fn up(app: &App, acquirer: &str) -> Result<(), Error> {
    let sql = "UPDATE jobs SET due_at = $3, run_at = $3 WHERE kind IN ($1, $2) AND run_at = due_at AND due_at > $3 AND attempts > 0 \
               AND EXISTS (SELECT 1 FROM attempts WHERE transaction_id = jobs.subject AND acquirer = $4)";
    let args = args![Kind::Recover as i64, Kind::Release as i64, app.database_now(), acquirer];
    app.db.write(vec![Stmt::new(sql, args)]).await?;
    Ok(())
}

/// The answer is recorded. What it settles is settled without asking again; an approval of what was given up is made good by
/// recovery.
async fn heard(app: &App, acquirer: &str, late: &Late) -> Result<(), Error> {
    let Some((id, number, message)) = attempts::named(app, acquirer, late).await? else {
        tracing::warn!(acquirer, stan = late.stan, "an answer to nothing that was sent");
        return Ok(());
    };
    let reply = Reply::of(&late.outcome);
    let gone = || Error::internal("a transaction is gone");
    let mut found = store::reread(&app.db, id).await?.ok_or_else(gone)?;
    for pause_ms in PAUSES_MS {
        if found.state != State::Pending {
            break;
        }
        // Who asked is just about to write that there was no answer.
        app.clock.sleep(pause_ms).await;
        found = store::reread(&app.db, id).await?.ok_or_else(gone)?;
    }
    tracing::info!(transaction = %id, acquirer, stan = late.stan, state = found.state.name(), "a late answer");
    // A charge that is known to stand is undone by a reversal that is sent from now on, not by an earlier one's answer.
    let sent = attempts::sent(app, &found).await?;
    let stands = found.is_charge() && sent.approved;
    if found.state == State::Unknown
        && !stands
        && let Some(event) = settles(&found, message, late.outcome.clone())
    {
        let (state, mut writes) = ending(app, &found, event).await?;
        if found.is_charge() {
            // Behind the transaction's own row: whoever writes an approval has to wait for that one.
            writes.insert(1, attempts::not_approved(id, sent.number));
        }
        writes.push(jobs::remove(Kind::Recover, id));
        writes.push(attempts::answered(id, number, reply, app.clock.now()));
        if let Written::Applied(_) = app.db.write(writes).await? {
            tracing::info!(transaction = %id, state = state.name(), "settled by a late answer");
            metrics::counter!("fuda_settled_total", "state" => state.name()).increment(1);
            app.nudge.notify_one();
            return Ok(());
        }
    }
    let charges = message != Message::Reversal;
    outcome::late_answer(app, id, (number, charges), reply).await.map(|_| ())
}

/// What the answer means to a transaction without a known result. A charge was promised never to become approved (ERR1010): its
/// approval settles nothing, its decline says that nothing stands.
fn settles(found: &Transaction, message: Message, outcome: Outcome) -> Option<Event> {
    let reply = Reply::of(&outcome);
    match (message, outcome) {
        (Message::Charge, Outcome::Declined { response_code }) => {
            (!MALFUNCTIONS.contains(&response_code)).then_some(Event::Reversed)
        }
        (Message::Reversal, _) => {
            let undone = reply.answered == Answered::Approved || reply.response_code == Some(79);
            (undone && found.is_charge()).then_some(Event::Reversed)
        }
        (Message::Capture | Message::Refund | Message::Void, Outcome::Approved(approval)) => {
            Some(Event::Approved(approval))
        }
        (Message::Capture | Message::Refund | Message::Void, Outcome::Declined { response_code }) => {
            (!MALFUNCTIONS.contains(&response_code)).then_some(Event::Declined { response_code })
        }
        _ => None,
    }
}
