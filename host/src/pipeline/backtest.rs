//! What policies would have decided about the stored history: read once more through a [`Rehearsal`], and held beside
//! what was decided live where that is asked for.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::rehearsal::{Assumed, Counts, Ends, Error, Rehearsal, Stage, compiled};
use crate::domain::Timestamp;
use crate::domain::policy::Policy;
use crate::store::{Accepted, EpisodeRow, LogRow, PastPause, PastSilence, PastSpent, Store};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The policies; their ids are those of the live ones of that name, where there are any.
    pub policies: Vec<Policy>,
    /// From when decisions are made.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// What is assumed of actions that nobody has made.
    pub assumed: Assumed,
    /// As it was: recorded pauses and silences hold, and an action that was made live ends as it did.
    pub as_it_was: bool,
    /// Decisions and incidents that are answered.
    pub limit: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub counts: Counts,
    /// The decisions, in their order.
    pub decisions: Vec<LogRow>,
    /// The incidents, in their order.
    pub incidents: Vec<EpisodeRow>,
    /// There are more decisions or incidents than these.
    pub truncated: bool,
    /// How often each policy decided what: name, word, how often, repeats included.
    pub tally: Vec<(String, String, i64)>,
    /// Where the history begins, if that is later than asked.
    pub begins: Option<Timestamp>,
    /// How the live decisions compare, where they were asked for.
    pub live: Option<Compared>,
    /// The end of it.
    pub to: Timestamp,
}

/// Live decisions beside those of the back-test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Decisions recorded live.
    pub recorded: usize,
    /// Decisions of the back-test.
    pub rehearsed: usize,
    /// The first place where they differ: recorded, rehearsed.
    pub difference: Option<(Option<String>, Option<String>)>,
}

/// How many rows are read at a time.
const PAGE: i64 = 1_000;
/// All partitions.
const ALL: u64 = u64::MAX;

/// Lives that time again, until it is told to `stop`.
pub async fn run(
    source: &Store,
    stage: &Stage,
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Outcome, Error> {
    let policies = compiled(wanted.policies.clone())?;
    let window = policies.iter().map(|policy| policy.window).max().unwrap_or_default();
    let mut ends = Ends { assumed: wanted.assumed, ..Ends::default() };
    if wanted.as_it_was {
        let past = source.past_ends(wanted.from, wanted.to).await?;
        let withheld = past.iter().filter(|end| end.withheld).map(|end| end.of.clone());
        ends.withheld = withheld.collect();
        ends.answers = source.past_answers(wanted.from, wanted.to).await?.into_iter().collect();
        ends.known = past.into_iter().map(|end| (end.of, end.ended)).collect();
    }
    let mut rehearsal = Rehearsal::new(stage, policies, ends, wanted.from).await?;
    for row in source.real_series().await? {
        rehearsal.know(&row)?;
    }
    let judged_from = wanted.from.before(stage.lookback);
    let warm_from = if window.is_zero() { judged_from } else { judged_from.before(window) };
    let first = source.first_chunk(warm_from).await?;
    let mut agenda = Agenda::read(source, stage, wanted, stop).await?;
    let mut next = first.map(|(n, _)| n);
    'reading: while let Some(from) = next {
        let (accepted, further) = source.chunks_from(from, |series| rehearsal.knows(series)).await?;
        for Accepted { at, samples } in accepted {
            if at >= wanted.to {
                break 'reading;
            }
            if at < wanted.from {
                for sample in &samples {
                    rehearsal.recall(sample, at >= judged_from);
                }
                continue;
            }
            agenda.until(&mut rehearsal, at).await?;
            if !samples.is_empty() {
                rehearsal.batch(at, &samples).await?;
            }
        }
        next = further;
    }
    agenda.until(&mut rehearsal, wanted.to).await?;
    rehearsal.reach(wanted.to).await?;
    let mut rehearsed = Vec::new();
    let mut outcome = outcome(&rehearsal, wanted, |row| {
        if wanted.as_it_was {
            rehearsed.push(line(row, wanted.to));
        }
    })
    .await?;
    outcome.begins = first.map(|(_, at)| at).filter(|first| *first > wanted.from);
    if wanted.as_it_was {
        outcome.live = Some(compare(source, wanted, &rehearsed).await?);
    }
    Ok(outcome)
}

/// What came of a rehearsal; `each` is told every decision.
pub async fn outcome(
    rehearsal: &Rehearsal,
    wanted: &Wanted,
    mut each: impl FnMut(&LogRow),
) -> Result<Outcome, Error> {
    rehearsal.store().settle().await?;
    let (mut decisions, mut incidents) = (Vec::new(), Vec::new());
    let mut tally = BTreeMap::<(String, String), i64>::new();
    let (mut after, mut truncated) = (0, false);
    loop {
        let page = rehearsal.store().decision_log(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in page {
            let word = row.reason.clone().unwrap_or_else(|| row.verdict.clone());
            *tally.entry((row.policy_name.clone(), word)).or_default() += row.repeats;
            each(&row);
            if decisions.len() < wanted.limit {
                decisions.push(row);
            } else {
                truncated = true;
            }
        }
    }
    let mut after = 0;
    while incidents.len() <= wanted.limit {
        let page = rehearsal.store().episodes(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        incidents.extend(page);
    }
    truncated |= incidents.len() > wanted.limit;
    incidents.truncate(wanted.limit);
    Ok(Outcome {
        counts: rehearsal.counts(),
        decisions,
        incidents,
        truncated,
        tally: tally.into_iter().map(|((policy, word), count)| (policy, word, count)).collect(),
        begins: None,
        live: None,
        to: wanted.to,
    })
}

/// Holds what was decided live beside it, decision by decision.
async fn compare(source: &Store, wanted: &Wanted, rehearsed: &[String]) -> Result<Compared, Error> {
    let recorded = recorded(source, wanted).await?;
    let longest = recorded.len().max(rehearsed.len());
    let differs = (0..longest).find(|at| recorded.get(*at) != rehearsed.get(*at));
    let difference = differs.map(|at| (recorded.get(at).cloned(), rehearsed.get(at).cloned()));
    Ok(Compared { recorded: recorded.len(), rehearsed: rehearsed.len(), difference })
}

async fn recorded(source: &Store, wanted: &Wanted) -> Result<Vec<String>, Error> {
    let names: HashSet<&str> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let page = source.decision_log(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(lines) };
        after = last.id;
        let within = |row: &&LogRow| {
            row.at >= wanted.from.micros()
                && row.at < wanted.to.micros()
                && names.contains(row.policy_name.as_str())
        };
        lines.extend(page.iter().filter(within).map(|row| line(row, wanted.to)));
    }
}

/// A decision as one line, the same for the same decision. What may still have been repeated after the end is left out.
#[must_use]
pub fn line(row: &LogRow, to: Timestamp) -> String {
    let at = |micros: i64| Timestamp::from_micros(micros).to_string();
    let repeats = if row.last_at < to.micros() {
        format!("×{} until {}", row.repeats, at(row.last_at))
    } else {
        "and on".to_owned()
    };
    let LogRow { verdict, policy_name, policy_version, target, event_id, .. } = row;
    let facts = told(&row.facts);
    let reason = row.reason.as_deref().unwrap_or("-");
    let until = row.until_at.map_or_else(|| "-".to_owned(), at);
    let action = match (&row.kind, row.step, &row.params) {
        (Some(kind), Some(step), Some(params)) => format!("{kind} step {step} {params}"),
        _ => "-".to_owned(),
    };
    let (when, opened) = (at(row.at), at(row.opened_at));
    format!(
        "{when} {policy_name} v{policy_version} {target} opened {opened} event {event_id} {verdict} {reason} until {until} {repeats} | {action} | {facts}"
    )
}

/// The facts without the numbers of actions: people's own take some live, and are not made again.
fn told(facts: &str) -> Cow<'_, str> {
    if !facts.contains("\"action_id\"") {
        return Cow::Borrowed(facts);
    }
    let mut facts: Value = serde_json::from_str(facts).unwrap_or_default();
    if let Some(guardrail) = facts["guardrail"].as_object_mut() {
        guardrail.remove("action_id");
    }
    Cow::Owned(facts.to_string())
}

/// What happened beside the samples, in the order of time.
struct Agenda {
    stop: CancellationToken,
    ticks: std::vec::IntoIter<(Timestamp, u64)>,
    tick: Option<(Timestamp, u64)>,
    /// Where no tick was recorded they come at this pace.
    every: Option<Duration>,
    pauses: std::iter::Peekable<std::vec::IntoIter<PastPause>>,
    silences: std::iter::Peekable<std::vec::IntoIter<PastSilence>>,
    spent: std::iter::Peekable<std::vec::IntoIter<PastSpent>>,
}

impl Agenda {
    async fn read(
        source: &Store,
        stage: &Stage,
        wanted: &Wanted,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let recorded = source.ticks(wanted.from, wanted.to).await?;
        let every = stage.settings.tick().max(Duration::from_secs(1));
        let every = recorded.is_empty().then_some(every);
        let (mut pauses, mut silences) = (Vec::new(), Vec::new());
        if wanted.as_it_was {
            pauses = source.past_pauses(wanted.to).await?;
            // Of those before the beginning only the last says what held there.
            let before = pauses.iter().rposition(|pause| pause.at < wanted.from).unwrap_or(0);
            pauses.drain(..before);
            silences = source.past_silences(wanted.to).await?;
        }
        let ours: HashSet<i64> = wanted.policies.iter().map(|policy| policy.id).collect();
        let mut spent = source.past_spent(wanted.from, wanted.to).await?;
        spent.retain(|spent| spent.policy.is_none_or(|policy| !ours.contains(&policy)));
        let mut ticks = recorded.into_iter();
        let first = every.map(|every| (wanted.from.after(every), ALL));
        let tick = ticks.next().or(first);
        Ok(Self {
            stop: stop.clone(),
            ticks,
            tick,
            every,
            pauses: pauses.into_iter().peekable(),
            silences: silences.into_iter().peekable(),
            spent: spent.into_iter().peekable(),
        })
    }

    /// Lets happen what happened up to that time.
    async fn until(&mut self, rehearsal: &mut Rehearsal, at: Timestamp) -> Result<(), Error> {
        loop {
            // Also where nothing was recorded for a year and only the time passes.
            if self.stop.is_cancelled() {
                return Err(Error::Stopped);
            }
            let tick = self.tick.map(|(at, _)| at);
            let pause = self.pauses.peek().map(|pause| pause.at);
            let spent = self.spent.peek().map(|spent| spent.at);
            let silence = self.silences.peek().map(|silence| silence.at);
            let Some(first) =
                [tick, pause, silence, spent].into_iter().flatten().min().filter(|first| *first <= at)
            else {
                return Ok(());
            };
            if pause == Some(first) {
                if let Some(pause) = self.pauses.next() {
                    rehearsal.pause(pause).await?;
                }
            } else if silence == Some(first) {
                if let Some(past) = self.silences.next() {
                    rehearsal.silence(&past).await?;
                }
            } else if spent == Some(first) {
                if let Some(spent) = self.spent.next() {
                    rehearsal.spent(&spent).await?;
                }
            } else if let Some((at, mask)) = self.tick {
                rehearsal.tick(at, mask).await?;
                self.tick = match self.every {
                    Some(every) => Some((at.after(every), ALL)),
                    None => self.ticks.next(),
                };
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
