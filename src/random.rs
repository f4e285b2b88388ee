//! Randomness is passed in: the only file that asks the machine for random bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The cryptographic generator of the one crypto provider.
#[derive(Clone)]
pub struct Random(SystemRandom);

impl Random {
    pub fn system() -> Random {
        Random(SystemRandom::new())
    }

    /// Panics when the machine has no randomness: nothing safe can be done without it.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}
