//! What cardholders see in their browsers: pages, never JSON.

use crate::app::App;
use axum::Router;

pub fn router() -> Router<App> {
    Router::new()
}
