//! Randomness is passed in: the only file that asks the machine for random bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The cryptographic generator of the one crypto provider; in a simulation, one that a seed repeats.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System(SystemRandom),
    Seeded(Arc<AtomicU64>),
}

impl Random {
    pub fn system() -> Random {
        Random(Source::System(SystemRandom::new()))
    }

    /// Predictable, for simulations alone: no key that protects anything may come from it.
    pub fn seeded(seed: u64) -> Random {
        Random(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// Panics when the machine has no randomness: nothing safe can be done without it.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Source::System(system) => system.fill(&mut bytes).expect("the operating system gives random bytes"),
            Source::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&split_mix(state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
        bytes
    }
}

/// SplitMix64: each seed its own long sequence.
fn split_mix(state: &AtomicU64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
