//! What acquirers say by themselves: answers that nobody waited for any more, and that a line stands again.

use super::attempts::{self, Answered, Message, Reply};
use super::recover::{MALFUNCTIONS, ending};
use super::state::Event;
use super::transaction::{State, Transaction};
use super::{outcome, store};
use crate::acquirer::{Late, News, Outcome};
use crate::app::App;
use crate::db::Written;
use crate::error::Error;
use crate::jobs::{self, Kind};
use tokio::sync::mpsc::Receiver;

/// How long a flow may take to write that nobody has answered, milliseconds, before it is looked at again.
const PAUSES_MS: [u64; 4] = [0, 200, 1_000, 3_000];

/// Until the acquirer's line is gone. One after another: late answers are few, and each is written before the next.
pub async fn listen(app: App, acquirer: String, mut news: Receiver<News>) {
    while let Some(news) = news.recv().await {
        let done = match news {
            News::Up => up(&app).await,
            News::Late(late) => heard(&app, &acquirer, late).await,
        };
        if let Err(error) = done {
            tracing::error!(cause = error.cause(), acquirer, "what an acquirer said could not be used");
        }
    }
}

/// What could not be sent while it was down goes now, not when its next try would have come. Other acquirers' tries come too:
/// they only come earlier.
async fn up(app: &App) -> Result<(), Error> {
    let now = app.database_now();
    app.db.write(vec![jobs::hasten(Kind::Recover, now), jobs::hasten(Kind::Release, now)]).await?;
    Ok(())
}

/// The answer is recorded. What it settles is settled without asking again; an approval of what was given up is made good by
/// recovery.
pub async fn heard(app: &App, acquirer: &str, late: Late) -> Result<(), Error> {
    let Some((id, number, message)) = attempts::named(app, acquirer, &late).await? else {
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
    if found.state == State::Unknown
        && let Some(event) = settles(&found, message, late.outcome)
    {
        let (state, mut writes) = ending(app, &found, event).await?;
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
