//! What can be known of policies without an event: what they may do at worst, whom they get in the way of, and conditions
//! that nothing can meet or that everything meets. Pure. It says nothing of which it is not certain.

mod interval;
mod solve;

use serde::Serialize;

use super::policies::Compiled;
use crate::cel::{Function, Logic, Read, Term};
use crate::domain::guardrails::Everywhere;
use crate::domain::policy::Mode;
use crate::domain::worst::{Bound, Worst};
use interval::Interval;

pub use solve::Met;

/// Policies that one analysis names.
const NAMED: usize = 100;
/// Policies that one warning names.
const TOLD: usize = 5;
/// Actions per hour that the default guardrails allow: more is worth a warning.
const USUAL: u64 = 60;

/// Actions that undo each other.
const OPPOSITES: [(&str, &str); 5] = [
    ("scale-up", "scale-down"),
    ("start", "stop"),
    ("drain", "ready"),
    ("cordon", "uncordon"),
    ("enable", "disable"),
];

/// Another policy that has targets in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = PolicyOverlap)]
pub struct Overlap {
    /// The other policy.
    pub policy_name: String,
    /// Its pattern of targets.
    pub target: String,
    /// Its kind of action.
    pub action: String,
    /// Whether it acts; else it only observes.
    pub acts: bool,
}

/// Another policy that would undo what this one does, and be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = PolicyOscillation)]
pub struct Oscillation {
    /// The other policy.
    pub policy_name: String,
    /// What this one does.
    pub action: String,
    /// What the other one does.
    pub other_action: String,
    /// The metric over which both are met, without a gap between.
    pub metric: String,
}

/// What is known of a policy among others.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Whether it acts by itself.
    pub acts: bool,
    /// Its actions per hour at worst.
    pub worst: Worst,
    /// Whether its condition can be met.
    pub met: Met,
    /// Others with targets in common: the first 100.
    pub overlaps: Vec<Overlap>,
    /// How many there are.
    pub overlaps_total: usize,
    /// Others that can oscillate with it: the first 100.
    pub oscillates: Vec<Oscillation>,
}

/// Looks at a policy among `others`; one of its own name is none of them.
pub fn analyze<'a>(
    one: &Compiled,
    others: impl Iterator<Item = &'a Compiled>,
    everywhere: Option<&Everywhere>,
) -> Analysis {
    let mut analysis = Analysis {
        acts: acts(one),
        worst: one.policy.worst(&one.pattern, everywhere),
        met: solve::met(&one.program),
        overlaps: Vec::new(),
        overlaps_total: 0,
        oscillates: Vec::new(),
    };
    let mine = levels(&one.program.logic(false));
    for other in others.filter(|other| other.policy.name != one.policy.name) {
        if !other.policy.enabled || !one.pattern.meets(&other.pattern) {
            continue;
        }
        analysis.overlaps_total += 1;
        if analysis.overlaps.len() < NAMED {
            analysis.overlaps.push(Overlap {
                policy_name: other.policy.name.clone(),
                target: other.policy.target.clone(),
                action: other.policy.action.clone(),
                acts: acts(other),
            });
        }
        if analysis.oscillates.len() < NAMED {
            analysis.oscillates.extend(oscillation(one, &mine, other));
        }
    }
    analysis
}

impl Analysis {
    /// What its author should know, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.met {
            Met::Never => warnings.push("its condition can never be met".to_owned()),
            Met::Always => {
                warnings.push(
                    "its condition is always met where there is data: it tells nothing apart".to_owned(),
                );
            }
            Met::Sometimes => {}
        }
        for one in &self.oscillates {
            let Oscillation { policy_name, action, other_action, metric } = one;
            warnings.push(format!(
                "it can oscillate with policy `{policy_name}`: {action} here and {other_action} there, on targets of both, \
                 and no gap between their thresholds of {metric}"
            ));
        }
        let acting: Vec<&str> =
            self.overlaps.iter().filter(|other| other.acts).map(|other| other.policy_name.as_str()).collect();
        if self.acts && !acting.is_empty() {
            let named: Vec<String> = acting.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
            let more = acting.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            warnings.push(format!("others act on targets of this policy, too: {}{more}", named.join(", ")));
        }
        warnings.extend(self.worst_told());
        warnings
    }

    fn worst_told(&self) -> Option<String> {
        if !self.acts {
            return None;
        }
        let by = match self.worst.bound_by {
            Bound::MaxActions => "max_actions",
            Bound::BlastRadius => "blast_radius",
            Bound::Cooldown => "cooldown and settle",
            Bound::Everywhere => "the server's own max_actions",
            Bound::Nothing => "nothing",
        };
        match self.worst.actions_per_hour {
            None => Some("nothing bounds its actions in an hour: its windows have no length".to_owned()),
            Some(most) if most > USUAL => {
                Some(format!("it may make {most} actions in an hour, bound by {by}"))
            }
            Some(_) => None,
        }
    }
}

fn acts(one: &Compiled) -> bool {
    one.policy.enabled && one.policy.mode != Mode::Observe
}

/// A number that a condition looks at, as far as two policies look at the same.
#[derive(Clone, Debug, PartialEq)]
enum Level {
    /// How high a metric is, by whatever function that keeps its unit and range.
    Of(Read),
    /// Something else about it.
    Other(Function, Read),
}

impl Level {
    fn of(term: &Term) -> Option<Self> {
        match term {
            Term::Lowest(read) | Term::Last(read) | Term::Highest(read) => Some(Self::Of(read.clone())),
            Term::Event => None,
            Term::Window(window) => Some(match window.function {
                Function::Avg
                | Function::Min
                | Function::Max
                | Function::Quantile(_)
                | Function::Ewma
                | Function::Last => Self::Of(window.read.clone()),
                function @ (Function::Sum
                | Function::Count
                | Function::Rate
                | Function::Delta
                | Function::Changes
                | Function::Zscore
                | Function::Absent) => Self::Other(function, window.read.clone()),
            }),
        }
    }

    fn metric(&self) -> &str {
        match self {
            Self::Of(read) | Self::Other(_, read) => &read.metric,
        }
    }
}

type Levels = Vec<(Level, Interval)>;

/// The ways in which a condition is met, each by what it asks of levels.
fn levels(logic: &Logic) -> Vec<Levels> {
    let ways = solve::ways(logic).unwrap_or_default();
    let level = |way: Vec<(Term, Interval)>| {
        let mut levels: Levels = Vec::new();
        for (term, interval) in way {
            let Some(level) = Level::of(&term) else { continue };
            match levels.iter_mut().find(|(known, _)| *known == level) {
                Some((_, known)) => known.meet(&interval),
                None => levels.push((level, interval)),
            }
        }
        levels
    };
    ways.into_iter().map(level).collect()
}

fn oscillation(one: &Compiled, mine: &[Levels], other: &Compiled) -> Option<Oscillation> {
    let (action, other_action) = opposed(one, other)?;
    let theirs = levels(&other.program.logic(false));
    let metric = mine.iter().find_map(|mine| theirs.iter().find_map(|theirs| shared(mine, theirs)))?;
    let (action, other_action) = (action.to_owned(), other_action.to_owned());
    Some(Oscillation { policy_name: other.policy.name.clone(), action, other_action, metric })
}

/// The metric that both look at, if no gap is between what they ask of it, nor of another one that both look at.
fn shared(mine: &Levels, theirs: &Levels) -> Option<String> {
    let mut metric = None;
    for (level, interval) in mine {
        let Some((_, other)) = theirs.iter().find(|(known, _)| known == level) else { continue };
        if !interval.touches(other) {
            return None;
        }
        metric.get_or_insert_with(|| level.metric().to_owned());
    }
    metric
}

/// Actions of the two, of their ladders too, that undo each other.
fn opposed<'a>(one: &'a Compiled, other: &'a Compiled) -> Option<(&'a str, &'a str)> {
    let kinds = |of: &'a Compiled| -> Vec<&'a str> {
        let steps = of.policy.spec.steps.iter().map(|step| step.action.as_str());
        std::iter::once(of.policy.spec.action.as_str()).chain(steps).collect()
    };
    let theirs = kinds(other);
    let plain = |kind: &str| kind.replace('_', "-");
    kinds(one).into_iter().find_map(|mine| {
        let against = |other: &&&str| {
            let (mine, other) = (plain(mine), plain(other));
            OPPOSITES.iter().any(|(a, b)| (mine == *a && other == *b) || (mine == *b && other == *a))
        };
        theirs.iter().find(against).map(|other| (mine, *other))
    })
}
