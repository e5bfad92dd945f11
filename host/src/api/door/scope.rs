//! A token that may touch some targets only changes nothing that stands under another one, whatever route it takes:
//! what a path names is looked up before the handler is reached. What a body names, its handler asks about.

use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;

use super::super::{Api, Problem};
use super::identity::Principal;

/// Refuses a change of an action, incident or policy beyond the token's scope. What does not exist is the handler's
/// to say.
pub(super) async fn check(api: &Api, principal: &Principal, parts: &mut Parts) -> Result<(), Problem> {
    if !principal.is_scoped() || matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else { return Ok(()) };
    for (name, value) in &params {
        let id = value.parse::<i64>().ok();
        match (name, id) {
            ("action_id", Some(id)) => {
                if let Some(action) = api.store.action(id).await? {
                    principal.touch(&action.target)?;
                }
            }
            ("incident_id", Some(id)) => {
                if let Some(incident) = api.store.incident(id).await? {
                    principal.touch(&incident.target)?;
                }
            }
            ("policy_name", _) => {
                let (policies, _) = api.store.policies().await?;
                if let Some(policy) = policies.iter().find(|policy| policy.name == value) {
                    principal.touch_pattern(&policy.target)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
