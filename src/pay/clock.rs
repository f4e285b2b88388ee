//! The test clock (contract section 7): moves the time of an entity's sandbox forward and runs what falls due. The move is one
//! write: the clock's row, and the entity's jobs, which are drawn nearer by as much. From then on any process's worker may take
//! them; the advance takes them too, and answers when none is left. A crash loses nothing: what was moved is due, and the lease on
//! the clock runs out.

use super::{retention, worker};
use crate::app::App;
use crate::clock::Millis;
use crate::db::{Stmt, Written, args};
use crate::directory::Caller;
use crate::error::{Error, FieldError};
use crate::id::EntityId;
use crate::jobs::{self, Job};
use jiff::fmt::temporal::SpanParser;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// How long an advance holds the clock when nothing more is heard of it, milliseconds.
const LEASE_MS: Millis = 10_000;

/// How long an advance goes on, milliseconds; what is still due then is left to the workers.
const LIMIT_MS: Millis = 60_000;

/// How many jobs one advance works on at once.
const WAVE: i64 = 64;

/// The longest wait between two looks for what other workers have, milliseconds.
const PAUSE_MS: u64 = 100;

/// No time is shown beyond the beginning of this year.
const LAST_YEAR: i16 = 9000;

static SPANS: SpanParser = SpanParser::new();

/// How a clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The entity's time.
    pub now: Millis,
    pub ahead_ms: Millis,
    /// Jobs that are due and not done; `None` while an advance is running that does not know yet.
    pub still_due: Option<i64>,
}

/// The clock of a test caller's entity.
pub async fn shown(app: &App, entity: EntityId) -> Result<Shown, Error> {
    let ahead_ms = app.ahead(Caller { entity, live: false }).await?;
    let now = app.database_now();
    let still_due = jobs::due_by_clock(&app.db, entity, now).await?;
    Ok(Shown { now: now + ahead_ms, ahead_ms, still_due: Some(still_due) })
}

/// Whether an advance is running.
pub async fn moves(app: &App, entity: EntityId) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM test_clocks WHERE entity_id = $1 AND moving_until > $2";
    Ok(!app.db.rows(sql, args![entity, app.database_now()]).await?.is_empty())
}

/// How far `now` is moved by an ISO 8601 duration, milliseconds: whole seconds, above zero. Calendar units are counted in UTC.
///
/// # Errors
/// In words for `advance`: no duration, none that goes forward by whole seconds, more than ten years, or beyond the last year.
pub fn distance(now: Millis, text: &str) -> Result<Millis, FieldError> {
    let wrong = |code: &'static str, message: &str| FieldError::new("advance", code, message);
    let form = "Send an ISO 8601 duration in whole seconds, such as P31D, P1M, P1Y or PT36H.";
    let far = || wrong("range", "Send at most P10Y, and no further than the year 9000 in all.");
    let span = SPANS.parse_span(text).map_err(|_| wrong("format", form))?;
    let start = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(now).map_err(|_| far())?);
    let end = start.checked_add(span).map_err(|_| far())?;
    if end <= start {
        return Err(wrong("range", "Time goes forward only: send a duration above zero, such as P31D."));
    }
    if end.subsec_nanosecond() != start.subsec_nanosecond() {
        return Err(wrong("format", form));
    }
    let most = start.checked_add(Span::new().years(10)).map_err(|_| far())?;
    if end > most || end.year() >= LAST_YEAR {
        return Err(far());
    }
    let end = TimeZone::UTC.to_timestamp(end).map_err(|_| far())?;
    Ok(end.as_millisecond() - now)
}

/// An advance that holds the clock.
pub struct Advance {
    app: App,
    entity: EntityId,
    /// Until when it holds the clock: its fence.
    until: Millis,
    /// How the clock stood when it had been moved.
    pub moved: Shown,
}

impl Advance {
    /// Moves the clock and draws the jobs nearer, in one write with what `keep` adds to it: rows before and rows after. `None`:
    /// another advance is running, or the first of those rows did not hold; nothing was moved.
    ///
    /// # Errors
    /// VAL0002 for a duration that is none.
    pub async fn begin(
        app: &App,
        entity: EntityId,
        text: &str,
        keep: impl FnOnce(&Shown) -> (Vec<Stmt>, Vec<Stmt>),
    ) -> Result<Option<Advance>, Error> {
        let caller = Caller { entity, live: false };
        // A wrong request makes no clock.
        distance(app.time(caller).await?, text).map_err(|wrong| Error::fields(vec![wrong]))?;
        let still = app.directory.begin_clock(entity, app.database_now()).await?;
        app.clock.sleep(u64::try_from(still).unwrap_or(0)).await;
        let (ahead, now) = (app.ahead(caller).await?, app.database_now());
        let ms = distance(now + ahead, text).map_err(|wrong| Error::fields(vec![wrong]))?;
        let moved = Shown { now: now + ahead + ms, ahead_ms: ahead + ms, still_due: None };
        let until = now + LEASE_MS;
        // Guarded on what was read: a month is counted from where the clock stood.
        let clock = "UPDATE test_clocks SET ahead_ms = $2, moving_until = $3 \
                     WHERE entity_id = $1 AND moving_until <= $4 AND ahead_ms = $5";
        let (mut writes, after) = keep(&moved);
        writes.push(Stmt::new(clock, args![entity, moved.ahead_ms, until, now, ahead]).exactly(1));
        writes.push(jobs::draw_nearer(entity, ms));
        writes.extend(after);
        match app.db.write(writes).await? {
            Written::Applied(_) => Ok(Some(Advance { app: app.clone(), entity, until, moved })),
            Written::GuardFailed(_) => Ok(None),
            Written::Ambiguous => Err(Error::internal("the database was lost while a test clock was being moved")),
        }
    }

    /// Runs what has fallen due, also what falls due by that, and what the entity forgets by its time. How the clock stands then.
    pub async fn finish(mut self, rows: impl FnOnce(&Shown) -> Vec<Stmt>) -> Result<Shown, Error> {
        let done = self.run().await;
        if let Err(error) = &done {
            tracing::error!(cause = error.cause(), entity = %self.entity, "an advance broke off: the workers go on");
        }
        let shown = shown(&self.app, self.entity).await?;
        let release = "UPDATE test_clocks SET moving_until = 0 WHERE entity_id = $1 AND moving_until = $2";
        let mut writes = vec![Stmt::new(release, args![self.entity, self.until])];
        writes.extend(rows(&shown));
        self.app.db.write(writes).await?;
        done.map(|()| shown)
    }

    async fn run(&mut self) -> Result<(), Error> {
        let end = self.app.clock.now() + LIMIT_MS;
        let (mut pause_ms, mut done, mut failed) = (2, 0, 0);
        // A process that stops leaves the rest to others.
        while self.app.clock.now() < end && !self.app.tasks.is_closed() {
            self.hold().await?;
            let (now, lease_ms) = (self.app.database_now(), worker::lease_ms(&self.app));
            let wave = jobs::take_by_clock(&self.app.db, self.entity, now, lease_ms, WAVE).await?;
            if wave.is_empty() {
                // What failed comes again when its lease ends: nobody waits for that.
                if jobs::due_by_clock(&self.app.db, self.entity, now).await? <= failed {
                    break;
                }
                self.app.clock.sleep(pause_ms).await;
                pause_ms = (pause_ms * 2).min(PAUSE_MS);
                continue;
            }
            pause_ms = 2;
            done += wave.len();
            failed += self.work(wave).await?;
        }
        tracing::info!(entity = %self.entity, ahead_ms = self.moved.ahead_ms, done, failed, "a test clock was moved");
        let mut walk = retention::Walk::of(&self.app, self.entity).await?;
        while self.app.clock.now() < end && walk.step(&self.app).await? {
            self.hold().await?;
        }
        Ok(())
    }

    /// How many failed. They run in tasks of their own: whatever becomes of the advance, they go on.
    async fn work(&mut self, wave: Vec<Job>) -> Result<i64, Error> {
        let start = |job: Job| {
            let app = self.app.clone();
            self.app.tasks.spawn(async move { worker::run(&app, &job).await })
        };
        let running: Vec<_> = wave.into_iter().map(start).collect();
        let mut failed = 0;
        for mut job in running {
            let done = loop {
                match self.app.clock.within(1_000, &mut job).await {
                    Some(done) => break done.unwrap_or(false),
                    None => self.hold().await?,
                }
            };
            failed += i64::from(!done);
        }
        Ok(failed)
    }

    /// Holds the clock for longer, when half of the time is over.
    async fn hold(&mut self) -> Result<(), Error> {
        let now = self.app.database_now();
        if now < self.until - LEASE_MS / 2 {
            return Ok(());
        }
        let sql = "UPDATE test_clocks SET moving_until = $3 WHERE entity_id = $1 AND moving_until = $2";
        let longer = Stmt::new(sql, args![self.entity, self.until, now + LEASE_MS]).exactly(1);
        match self.app.db.write(vec![longer]).await? {
            Written::Applied(_) => {
                self.until = now + LEASE_MS;
                Ok(())
            }
            Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("an advance has lost its clock")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn durations_are_counted_from_the_entitys_time() {
        let from = at("2027-01-31T10:00:00.123Z");
        let to = |text: &str| distance(from, text).map(|ms| crate::clock::timestamp(from + ms));
        let good = [
            ("P31D", "2027-03-03T10:00:00.123Z"),
            // The last of February, then counted on from there.
            ("P1M", "2027-02-28T10:00:00.123Z"),
            ("P1Y", "2028-01-31T10:00:00.123Z"),
            ("P2W", "2027-02-14T10:00:00.123Z"),
            ("PT36H", "2027-02-01T22:00:00.123Z"),
            ("P1Y2M10DT2H30M", "2028-04-10T12:30:00.123Z"),
            ("PT1S", "2027-01-31T10:00:01.123Z"),
            ("P10Y", "2037-01-31T10:00:00.123Z"),
            ("PT87600H", "2037-01-28T10:00:00.123Z"),
            ("PT0.5M", "2027-01-31T10:00:30.123Z"),
        ];
        for (text, wanted) in good {
            assert_eq!(to(text), Ok(wanted.to_owned()), "{text}");
        }
        let code = |text: &str| to(text).unwrap_err().code;
        let none = [
            "",
            "P",
            "PT",
            "31",
            "31 days",
            "P31",
            "1D",
            "P1.5M",
            "PT0.5S",
            "PT0.0000000001S",
            "P１D",
            "P1D ",
            "P1D\0",
        ];
        for text in none {
            assert_eq!(code(text), "format", "{text:?}");
        }
        for text in ["PT0S", "P0D", "-P1D", "P10YT1S", "P11Y", "P9999Y", "P99999999999999999999Y", "PT999999999999H"] {
            assert!(["range", "format"].contains(&code(text)), "{text}");
        }
        assert_eq!(code("P11Y"), "range");
        assert_eq!(code("-P1D"), "range");
        assert_eq!(code("PT0S"), "range");
        let late = at("8995-01-01T00:00:00Z");
        assert!(distance(late, "P4Y").is_ok() && distance(late, "P5Y").is_err());
    }
}
