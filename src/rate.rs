//! How often a key pair may call: a bucket for each pair and process (GCRA, by the `governor` crate). It runs on a clock
//! that only goes forward, so that setting the machine's clock locks nobody out.

use crate::clock::Stopwatch;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
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

/// Buckets for callers that nobody has listed, one for each key. The memory is bounded: when there are too many, those go
/// that nobody has asked for longest. Their keys begin anew with a full bucket, so a flood of keys lets its sender try more
/// often, but never keeps anybody else out.
pub struct Buckets<K> {
    limit: Limit,
    shelves: Mutex<Shelves<K>>,
}

/// A key that is asked for stands on the young shelf; when that is full it becomes the old one, and what was there goes.
struct Shelves<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
}

/// How many buckets stand on a shelf, of some 100 bytes each.
const SHELF: usize = 32_768;

impl<K: Eq + Hash> Buckets<K> {
    pub fn new(limit: Limit) -> Buckets<K> {
        Buckets { limit, shelves: Mutex::new(Shelves { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// Takes one request of this key's.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take(&self, key: K) -> Result<(), u64> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shelves.young.get(&key) {
            return bucket.take();
        }
        let bucket = shelves.old.remove(&key).unwrap_or_else(|| Bucket::new(self.limit));
        let taken = bucket.take();
        if shelves.young.len() >= SHELF {
            shelves.old = std::mem::take(&mut shelves.young);
        }
        shelves.young.insert(key, bucket);
        taken
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
        let many = Bucket::new(Limit::new(1_000_000, 1_000_000).unwrap());
        assert!((0..1_000).all(|_| many.take().is_ok()));
    }

    #[test]
    fn a_flood_of_keys_keeps_nobody_out() {
        let buckets = Buckets::new(Limit::new(1, 2).unwrap());
        let flood = |keys: std::ops::Range<usize>| keys.clone().filter(|key| buckets.take(*key).is_ok()).count();
        assert_eq!([0; 3].map(|_| buckets.take(usize::MAX)), [Ok(()), Ok(()), Err(1)]);
        // Every key has its own, also the one that is asked for again after as many as there is room for.
        assert_eq!(flood(0..SHELF), SHELF);
        assert_eq!(buckets.take(usize::MAX), Err(1));
        assert_eq!(flood(SHELF..9 * SHELF), 8 * SHELF);
        let shelves = buckets.shelves.lock().unwrap();
        assert!(shelves.young.len() <= SHELF && shelves.old.len() <= SHELF);
        assert!(!shelves.young.contains_key(&usize::MAX) && !shelves.old.contains_key(&usize::MAX));
    }
}
