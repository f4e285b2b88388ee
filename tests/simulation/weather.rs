//! What a process meets: a store that is slow, fails or loses answers, panics, and its own death between any two steps.

use fuda::clock::Clock;
use fuda::db::{Fate, Wait, Weather};
use fuda::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What a panic that was asked for says: the hook keeps quiet about it.
pub const ASKED: &str = "a panic that the simulation asked for";

/// All chance of one seed.
#[derive(Clone)]
pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Random::seeded(seed))
    }

    /// 0 to `limit - 1`.
    pub fn below(&self, limit: u64) -> u64 {
        u64::from_le_bytes(self.0.bytes()) % limit.max(1)
    }

    /// So many times in a thousand.
    pub fn chance(&self, of_1000: u64) -> bool {
        self.below(1000) < of_1000
    }

    pub fn pick<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(list.len() as u64)).unwrap();
        list.get(index)
    }
}

/// A process: it lives, takes no more requests, or is dead. The dead do nothing, and hear nothing.
pub struct Life {
    dead: AtomicBool,
    pub draining: AtomicBool,
    /// It dies at this step.
    steps_left: AtomicI64,
    /// No more trouble, for all processes of the seed.
    calm: Arc<AtomicBool>,
}

impl Life {
    pub fn new(steps: Option<u64>, calm: &Arc<AtomicBool>) -> Arc<Life> {
        let steps_left = steps.map_or(i64::MAX, |steps| i64::try_from(steps).unwrap());
        Arc::new(Life {
            dead: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            steps_left: AtomicI64::new(steps_left),
            calm: calm.clone(),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// One step of the process; does not return to the dead.
    pub async fn step(&self) {
        if !self.is_calm() && self.steps_left.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.dead.store(true, Ordering::Relaxed);
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}

pub struct Sky {
    pub life: Arc<Life>,
    pub dice: Dice,
    pub clock: Clock,
}

impl Weather for Sky {
    fn before(&self, write: bool) -> Wait<'_, Fate> {
        Box::pin(async move {
            self.life.step().await;
            if self.life.is_calm() {
                return Fate::Done;
            }
            match self.dice.below(1000) {
                0..=1 => panic!("{ASKED}"),
                2..=4 => self.clock.sleep(1_000 + self.dice.below(7_000)).await,
                // Longer than a lease.
                5 => self.clock.sleep(8_000 + self.dice.below(10_000)).await,
                6..=300 => self.clock.sleep(self.dice.below(6)).await,
                301..=500 => tokio::task::yield_now().await,
                _ => {}
            }
            self.life.step().await;
            match self.dice.below(1000) {
                0..=7 => Fate::Failed,
                8..=17 if write => Fate::LostAnswer,
                18..=27 if write => Fate::LostWrite,
                _ => Fate::Done,
            }
        })
    }

    fn after(&self) -> Wait<'_, ()> {
        Box::pin(async move {
            self.life.step().await;
            if !self.life.is_calm() && self.dice.chance(200) {
                self.clock.sleep(self.dice.below(4)).await;
                self.life.step().await;
            }
        })
    }
}
