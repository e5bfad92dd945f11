//! Random policies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::domain::Timestamp;
use crate::domain::flapping::Flapping;
use crate::domain::fleet::{Counted, Domains};
use crate::domain::guardrails::{BlastRadius, Guardrails, MassFailure};
use crate::domain::opposites::Opposites;
use crate::domain::policy::{Mode, Policy, Source, Spec};
pub(in crate::pipeline) use crate::domain::random::Random;
use crate::domain::silence::{Active, Compiled as Silenced, Silence, Wish};
use crate::engine::Compiled;

/// For how long.
pub(super) const UNDONE: Duration = Duration::from_mins(15);

/// Where a target is: in one of two zones, or in none.
pub(super) fn zone(target: &str) -> Option<&'static str> {
    let number = target.trim_start_matches("web-").parse::<usize>().unwrap_or(0);
    [Some("a"), Some("b"), None][number % 3]
}

/// The same as the engine would say it.
pub(super) fn domains(target: &str) -> Domains {
    Domains::new(vec![("zone".into(), zone(target).map(Arc::from))])
}

/// How many of those targets a policy has, by its blast radius' tag and by its mass failure's.
pub(super) fn known(compiled: &Compiled, names: &[String]) -> (Counted, Counted) {
    let rails = &compiled.policy.guardrails;
    let by = |tag: Option<&str>| {
        let mine = names.iter().filter(|name| compiled.pattern.matches(name));
        Counted::new(mine.map(|name| domains(name).place(tag)))
    };
    (by(rails.blast_tag()), by(rails.mass_tag()))
}

/// What undoes what.
pub(super) fn opposites() -> Arc<Opposites> {
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let pairs = [pair("start", "stop"), pair("scale-up", "scale-down")];
    Arc::new(Opposites::new(&pairs, UNDONE))
}

fn mass_failure(by_zone: bool, random: &mut Random) -> MassFailure {
    let per = (random.below(3) == 0).then(|| "*".to_owned());
    let targets = if by_zone && per.is_none() { 3 } else { 6 };
    MassFailure { targets, percent: 60, quiet: Duration::from_mins(2), per }
}

pub(super) fn policy(id: i64, random: &mut Random) -> Compiled {
    let by_zone = random.below(3) == 0;
    let guardrails = Guardrails {
        cooldown: random.seconds(1_200),
        max_actions: u32::try_from(random.below(5)).unwrap_or(1) + 1,
        window: Duration::from_mins(10),
        settle: random.seconds(60),
        keep: if random.below(3) == 0 { random.seconds(60) } else { Duration::ZERO },
        relapse: Duration::from_mins(20),
        blast_radius: BlastRadius {
            percent: [Some(20), Some(50), None][usize::try_from(random.below(3)).unwrap_or(0)],
            max: u32::try_from(random.below(8)).unwrap_or(0),
            per: by_zone.then(|| "zone".to_owned()),
        },
        mass_failure: mass_failure(by_zone, random),
        flapping: Flapping {
            changes: 3,
            within: Duration::from_mins([1, 20, 40][usize::try_from(random.below(3)).unwrap_or(0)]),
        },
        ..super::pace::rails(random)
    };
    let steps = json!([{"action": "scale-up"}, {"action": "drain", "tries": 2, "settle": "1m"}, {"action": "notify"}]);
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
        clear: None,
        action: ["restart", "scale-up", "scale_down"][usize::try_from(random.below(3)).unwrap_or(0)]
            .to_owned(),
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
