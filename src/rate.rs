//! How often a key pair may call: a bucket for each pair and process (GCRA, by the `governor` crate). It runs on a clock
//! that only goes forward, so that setting the machine's clock locks nobody out.

use crate::clock::Stopwatch;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

/// The highest rate and burst that can be set.
pub const MOST: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests that may come each second for long.
    pub per_second: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

impl Limit {
    /// `None` when either is not 1 to [`MOST`].
    pub fn new(per_second: i64, burst: i64) -> Option<Limit> {
        let fits = |number: i64| u32::try_from(number).ok().filter(|number| *number <= MOST).and_then(NonZeroU32::new);
        Some(Limit { per_second: fits(per_second)?, burst: fits(burst)? })
    }
}

#[derive(Clone)]
struct Ticks(Stopwatch);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

pub struct Bucket {
    pub limit: Limit,
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>,
}

impl Bucket {
    /// Full.
    pub fn new(limit: Limit) -> Bucket {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Bucket { limit, limiter: RateLimiter::direct_with_clock(quota, Ticks(Stopwatch::start())) }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// There is none now; the whole seconds, 1 or more, after which there is.
    pub fn take(&self) -> Result<(), u64> {
        self.limiter.check().map_err(|until| {
            let wait = until.wait_time_from(self.limiter.clock().now());
            u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(1).max(1)
        })
    }
}

/// Buckets for callers that nobody has listed: each key has the bucket that its hash names, so the memory is bounded and
/// never swept. Two keys rarely share one; then they share its limit.
pub struct Buckets {
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

/// How many buckets there are.
const BUCKETS: usize = 4_096;

impl Buckets {
    pub fn new(limit: Limit) -> Buckets {
        Buckets { buckets: (0..BUCKETS).map(|_| Bucket::new(limit)).collect(), hasher: RandomState::new() }
    }

    /// Takes one request of this key's.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take(&self, key: &[u8]) -> Result<(), u64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % BUCKETS as u64).unwrap_or(0);
        self.buckets[hash].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let bucket = Bucket::new(Limit::new(1, 3).unwrap());
        assert_eq!([0; 5].map(|_| bucket.take()), [Ok(()), Ok(()), Ok(()), Err(1), Err(1)]);
        for (per_second, burst) in [(0, 1), (1, 0), (-1, 1), (1, 1_000_001), (i64::MAX, 1)] {
            assert_eq!(Limit::new(per_second, burst), None);
        }
        let buckets = Buckets::new(Limit::new(1, 2).unwrap());
        assert_eq!([0; 3].map(|_| buckets.take(b"one")), [Ok(()), Ok(()), Err(1)]);
        assert!((0..200u8).filter(|other| buckets.take(&[*other]).is_ok()).count() > 190);
        let many = Bucket::new(Limit::new(1_000_000, 1_000_000).unwrap());
        assert!((0..1_000).all(|_| many.take().is_ok()));
    }
}
