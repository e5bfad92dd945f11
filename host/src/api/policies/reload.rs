//! Policies read again from their files.

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::files::{self, Synced};
use super::shape::Reloaded;
use crate::api::Api;
use crate::api::problem::{self, Invalid, Problem};

/// Changed policies that are analysed; `GET /api/v1/policies/{policy_name}/analysis` tells of the others.
const ANALYZED: usize = 100;

/// Reads the policy files again.
///
/// In one transaction: policies of files are added, changed and removed; those made over the API are left alone. What was
/// changed over the API of a policy that its file says nothing new of stays, and is named in `warnings`; so is what a file
/// that has changed replaces. A bad or repeated entry is skipped and named in `errors`. A file that can't be read changes
/// nothing at all.
#[utoipa::path(post, path = "/api/v1/policies/reload", tag = "policies", security(("token" = ["author"])),
    responses((status = 200, description = "What has changed", body = Reloaded),
        (status = 409, description = "Others keep changing the policies", body = problem::Body),
        (status = 422, description = "A file can't be read; nothing was changed", body = problem::Body)))]
pub(super) async fn reload(State(api): State<Api>) -> Result<Json<Reloaded>, Problem> {
    let synced = files::sync(&api.store, &api.clock, &api.sources).await.map_err(|wrong| match wrong {
        files::Error::Files(files) => Problem::invalid(
            files
                .into_iter()
                .map(|file| {
                    let path = json!(file.path.display().to_string());
                    Invalid::new("value_error", vec![json!("body"), path.clone()], file.why, path)
                })
                .collect(),
        ),
        files::Error::Store(wrong) => wrong.into(),
    })?;
    api.ingest.policies_changed(synced.rev).await;
    let Synced { added, updated, removed, errors, mut notes, total, .. } = synced;
    for name in added.iter().chain(&updated).take(ANALYZED) {
        let Some(policy) = api.store.policy(name).await? else { continue };
        let found = super::analysis::warnings(&api, &policy).await;
        notes.extend(found.into_iter().map(|warning| format!("{name}: {warning}")));
    }
    let message = format!("Policies reloaded successfully ({total} policies)");
    Ok(Json(Reloaded { ok: true, message, added, updated, removed, errors, warnings: notes }))
}
