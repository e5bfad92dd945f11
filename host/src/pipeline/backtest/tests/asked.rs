//! Policies that ask, and the people who answer, or act by hand.

use std::time::Duration;

use super::Server;
use crate::domain::Phase;
use crate::domain::approval::{State, Terms};
use crate::domain::policy::Mode;
use crate::pipeline::approve::Approve;
use crate::pipeline::model::scene::Random;
use crate::store::{ActionDraft, ActionFilter, Part};

pub(super) const TERMS: Terms = Terms { within: Duration::from_secs(12), people: 1, not_author: false };
/// What must come up.
pub(super) const WORDS: [&str; 4] = ["ask", "awaiting_approval", "approval_rejected", "approval_expired"];

pub(super) fn mode(random: &mut Random) -> Mode {
    match random.below(6) {
        0 => Mode::Observe,
        1 | 2 => Mode::Approve,
        _ => Mode::Auto,
    }
}

impl Server {
    /// Some say yes, some say no, and some do not answer.
    pub(super) async fn answers(&mut self) {
        self.clock.advance(Duration::from_micros(17));
        let filter = ActionFilter { phases: Some(vec![Phase::Approval]), ..ActionFilter::default() };
        let (waiting, _) = self.store.actions(&filter, Part::first(500)).await.unwrap();
        let ids: Vec<i64> = waiting.iter().map(|action| action.id).collect();
        let mut rows: Vec<_> = self.store.approvals(&ids).await.unwrap().into_values().collect();
        rows.sort_by_key(|row| row.action_id);
        for row in rows {
            self.clock.advance(Duration::from_micros(1));
            let age = self.clock.now().since(row.requested_at());
            if age < Duration::from_secs(2) {
                continue;
            }
            // By turns, so that each comes up however few are asked.
            let known = self.asked.iter().position(|id| *id == row.action_id);
            let nth = known.unwrap_or_else(|| {
                self.asked.push(row.action_id);
                self.asked.len() - 1
            });
            match nth % 3 {
                0 => {
                    let yes = Approve {
                        action: row.action_id,
                        target: row.target.clone(),
                        by: Some("token:1".to_owned()),
                        actor: "token:1:ann".to_owned(),
                        hash: row.plan_hash.clone(),
                        note: String::new(),
                    };
                    self.writer.approve(&yes).await.unwrap();
                }
                1 => {
                    let how = (State::Rejected, "token:1:ann", "not now");
                    self.store.refuse_approval(row.action_id, how, self.clock.now()).await.unwrap();
                }
                _ => {}
            }
        }
        self.clock.advance(Duration::from_micros(1));
        self.store.expire_approvals(self.clock.now()).await.unwrap();
    }
}

pub(in crate::pipeline) fn by_hand(target: String, execution_id: String) -> ActionDraft {
    ActionDraft {
        id: 0,
        phase: Phase::Held,
        execution_id,
        incident: None,
        policy: None,
        event_id: None,
        origin: "api",
        simulated: false,
        kind: "restart".to_owned(),
        target,
        target_kind: None,
        namespace: None,
        labels: "{}".to_owned(),
        params: "{}".to_owned(),
        step: None,
        tells: false,
        priority: 1,
        max_attempts: 3,
        timeout: None,
        queued: true,
        expires_at: None,
        details: None,
        approval: None,
        plugin: None,
    }
}
