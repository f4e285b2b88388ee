//! Pages that wait for a payment's end. They ask again at once, and the answer to that is held back until there is one: a page
//! that loads itself anew by the clock takes itself away from those who are still reading it (WCAG 2.2.1), and a script
//! would not run everywhere.

use crate::app::App;
use crate::clock::Millis;
use tokio::sync::SemaphorePermit;

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
        let held = if query == Some(WAITS) { app.held.try_acquire().ok() } else { None };
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

/// In how many seconds a page asks for the result that it waits for: at once where the answer is held back.
pub fn asks_in(app: &App) -> u64 {
    if app.held.available_permits() == 0 { LATER } else { 0 }
}
