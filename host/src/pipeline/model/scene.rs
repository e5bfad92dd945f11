//! Random numbers from a seed, and random policies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::domain::Timestamp;
use crate::domain::guardrails::{BlastRadius, Guardrails, MassFailure};
use crate::domain::policy::{Mode, Policy, Source, Spec};
use crate::domain::silence::{Active, Compiled as Silenced, Silence, Wish};
use crate::engine::Compiled;

pub(in crate::pipeline) struct Random(pub(in crate::pipeline) u64);

impl Random {
    pub(in crate::pipeline) fn below(&mut self, end: u64) -> u64 {
        // splitmix64, public domain, by Sebastiano Vigna.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(in crate::pipeline) fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_secs(self.below(most + 1))
    }
}

pub(super) fn policy(id: i64, random: &mut Random) -> Compiled {
    let guardrails = Guardrails {
        cooldown: random.seconds(1_200),
        max_actions: u32::try_from(random.below(5)).unwrap_or(1) + 1,
        window: Duration::from_mins(10),
        settle: random.seconds(60),
        relapse: Duration::from_mins(20),
        blast_radius: BlastRadius {
            percent: [Some(20), None][usize::try_from(random.below(2)).unwrap_or(0)],
            max: u32::try_from(random.below(8)).unwrap_or(0),
        },
        mass_failure: MassFailure { targets: 6, percent: 60, quiet: Duration::from_mins(2) },
        ..Guardrails::default()
    };
    let steps =
        json!([{"action": "scale"}, {"action": "drain", "tries": 2, "settle": "1m"}, {"action": "notify"}]);
    let steps =
        if random.below(2) == 0 { serde_json::from_value(steps).unwrap_or_default() } else { Vec::new() };
    let spec = Spec {
        name: format!("p-{id}"),
        description: String::new(),
        severity: crate::domain::policy::Severity::Warning,
        target: ["web-*", "all", "web-1*"][usize::try_from(random.below(3)).unwrap_or(0)].to_owned(),
        mode: match random.below(6) {
            0 => Mode::Observe,
            1 | 2 => Mode::Approve,
            _ => Mode::Auto,
        },
        condition: json!({"type": "metric_exceeds", "metric": "m", "threshold": 1}),
        action: "restart".to_owned(),
        params: serde_json::Map::new(),
        steps,
        guardrails,
        approval: crate::domain::approval::Terms { within: random.seconds(1_800), ..Default::default() },
    };
    let at = Timestamp::from_micros(0);
    let policy = Policy {
        id,
        version: 1,
        enabled: true,
        declared: None,
        filed: None,
        source: Source::Api,
        created_at: at,
        updated_at: at,
        spec,
    };
    Compiled::new(policy).unwrap_or_else(|fault| panic!("{fault:?}"))
}

/// A silence about that target, or none.
pub(super) fn silence(target: Option<&str>, now: Timestamp) -> Active {
    let Some(target) = target else { return Active::default() };
    let until = now.after(Duration::from_hours(1));
    let matchers = vec![format!("target={target}"), "policy=~p-.+".to_owned(), "action!=notify".to_owned()];
    let wish =
        Wish { matchers, starts_at: now, ends_at: Some(until), recurring: None, comment: String::new() };
    let silence = Silence {
        id: 1,
        version: 1,
        wish,
        author: String::new(),
        created_at: now,
        updated_at: now,
        expired_at: None,
    };
    let compiled = Silenced::new(silence).unwrap_or_else(|why| panic!("{why}"));
    Active::new(vec![(Arc::new(compiled), until)])
}
