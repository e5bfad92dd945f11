//! What can be known of policies of files, among each other and among a server's.

use serde_json::Value;

use super::source::{Finding, Sound};
use crate::domain::Timestamp;
use crate::domain::policy::{Policy, Source, Spec};
use crate::engine::Compiled;
use crate::engine::analysis::analyze;

/// Policies that are compared with each other; with more, that is the server's task.
const MOST: usize = 2_000;

/// What the authors of the policies that `which` names should know; `server` are a server's, of which those that the files
/// name count no more.
pub(super) fn warnings(files: &[Sound], server: &[Value], which: impl Fn(&str) -> bool) -> Vec<Finding> {
    if files.len() + server.len() > MOST {
        return Vec::new();
    }
    let mut all: Vec<Compiled> =
        files.iter().filter_map(|sound| compiled(sound.draft.spec.clone(), sound.draft.enabled)).collect();
    let named = |name: &str| files.iter().any(|sound| sound.draft.spec.name == name);
    for policy in server.iter().filter(|policy| policy["name"].as_str().is_some_and(|name| !named(name))) {
        let Ok(spec) = serde_json::from_value::<Spec>(policy.clone()) else { continue };
        all.extend(compiled(spec, policy["enabled"] == true));
    }
    let mut findings = Vec::new();
    for sound in files.iter().filter(|sound| which(&sound.draft.spec.name)) {
        let name = &sound.draft.spec.name;
        let Some(one) = all.iter().find(|one| one.policy.name == *name) else { continue };
        let found = analyze(one, all.iter(), None).warnings();
        findings.extend(found.into_iter().map(|message| Finding {
            file: sound.file.clone(),
            at: sound.at,
            policy: Some(name.clone()),
            field: None,
            message,
        }));
    }
    findings
}

fn compiled(spec: Spec, enabled: bool) -> Option<Compiled> {
    let at = Timestamp::from_micros(0);
    let policy = Policy {
        id: 0,
        version: 0,
        enabled,
        declared: None,
        filed: None,
        source: Source::File,
        created_at: at,
        updated_at: at,
        spec,
    };
    Compiled::new(policy).ok()
}
