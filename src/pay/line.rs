//! By which acquirer a payment goes, and as whom its merchant is known there.

use crate::acceptor::SANDBOX;
use crate::acquirer::faults::{Fault, Faulty};
use crate::acquirer::{Abilities, Acquirer};
use crate::app::App;
use crate::codes::Code;
use crate::directory::{Caller, Route};
use crate::error::Error;
use crate::money::Currency;
use std::sync::Arc;

#[derive(Clone)]
pub struct Line {
    pub acquirer: Arc<dyn Acquirer>,
    /// `None`: the sandbox, which every test merchant has without one.
    pub route: Option<Arc<Route>>,
}

impl Line {
    pub fn abilities(&self) -> Abilities {
        self.acquirer.abilities()
    }
}

/// Who is asked for a charge, and who instead when the first is known not to have been reached.
pub struct Lines {
    pub first: Line,
    pub second: Option<Line>,
}

/// The lines of a merchant's charges in a currency. `fault` steers the sandbox, no other.
///
/// # Errors
/// ERR1015: this merchant has no acquirer for it.
pub fn choose(
    app: &App,
    caller: Caller,
    merchant_id: &str,
    currency: Currency,
    fault: Option<Fault>,
) -> Result<Lines, Error> {
    let mut routes = app.directory.routes(caller.live, merchant_id, currency).into_iter();
    let Some(first) = routes.next() else {
        let bank = Some(&app.sandbox).filter(|bank| bank.live() == caller.live);
        let bank = bank.ok_or_else(|| Error::new(Code::Err1015))?;
        let first = steered(app, Line { acquirer: bank.clone(), route: None }, fault);
        return Ok(Lines { first, second: None });
    };
    let along = |route: Arc<Route>| {
        let line = line(app, caller.live, &route.acquirer, Some(route.clone()));
        line.map(|line| steered(app, line, fault)).inspect_err(|_| {
            tracing::error!(route = route.id, merchant = merchant_id, "a route leads nowhere");
        })
    };
    Ok(Lines { first: along(first)?, second: routes.next().and_then(|route| along(route).ok()) })
}

/// The line that an attempt went by, or would go by again; also along a route that has ended.
///
/// # Errors
/// ERR1015: this process knows no such acquirer of that mode.
pub async fn of_attempt(app: &App, live: bool, acquirer: &str, route_id: Option<i64>) -> Result<Line, Error> {
    let route = match route_id {
        Some(id) => app.directory.route(id).await?,
        None => None,
    };
    line(app, live, acquirer, route)
}

fn line(app: &App, live: bool, acquirer: &str, route: Option<Arc<Route>>) -> Result<Line, Error> {
    let name = if acquirer == SANDBOX { app.sandbox.name() } else { acquirer };
    let found = if name == app.sandbox.name() { Some(&app.sandbox) } else { app.acquirers.get(name) };
    // Test requests never reach a live acquirer, whatever a route says (contract section 1).
    let found = found.filter(|found| found.live() == live);
    let mode = if live { "live" } else { "test" };
    let lost = || Error::because(Code::Err1015, format!("no {mode} acquirer {name} is set up here (--acquirers)"));
    let acquirer =
        found.ok_or_else(lost).inspect_err(|error| tracing::error!(cause = error.cause(), "no way to a bank"))?;
    Ok(Line { acquirer: acquirer.clone(), route })
}

/// The sandbox behind a line that fails as the request asked; no other acquirer fails on request.
pub fn steered(app: &App, line: Line, fault: Option<Fault>) -> Line {
    match fault {
        Some(fault) if line.acquirer.name() == app.sandbox.name() => {
            let acquirer = Arc::new(Faulty { inner: line.acquirer, fault, clock: app.clock.clone() });
            Line { acquirer, ..line }
        }
        _ => line,
    }
}
