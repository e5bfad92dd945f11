//! How many actions a policy can make in an hour, whatever happens.

use std::time::Duration;

use serde::Serialize;

use super::guardrails::Everywhere;
use super::policy::{Pattern, Spec};

/// The hour that is spoken of.
const HOUR: Duration = Duration::from_hours(1);

/// What bounds a policy's actions at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Its own actions per window.
    MaxActions,
    /// The part of its targets that may be touched in one window.
    BlastRadius,
    /// The pause between two actions on the only target it has.
    Cooldown,
    /// What all policies together may do.
    Everywhere,
    /// Nothing that can be known from the policy.
    Nothing,
}

/// The worst case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = WorstCase)]
pub struct Worst {
    /// Most actions in an hour if it acts; null: without bound.
    #[schema(required = true)]
    pub actions_per_hour: Option<u64>,
    /// The guardrail that says so.
    pub bound_by: Bound,
}

impl Spec {
    /// The most actions that the guardrails let it make in any hour, and the one of them that says so. Budgets are of
    /// sliding windows: in an hour that begins with a burst there fit as many as windows have begun in it.
    #[must_use]
    pub fn worst(&self, pattern: &Pattern, everywhere: Option<&Everywhere>) -> Worst {
        let rails = &self.guardrails;
        let alone = matches!(pattern, Pattern::Exactly(_));
        let touched = if alone { rails.blast_radius.allows(1) } else { rails.blast_radius.max };
        let mut bounds = vec![(bursts(rails.max_actions, rails.window), Bound::MaxActions)];
        // In how many parts its fleet is, the policy does not say.
        if alone || rails.blast_tag().is_none() {
            bounds.push((bursts(touched, rails.window), Bound::BlastRadius));
        }
        if alone {
            // Inside an incident the time to settle takes the cooldown's place.
            let settles = (0..).map_while(|step| self.rung(step)).map(|rung| rung.settle);
            let pause = settles.fold(rails.cooldown, Duration::min);
            bounds.push((bursts(1, pause), Bound::Cooldown));
        }
        if let Some(all) = everywhere {
            bounds.push((bursts(all.max_actions, all.window), Bound::Everywhere));
        }
        let least =
            bounds.into_iter().filter_map(|(most, bound)| Some((most?, bound))).min_by_key(|(most, _)| *most);
        match least {
            Some((most, bound_by)) => Worst { actions_per_hour: Some(most), bound_by },
            None => Worst { actions_per_hour: None, bound_by: Bound::Nothing },
        }
    }
}

/// So many per window, in an hour; none: a window of no length bounds nothing.
fn bursts(count: u32, window: Duration) -> Option<u64> {
    if count == 0 {
        return Some(0);
    }
    let windows = HOUR.as_micros().div_ceil(Some(window.as_micros()).filter(|window| *window > 0)?);
    u64::try_from(windows).ok().map(|windows| windows.saturating_mul(u64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The greediest there can be, minute by minute, never makes more, and makes as many as that.
        #[test]
        fn the_greediest_makes_as_many(count in 0u32..6, minutes in 1u64..90) {
            let window = Duration::from_mins(minutes);
            let mut made: Vec<u64> = Vec::new();
            for now in 0..60 {
                while made.iter().filter(|at| **at + minutes > now).count() < count as usize {
                    made.push(now);
                }
            }
            prop_assert_eq!(bursts(count, window), Some(made.len() as u64));
        }
    }
}
