//! Time is passed in: the only file that reads the machine's clock or sleeps (clippy forbids it elsewhere).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// The machine's clock, or one that a test sets by hand.
#[derive(Clone, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicI64>>,
}

#[allow(clippy::disallowed_methods)] // the file that owns time
impl Clock {
    pub fn system() -> Clock {
        Clock { fixed: None }
    }

    /// A clock that stands still until [`Clock::set`].
    pub fn fixed(now: Millis) -> Clock {
        Clock { fixed: Some(Arc::new(AtomicI64::new(now))) }
    }

    pub fn set(&self, now: Millis) {
        if let Some(fixed) = &self.fixed {
            fixed.store(now, Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> Millis {
        match &self.fixed {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
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
