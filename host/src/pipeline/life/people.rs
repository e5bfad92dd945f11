//! People: they make and cancel actions, stop everything, switch policies, and come back.

use super::{World, spec};
use crate::domain::policy::Source;
use crate::pipeline::backtest::tests::asked::by_hand;
use crate::store::{ActionDraft, Change, Edition};

impl World {
    pub(super) async fn person(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        match self.random.below(6) {
            0 | 1 => {
                let queued = self.random.below(3) > 0;
                let target = format!("web-{}", self.random.below(super::TARGETS));
                let mut draft = ActionDraft { queued, ..by_hand(target, self.clock.id()) };
                self.store.create_action(&mut draft, None, "ann", now).await.unwrap();
            }
            2 => {
                let id = 1 + i64::try_from(self.random.below(30)).unwrap();
                self.store.cancel_action(id, "", "ann", now).await.unwrap();
            }
            3 => {
                if self.paused {
                    self.store.resume("ann", now).await.unwrap();
                } else {
                    self.store.pause(None, ("ann", "looking"), now).await.unwrap();
                }
                self.paused = !self.paused;
            }
            4 => self.switch().await,
            _ => {
                self.store.sweep(now, std::time::Duration::from_secs(10)).await.unwrap();
            }
        }
        Ok(())
    }

    /// One of the policies is switched off, or on again.
    async fn switch(&mut self) {
        let (policies, _) = self.store.policies().await.unwrap();
        let policy = &policies[usize::try_from(self.random.below(2)).unwrap()];
        let enabled = !policy.enabled;
        let change = Change::Replace {
            edition: Edition { id: policy.id, version: policy.version },
            spec: spec(&policy.name, &policy.action),
            enabled,
            source: Source::Api,
            declared: None,
        };
        self.store.change_policies(&[change], "ann", self.clock.now()).await.unwrap();
        if enabled {
            self.disabled.remove(&policy.name);
        } else {
            self.disabled.insert(policy.name.clone());
        }
    }
}
