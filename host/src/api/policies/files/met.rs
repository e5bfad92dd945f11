//! A policy that came from a file, and what the file says now.

use std::path::Path;

use super::super::Draft;
use super::super::promote::{self, Raise};
use super::Synced;
use crate::domain::policy::{Mode, Policy, Source};
use crate::store::{Change, Edition};

/// Brings a policy that came from a file and the file together. Where the file says what it said when it was last read,
/// what somebody changed since stays: the switch, the mode, and the rest, each by itself. Where the file has changed, the
/// file counts, and what that replaces is named; the policy's history keeps it.
///
/// The rules of promotion hold for files, too; what is forced is forced over the API.
pub(super) fn met(
    known: &Policy,
    draft: &Draft,
    (file, approvers): (&Path, bool),
    synced: &mut Synced,
) -> Vec<Change> {
    let before = known.filed.as_deref().unwrap_or(&known.spec);
    let mut says = |what: String| {
        synced.notes.push(format!("{}: {}: {what}", file.display(), known.name));
    };
    let switched = known.declared.is_some_and(|declared| declared != draft.enabled);
    let enabled = if switched { draft.enabled } else { known.enabled };
    let (mut spec, mut filed) = (draft.spec.clone(), draft.spec.clone());
    let (mut mode, mut raise) = (known.mode, None);
    if before.mode != draft.spec.mode {
        match promote::mode(known.mode, (draft.said, Mode::Observe), (approvers, false)) {
            Ok(outcome) => {
                (mode, raise) = (outcome.mode, outcome.raise);
                filed.mode = mode;
                outcome.warning.into_iter().for_each(&mut says);
            }
            Err(rule) => {
                let place = format!("{}: {}", file.display(), known.name);
                synced.errors.push(format!("{place}: {rule}; in a file `auto_remediate: true` may jump"));
                return Vec::new();
            }
        }
    }
    spec.mode = before.mode;
    let unchanged = spec.differs(before).is_empty();
    let by_hand: Vec<String> =
        known.spec.differs(before).into_iter().filter(|member| member != "mode").collect();
    spec = if unchanged { known.spec.clone() } else { draft.spec.clone() };
    spec.mode = mode;
    if !unchanged && !by_hand.is_empty() {
        let what = by_hand.join(", ");
        says(format!("the file has changed and replaces what was changed over the API: {what}"));
    }
    let kept = spec.differs(&filed);
    if !kept.is_empty() {
        says(format!(
            "differs from the file, since it was changed over the API, and is kept: {}",
            kept.join(", ")
        ));
    }
    let mut changes = Vec::new();
    if spec != known.spec || enabled != known.enabled {
        synced.updated.push(known.name.clone());
        let (edition, spec) = (Edition::of(known), Box::new(spec));
        changes.push(Change::Replace { edition, spec, enabled, source: Source::File, declared: None });
        let name = known.name.clone();
        changes.extend(raise.map(|Raise { from, to, how }| Change::Promoted { name, from, to, how }));
    }
    if before.differs(&filed).len() + usize::from(switched || known.declared.is_none()) > 0 {
        let spec = Box::new(filed);
        changes.push(Change::Filed { id: known.id, declared: draft.enabled, spec });
    }
    changes
}
