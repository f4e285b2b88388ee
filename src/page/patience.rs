//! Pages that wait for a payment's end. They ask again at once, and the answer to that is held back until there is one: a page
//! that loads itself anew by the clock takes itself away from those who are still reading it (WCAG 2.2.1), and a script
//! would not run everywhere.

use crate::app::App;
use crate::clock::Millis;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The query of an address whose answer is held back.
pub const WAITS: &str = "wait";

/// For how long at most, milliseconds: proxies let go of what takes longer than some 30 s, and a stop should not wait long.
const MOST_MS: i64 = 5_000;

/// How long between two looks, milliseconds.
const LOOK_MS: u64 = 250;

/// How many answers a process holds back; one more is given at once, and its page asks later.
pub const MOST_HELD: usize = 256;

/// When a page asks again while there is no room, seconds.
const LATER: u64 = 5;

pub struct Patience<'a> {
    app: &'a App,
    until: Millis,
    _held: Option<SemaphorePermit<'a>>,
}

impl Patience<'_> {
    /// None unless the query asks for it, and there is room.
    pub fn new<'a>(app: &'a App, query: Option<&str>) -> Patience<'a> {
        let held = hold(&app.held, query);
        let most = if held.is_some() { MOST_MS } else { 0 };
        Patience { app, until: app.clock.now() + most, _held: held }
    }

    /// Waits until it is time for another look; `false` when it is at its end.
    pub async fn lasts(&self) -> bool {
        let lasts = self.app.clock.now() < self.until;
        if lasts {
            self.app.clock.sleep(LOOK_MS).await;
        }
        lasts
    }
}

fn hold<'a>(room: &'a Semaphore, query: Option<&str>) -> Option<SemaphorePermit<'a>> {
    if query == Some(WAITS) { room.try_acquire().ok() } else { None }
}

/// In how many seconds a page asks for the result that it waits for: at once where the answer is held back.
pub fn asks_in(room: &Semaphore) -> u64 {
    if room.available_permits() == 0 { LATER } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_is_not_held() {
        let room = Semaphore::new(MOST_HELD);
        assert!(hold(&room, None).is_none() && hold(&room, Some("")).is_none());
        let mut held: Vec<_> = (1..MOST_HELD).map(|_| hold(&room, Some(WAITS)).unwrap()).collect();
        assert_eq!(asks_in(&room), 0);
        held.push(hold(&room, Some(WAITS)).unwrap());
        assert!(hold(&room, Some(WAITS)).is_none() && asks_in(&room) > 0);
        held.pop();
        assert!(hold(&room, Some(WAITS)).is_some() && asks_in(&room) == 0);
    }
}
