//! Which plugins there are, and which files were refused.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/api/v1/plugins", get(list))
}

async fn list(State(api): State<Api>) -> Json<Value> {
    let plugins = api.plugins.list();
    Json(json!({"ok": true, "count": plugins.len(), "plugins": plugins}))
}
