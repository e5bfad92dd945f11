//! From findings to a plan: the ledger's values in, incidents, decisions and actions out. Pure but for the
//! ids it asks the clock for; the writer read the ledgers under lock and records the plan in the same
//! transaction.

mod ask;
mod flaps;
mod fleet;
mod lately;
mod over;
mod pace;
mod quiet;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::quiet::{facts, silenced};
use crate::clock::Clock;
use crate::domain::decide::{Decision, Ledger, Reason, Sight, Violated, decide};
use crate::domain::event::{NO_TARGET, Tags};
use crate::domain::fleet::Domains;
use crate::domain::incident::{Standing, State};
use crate::domain::ladder::Rung;
use crate::domain::opposites::Act;
use crate::domain::{Phase, Timestamp};
use crate::engine::{Compiled, Finding};
use crate::store::{ActionDraft, IncidentChange, IncidentDraft, Plan, Verdict, Which};

/// One policy on one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The policy's id.
    pub policy: i64,
    /// The target's name, or `all`.
    pub target: String,
    /// Whether that is the simulated target of that name.
    pub simulated: bool,
}

impl Pair {
    /// What a finding of that policy is about.
    #[must_use]
    pub fn of(policy: i64, finding: &Finding) -> Self {
        let target = finding.target.as_deref().unwrap_or(NO_TARGET).to_owned();
        Self { policy, target, simulated: finding.simulated }
    }

    /// The target's name, and whether it is the simulated one.
    #[must_use]
    pub fn subject(&self) -> (&str, bool) {
        (&self.target, self.simulated)
    }
}

/// What the plan is made from, beside the findings.
#[derive(Debug)]
pub struct Deciding<'a> {
    /// What is being made.
    pub plan: &'a mut Plan,
    /// Ledgers of every pair that the findings name.
    pub ledgers: HashMap<Pair, Ledger>,
    /// Attempts a new action may use.
    pub max_attempts: i64,
    /// Gives execution ids.
    pub clock: &'a Clock,
    open: HashMap<Pair, Open>,
    asked: HashMap<Pair, usize>,
    reserved: HashMap<(i64, bool), u32>,
    reserved_in_all: u32,
    spent_on: HashMap<String, u32>,
    acts: Vec<(String, Act)>,
    touched: Vec<(String, Arc<Domains>)>,
    sickened: HashMap<(i64, String), u32>,
}

/// An incident that this plan knows.
#[derive(Debug)]
struct Open {
    which: Which,
    reason: Option<String>,
    silence: Option<i64>,
    last_change: Option<usize>,
}

/// What a finding came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A violation, decided so.
    Violated {
        /// `act`, `ask`, or the reason why neither.
        decision: &'static str,
        /// The action made: its place in the plan.
        action: Option<usize>,
        /// The incident.
        incident: Which,
    },
    /// The incident has ended.
    Cleared,
    /// Nothing.
    Nothing,
}

/// The target's labels, kind and namespace, for the plugin.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The event's tags.
    pub tags: &'a Tags,
    /// The tag that named the target.
    pub kind: &'a str,
    /// The target's namespace, or nothing.
    pub namespace: &'a str,
}

impl<'a> Deciding<'a> {
    /// Begins with the ledgers as the database has them.
    pub fn new(
        plan: &'a mut Plan,
        ledgers: HashMap<Pair, Ledger>,
        max_attempts: i64,
        clock: &'a Clock,
    ) -> Self {
        let open = ledgers
            .iter()
            .filter_map(|(pair, ledger)| {
                let incident = ledger.incident.as_ref()?;
                let which = Which::Known(incident.id);
                let (reason, silence) = (incident.reason.clone(), incident.silence);
                Some((pair.clone(), Open { which, reason, silence, last_change: None }))
            })
            .collect();
        Self {
            plan,
            ledgers,
            max_attempts,
            clock,
            open,
            asked: HashMap::new(),
            reserved: HashMap::new(),
            reserved_in_all: 0,
            spent_on: HashMap::new(),
            acts: Vec::new(),
            touched: Vec::new(),
            sickened: HashMap::new(),
        }
    }

    /// Decides about one finding. Findings come in the order of their events: each sees what the ones before
    /// it led to.
    pub fn finding(&mut self, compiled: &Compiled, finding: &Finding, about: About<'_>) -> Came {
        let pair = Pair::of(compiled.policy.id, finding);
        if self.ledgers.get(&pair).is_some_and(|ledger| ledger.sight == Sight::Blind) {
            return Came::Nothing;
        }
        if finding.violated {
            self.clearing(&pair, None);
            return self.violated(compiled, finding, &pair, about);
        }
        self.unviolated(compiled, finding, &pair)
    }

    /// Forgets what led up to here, as if nothing had ever happened to that pair.
    pub fn begin_again(&mut self, pair: &Pair) {
        self.close(pair, State::Expired, None);
        let before = self.ledgers.remove(pair).unwrap_or_default();
        let Ledger { paused, silences, everybody, .. } = before;
        self.ledgers.insert(pair.clone(), Ledger { paused, silences, everybody, ..Ledger::default() });
    }

    fn violated(&mut self, compiled: &Compiled, finding: &Finding, pair: &Pair, about: About<'_>) -> Came {
        let now = self.plan.now;
        self.outdated(compiled, pair);
        let mut ledger = self.ledgers.get(pair).cloned().unwrap_or_default();
        let mut facts = facts(compiled, finding);
        let which = match self.open.get(pair) {
            Some(open) => open.which,
            None => self.open_incident(compiled, finding, pair, facts.clone()),
        };
        if let Some(opened) = self.ledgers.get_mut(pair) {
            opened.incident.iter_mut().for_each(|incident| incident.calm = false);
            ledger.incident.clone_from(&opened.incident);
        }
        ledger.used += self.reserved.get(&(pair.policy, pair.simulated)).copied().unwrap_or(0);
        ledger.everybody.used += if pair.simulated { 0 } else { self.reserved_in_all };
        self.fleet(compiled, pair, &mut ledger);
        self.lately(pair, &mut ledger);
        self.pace(compiled, pair, &mut ledger);
        let violated = Violated {
            has_target: finding.target.is_some(),
            observed_at: finding.observed_at,
            settle: settle(compiled, ledger.incident.as_ref()),
        };
        ledger.silenced = silenced(compiled, (pair, about.tags), violated, &ledger, now);
        let decision = decide(&compiled.policy, violated, &ledger, now);
        self.left_out((compiled, violated), &ledger, &decision, &mut facts);
        let (verdict, word, action) = match decision {
            Decision::Act { step } => {
                let at = self.act((compiled, step), finding, pair, about);
                (Verdict::Act(at), "act", Some(at))
            }
            Decision::Ask { step } => {
                let at = self.ask((compiled, step), finding, pair, about);
                (Verdict::Ask(at), "ask", Some(at))
            }
            Decision::Suppress(reason) => {
                let (word, until) = (reason.word(), reason.until());
                let held = ledger.silenced.filter(|_| matches!(reason, Reason::Silenced { .. }));
                let silence = held.as_ref().map(|held| held.id);
                if let Value::Object(facts) = &mut facts {
                    facts.insert("guardrail".to_owned(), json!(reason));
                    facts.extend(held.map(|held| ("silence".to_owned(), json!(held))));
                }
                self.stopped(pair, reason);
                (Verdict::Suppress { reason: word, until, silence }, word, None)
            }
            Decision::HandOver(why) => (self.hand_over(pair, why), why.word(), None),
        };
        self.note(pair, (which, finding.event_id), (verdict, word), facts);
        Came::Violated { decision: word, action, incident: which }
    }

    /// Writes the decision down, or counts it where it only repeats.
    fn note(
        &mut self,
        pair: &Pair,
        (incident, event): (Which, i64),
        (verdict, word): (Verdict, &'static str),
        saw: Value,
    ) {
        let Some(open) = self.open.get_mut(pair) else { return };
        let by = if let Verdict::Suppress { silence, .. } = &verdict { Some(*silence) } else { None };
        let same = by == Some(open.silence) && open.reason.as_deref() == Some(word);
        open.silence = by.flatten();
        if let (true, Some(last)) = (same, open.last_change)
            && let Some(IncidentChange::Decided { times, event_id, .. }) = self.plan.changes.get_mut(last)
        {
            *times += 1;
            *event_id = event;
            return;
        }
        open.reason = Some(word.to_owned());
        open.last_change = Some(self.plan.changes.len());
        self.plan.changes.push(IncidentChange::Decided {
            incident,
            event_id: event,
            verdict,
            repeat: same,
            times: 1,
            facts: saw,
        });
    }

    fn open_incident(
        &mut self,
        compiled: &Compiled,
        finding: &Finding,
        pair: &Pair,
        mut evidence: Value,
    ) -> Which {
        let flapping_until = self.flaps(compiled, finding, pair, &mut evidence);
        let which = Which::New(self.plan.opened.len());
        self.plan.opened.push(IncidentDraft {
            id: 0,
            policy_id: compiled.policy.id,
            policy_name: compiled.policy.name.clone(),
            policy_version: compiled.policy.version,
            severity: compiled.policy.severity.word(),
            target: pair.target.clone(),
            simulated: pair.simulated,
            event_id: finding.event_id,
            observed_at: finding.observed_at,
            flapping_until,
            evidence,
        });
        self.sicken(compiled, pair);
        self.open.insert(pair.clone(), Open { which, reason: None, silence: None, last_change: None });
        self.ledgers.entry(pair.clone()).or_default().incident = Some(Standing {
            id: 0,
            state: State::Open,
            opened_at: self.plan.now,
            actions: 0,
            step: 0,
            tries: 0,
            busy: false,
            last_ended_at: None,
            clear_since: None,
            flapping_until,
            last_violated_at: self.plan.now,
            reason: None,
            silence: None,
            calm: false,
        });
        which
    }

    fn act(
        &mut self,
        (compiled, step): (&Compiled, usize),
        finding: &Finding,
        pair: &Pair,
        about: About<'_>,
    ) -> usize {
        let policy = &compiled.policy;
        let (kind, params, attempts, timeout) = match policy.rung(step) {
            Some(Rung { action, params, attempts, timeout, .. }) => {
                (action.to_owned(), params.clone(), attempts, timeout)
            }
            None => (policy.action.clone(), policy.params.clone(), None, None),
        };
        let now = self.plan.now;
        *self.reserved.entry((pair.policy, pair.simulated)).or_default() += 1;
        if !pair.simulated {
            self.reserved_in_all += 1;
            self.touched.push((pair.target.clone(), self.place(pair)));
            self.did(pair, &kind);
        }
        let plugin = self.served_by(pair, step);
        let ledger = self.ledgers.entry(pair.clone()).or_default();
        ledger.last_reserved_at = Some(now);
        if let Some(incident) = ledger.incident.as_mut() {
            incident.actions += 1;
            incident.tries = if incident.step == step { incident.tries + 1 } else { 1 };
            incident.step = step;
            // A simulated action is over in the transaction that makes it.
            incident.busy = !pair.simulated;
            incident.last_ended_at = pair.simulated.then_some(now);
        }
        let at = self.plan.actions.len();
        let details = json!({"policy_name": policy.name, "params": params, "triggered_at": now});
        self.plan.actions.push(ActionDraft {
            id: 0,
            phase: Phase::Held,
            execution_id: self.clock.id(),
            incident: self.open.get(pair).map(|open| open.which),
            policy: Some((policy.id, policy.name.clone(), policy.version)),
            event_id: Some(finding.event_id),
            origin: if pair.simulated { "simulator" } else { "policy" },
            simulated: pair.simulated,
            kind,
            target: pair.target.clone(),
            target_kind: Some(about.kind.to_owned()).filter(|kind| !kind.is_empty()),
            namespace: Some(about.namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            labels: json!(about.tags).to_string(),
            params: Value::Object(params).to_string(),
            step: i64::try_from(step).ok(),
            tells: false,
            priority: policy.severity.priority().number(),
            max_attempts: attempts.map_or(self.max_attempts, i64::from),
            timeout,
            queued: true,
            expires_at: Some(latest_start(policy.guardrails.max_event_age, finding.observed_at)),
            details: Some(details.to_string()),
            plugin,
            approval: None,
        });
        at
    }
}

/// How long the last action of an incident takes until what it did can be seen.
fn settle(compiled: &Compiled, incident: Option<&Standing>) -> Duration {
    let rung = incident.and_then(|incident| compiled.policy.rung(incident.step));
    rung.map_or(Duration::ZERO, |rung| rung.settle)
}

/// An action is not started any more once the event that led to it is older than this.
fn latest_start(max_age: Duration, observed_at: Timestamp) -> Timestamp {
    observed_at.after(max_age)
}
