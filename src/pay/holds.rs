//! The end of a hold: one that nobody captures lapses and is let go at the bank by a void of the gateway's own; of one that
//! was captured in part the remainder is let go.

use super::attempts::{self, Answered, Message, Reply};
use super::follow::{FollowRequest, follow};
use super::original::Referred;
use super::recover::{MALFUNCTIONS, backoff_ms, merchant};
use super::store;
use super::transaction::{Kind, State};
use crate::acquirer::{Follow, Operation};
use crate::app::App;
use crate::codes::Code;
use crate::db::Written;
use crate::error::Error;
use crate::id;
use crate::jobs::Job;
use crate::money::Money;

/// When a hold on which something is going on is looked at again, milliseconds.
const BUSY_MS: i64 = 60_000;

/// How often the bank is asked to let a hold go that has reached its end; what it declines so often is an operator's.
const LAPSES: usize = 10;

/// A hold has reached its end (contract 4.2): guarded like a void, so a capture that is faster wins.
pub async fn lapse(app: &App, job: &Job) -> Result<(), Error> {
    let hold = store::reread(&app.db, job.transaction()).await?.filter(|hold| hold.state == State::Approved);
    let Some(hold) = hold else {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    };
    let tries = store::children(app, hold.id).await?.iter().filter(|child| child.details.lapse).count();
    if tries >= LAPSES {
        tracing::error!(transaction = %hold.id, tries, "the bank will not let a hold go at its end: look there");
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    }
    let request = FollowRequest {
        caller: hold.caller,
        merchant: merchant(app, &hold)?,
        kind: Kind::Void,
        parent: hold.id,
        amount: None,
        notes: None,
        claim: None,
        request_id: id::request_id(app.clock.now(), &app.random),
        fault: None,
        lapse: Some(job.clone()),
    };
    match follow(app, request).await {
        Ok(_) => Ok(()),
        // A capture or void has it just now, or has no known result. The job may have ended with the intent.
        Err(error) if error.code == Code::Err1005 => {
            app.db.write(vec![job.postpone(app.database_now() + BUSY_MS)]).await?;
            Ok(())
        }
        // Nothing reached the bank: the outcome's write has asked for another try.
        Err(error) if error.code == Code::Err1011 => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a capture left of its hold is given back to the cardholder.
pub async fn release(app: &App, job: &Job) -> Result<(), Error> {
    let capture = store::reread(&app.db, job.transaction()).await?;
    let hold = match capture.as_ref().and_then(|capture| capture.parent) {
        Some(id) => store::reread(&app.db, id).await?,
        None => None,
    };
    let (Some(capture), Some(hold)) = (capture, hold) else {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    };
    let about = Referred::to(app, &hold).await?;
    if about.sent.line.abilities().releases_remainder {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    }
    let remainder = hold.money.checked_sub(capture.money).unwrap_or(Money::zero(hold.money.currency));
    let reference = format!("{}-l", capture.id);
    let again = attempts::again(app, &capture, &about.sent.line, Message::Release).await?;
    // Hosts forget a message's name after a while, and would let go of as much once more.
    let forgotten = app.clock.now().saturating_sub(again.sent.sent_at) > about.sent.line.abilities().remembers_ms;
    if again.tries > 0 && forgotten {
        tracing::error!(transaction = %capture.id, "a release stays without an answer: the hold's remainder lapses at the bank");
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    }
    let attempt = again.row(capture.id, Message::Release, &reference, app.clock.now());
    let Written::Applied(rows) = app.db.write(vec![job.still_held(), attempt]).await? else { return Ok(()) };
    let number = rows.last().map_or(Ok(0), |row| row.int(0))?;
    let (named, original) = (again.sent.named(again.tries), about.original());
    let follow = Follow { reference: &reference, named, original, money: remainder };
    let reply = Reply::of(&attempts::ask(app, again.sent.line.acquirer.as_ref(), Operation::Release(follow)).await);
    let answered = attempts::answered(capture.id, number, reply, app.clock.now());
    let end = match reply.answered {
        Answered::Approved => job.done(),
        Answered::Declined if !reply.response_code.is_some_and(|code| MALFUNCTIONS.contains(&code)) => {
            tracing::warn!(transaction = %capture.id, "the bank would not release a hold's remainder: it lapses there");
            job.done()
        }
        Answered::Declined | Answered::Unknown | Answered::NotSent => {
            job.postpone(app.database_now() + backoff_ms(job.attempts))
        }
    };
    app.db.write(vec![end, answered]).await?;
    Ok(())
}
