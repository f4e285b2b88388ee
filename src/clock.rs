//! Time is passed in: the only file that reads the machine's clock or sleeps (clippy forbids it elsewhere).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// The machine's clock, one that a test sets by hand, or one that follows the runtime's timers.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
    Runtime { start: Millis, origin: tokio::time::Instant },
}

#[allow(clippy::disallowed_methods)] // the file that owns time
impl Clock {
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still until [`Clock::set`].
    pub fn fixed(now: Millis) -> Clock {
        Clock(Source::Fixed(Arc::new(AtomicI64::new(now))))
    }

    /// It is `start` now, and time passes as for the runtime's timers: a simulation's runtime leaps from one to the next.
    pub fn of_runtime(start: Millis) -> Clock {
        Clock(Source::Runtime { start, origin: tokio::time::Instant::now() })
    }

    pub fn set(&self, now: Millis) {
        if let Source::Fixed(fixed) = &self.0 {
            fixed.store(now, Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> Millis {
        let millis = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 2);
        match &self.0 {
            Source::System => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, millis),
            Source::Fixed(fixed) => fixed.load(Ordering::SeqCst),
            Source::Runtime { start, origin } => start + millis(origin.elapsed()),
        }
    }

    pub async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// `None` when `work` is not done within `ms`; it is dropped then.
    pub async fn within<T>(&self, ms: u64, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(ms), work).await.ok()
    }
}

/// A stopwatch for logs and metrics; tells no time of day.
#[derive(Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

#[allow(clippy::disallowed_methods)] // the file that owns time
impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// `2024-11-25T08:24:36.000Z` (contract section 2).
pub fn timestamp(at: Millis) -> String {
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}
