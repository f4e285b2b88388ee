//! `transaction/{id}/explain`: the story of one transaction.

use super::answer;
use super::call::Call;
use super::status::find;
use crate::app::App;
use crate::error::Error;
use crate::pay::explain::{Story, story};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

pub async fn by_id(State(app): State<App>, call: Call, id: Result<Path<String>, PathRejection>) -> Response {
    match tell(&app, &call, id).await {
        Ok(story) => answer::object(200, &story),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

async fn tell(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<Story, Error> {
    story(app, &find(app, call, id).await?).await
}
