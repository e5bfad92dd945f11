//! Where people come in. Policies that ask: the action is made and reserved, and is none of its incident's until enough of
//! them have said yes. And what is given to a human.

use serde_json::json;

use super::{About, Deciding, Open, Pair};
use crate::domain::approval;
use crate::domain::decide::{Awaiting, Handover};
use crate::domain::incident::State;
use crate::domain::opposites::Of;
use crate::engine::{Compiled, Finding};
use crate::store::{Asked, IncidentChange, Verdict, Which};

impl Deciding<'_> {
    /// A request of a policy that says something else now is for nothing; the policy as it is may ask anew.
    pub(super) fn outdated(&mut self, compiled: &Compiled, pair: &Pair) {
        let asked = self.ledgers.get(pair).and_then(|ledger| ledger.awaiting);
        let version = compiled.policy.version;
        if let Some(asked) = asked.filter(|asked| asked.policy_version != version) {
            let before = asked.policy_version;
            let why = format!("the policy is at version {version}, and version {before} asked");
            self.withdraw(pair, (approval::State::Diverged, why));
        }
    }

    pub(super) fn withdraw(&mut self, pair: &Pair, (state, why): (approval::State, String)) {
        let Some(ledger) = self.ledgers.get_mut(pair) else { return };
        if ledger.awaiting.take().is_none() {
            return;
        }
        let ours = self.asked.remove(pair).and_then(|at| self.plan.actions.get_mut(at));
        if let Some(asked) = ours.and_then(|draft| draft.approval.as_mut()) {
            // It is not in the database yet: it is written there as withdrawn.
            asked.withdrawn = Some((state, why));
        } else if let Some(Open { which, .. }) = self.open.get(pair) {
            self.plan.changes.push(IncidentChange::Withdrawn { incident: *which, state, why });
        }
    }

    /// Makes the action and asks for it: until it is approved, it is none of the incident's.
    pub(super) fn ask(
        &mut self,
        (compiled, step): (&Compiled, usize),
        finding: &Finding,
        pair: &Pair,
        about: About<'_>,
    ) -> usize {
        let before = self.ledgers.get(pair).and_then(|ledger| ledger.incident.clone());
        let at = self.act((compiled, step), finding, pair, about);
        let terms = compiled.policy.approval;
        if let Some(draft) = self.plan.actions.get_mut(at) {
            draft.approval = Some(Asked { terms, plan: None, withdrawn: None });
            if pair.simulated {
                return at;
            }
            (draft.queued, draft.expires_at) = (false, None);
        }
        // Nothing is done yet that could be undone.
        self.acts.retain(|(_, act)| act.action != Of::New(at));
        self.asked.insert(pair.clone(), at);
        let (until, policy_version) = (self.plan.now.after(terms.within), compiled.policy.version);
        if let Some(ledger) = self.ledgers.get_mut(pair) {
            (ledger.incident, ledger.awaiting) = (before, Some(Awaiting { until, policy_version }));
        }
        at
    }

    pub(super) fn hand_over(&mut self, pair: &Pair, why: Handover) -> Verdict {
        if let Some(incident) = self.ledgers.get_mut(pair).and_then(|ledger| ledger.incident.as_mut()) {
            incident.state = State::HandedOver;
        }
        Verdict::HandOver(why.word())
    }

    /// Gives an incident to a human because nothing was observed that says whether its last action helped; or what was
    /// `heard` is neither.
    pub fn give_up(&mut self, pair: &Pair, (id, event_id): (i64, i64), heard: bool) {
        let why = Handover::VerdictUnknown;
        self.withdraw(pair, (approval::State::Withdrawn, "its incident was given to a human".to_owned()));
        let verdict = self.hand_over(pair, why);
        let what = if heard { "neither met nor clear" } else { "nothing" };
        let facts = json!({"observed": format!("{what} since the last action ended and settled")});
        self.note(pair, (Which::Known(id), event_id), (verdict, why.word()), facts);
    }
}
