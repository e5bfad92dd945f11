//! Which plugins there are, and which files were refused.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use crate::plugin::PluginInfo;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The plugins.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginList)]
struct Listed {
    /// Always true.
    ok: bool,
    /// How many follow.
    count: usize,
    /// Each with its actions, or with why its file was refused.
    plugins: Vec<PluginInfo>,
}

/// The plugins in force, and the files that were refused, with the reason.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", security(("token" = ["read"])),
    responses((status = 200, description = "All of them", body = Listed)))]
async fn list(State(api): State<Api>) -> Json<Listed> {
    let plugins = api.plugins.list();
    Json(Listed { ok: true, count: plugins.len(), plugins })
}
