//! The acquirers that are set up in a file, and their lines while this process serves.

use super::iso8583::bank::Bank;
use super::iso8583::config::Settings;
use super::{Acquirer, Acquirers, News};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::Error;
use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::{self, Receiver};

/// How many late answers of one acquirer may wait to be used; more are in the log alone, and recovery asks.
const NEWS: usize = 1_024;

/// What acquirers say by themselves, by name.
pub type Ears = Vec<(String, Receiver<News>)>;

/// How often it is looked whether lines are up, milliseconds.
const LOOK_MS: u64 = 5;

/// All that this process has.
pub struct Lines {
    banks: BTreeMap<String, Arc<Bank>>,
}

impl Lines {
    /// Begins to connect; returns at once. What acquirers say by themselves comes from the receivers, until their lines are gone.
    ///
    /// # Errors
    /// What is wrong with an acquirer, for the operator.
    pub fn start(
        settings: &BTreeMap<String, Settings>,
        db: &Db,
        clock: &Clock,
        random: &Random,
    ) -> Result<(Lines, Ears), Error> {
        let (mut banks, mut ears) = (BTreeMap::new(), Vec::new());
        for (name, settings) in settings {
            let (news, receiver) = mpsc::channel(NEWS);
            banks.insert(name.clone(), Arc::new(Bank::start(name, settings, db, (clock, random), news)?));
            ears.push((name.clone(), receiver));
        }
        Ok((Lines { banks }, ears))
    }

    /// By name.
    pub fn acquirers(&self) -> Acquirers {
        let acquirers = self.banks.iter().map(|(name, bank)| (name.clone(), bank.clone() as Arc<dyn Acquirer>));
        Arc::new(acquirers.collect())
    }

    /// Waits until every line is up, but no longer than that.
    pub async fn settle(&self, clock: &Clock, ms: u64) {
        let up = async {
            while self.banks.values().any(|bank| !bank.link().up()) {
                clock.sleep(LOOK_MS).await;
            }
        };
        if clock.within(ms, up).await.is_none() {
            tracing::warn!("not all acquirers are connected yet");
        }
    }

    /// Stops everywhere, after what is in flight has ended. Within a minute.
    pub async fn stop(&self) {
        let stopping: Vec<_> =
            self.banks.values().cloned().map(|bank| tokio::spawn(async move { bank.link().stop().await })).collect();
        for line in stopping {
            if line.await.is_err() {
                tracing::error!("a line panicked while it was stopped");
            }
        }
    }
}
