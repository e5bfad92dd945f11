//! Which targets are alive, and in which parts of the fleets they are that policies count by.

use std::sync::Arc;
use std::time::Duration;

use super::partition::{Partition, SeriesKey};
use super::policies::PolicySet;
use super::series::TargetState;
use crate::domain::Timestamp;
use crate::domain::fleet::{Alive, Domains};

/// How often a target that sends samples is said to be alive.
const NOTED: Duration = Duration::from_hours(1);

impl Partition {
    /// The target of a series that has just sent a sample, if it is a real one and it is an hour or more since this was
    /// asked, or it is elsewhere than it was then.
    pub fn alive(&mut self, policies: &PolicySet, key: SeriesKey, now: Timestamp) -> Option<Alive> {
        let target = &mut self.targets[key.target as usize];
        if !target.named || target.simulated {
            return None;
        }
        let due = target.noted.0 < now.before(NOTED);
        if policies.domains().is_empty() {
            if !due {
                return None;
            }
            target.noted = (now, Domains::default());
        } else {
            let series = &mut target.series[key.series as usize];
            let placed = std::mem::replace(&mut series.placed, policies.rev);
            if !due && placed == policies.rev {
                return None;
            }
            let domains = target.domains(policies);
            if !due && domains == target.noted.1 {
                return None;
            }
            target.noted = (now, domains);
        }
        Some(Alive { target: Arc::clone(&target.name), domains: target.noted.1.clone() })
    }

    /// Where the target of a series is.
    #[must_use]
    pub fn domains(&self, policies: &PolicySet, key: SeriesKey) -> Domains {
        self.targets[key.target as usize].domains(policies)
    }
}

impl TargetState {
    /// By each tag that some policy counts by, the value that the target's newest sample with that tag carried. An empty one
    /// is none.
    fn domains(&self, policies: &PolicySet) -> Domains {
        let value = |tag: &Arc<str>| {
            let tagged = self.series.iter().filter_map(|series| Some((series, series.tags.get(&**tag)?)));
            let newest = tagged.max_by_key(|(series, _)| (series.last_at, series.last_id));
            newest.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).map(Arc::from)
        };
        Domains::new(policies.domains().iter().map(|tag| (Arc::clone(tag), value(tag))).collect())
    }
}
