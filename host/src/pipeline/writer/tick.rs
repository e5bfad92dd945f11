//! The tick: the same engine and the same decision, where nothing arrives but time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Writer;
use crate::domain::Timestamp;
use crate::domain::event::{NO_TARGET, Tags, partition_of};
use crate::domain::incident::State;
use crate::engine::{Findings, Truth};
use crate::pipeline::decide::{About, Came, Deciding, Pair};
use crate::pipeline::notice::{Told, notice};
use crate::store::{Entry, Error, LastRun, Moved, Plan, StandingRow, Verdict, Which, Writing};

/// An incident without data for so long is over, as far as anyone can tell.
const EXPIRY: Duration = Duration::from_hours(1);

impl Writer {
    /// Evaluates the partitions that are due and that no other node is ticking.
    pub(in crate::pipeline) async fn tick(&mut self) {
        if !self.parts.settings.now().policy.enabled {
            return self.look().await;
        }
        let (start, due) = (Instant::now(), self.now().before(self.parts.settings.tick()));
        let (mut tx, seqs, rev) = match self.parts.store.begin_due(due).await {
            Ok(begun) => begun,
            Err(wrong) => {
                tracing::warn!(error = %wrong, "the scheduled evaluation could not begin");
                return;
            }
        };
        if seqs.is_empty() {
            if let Err(wrong) = self.refresh(&mut tx, rev).await {
                tracing::warn!(error = %wrong, "the policies could not be read");
            }
            return;
        }
        let touched: Vec<u16> = seqs.iter().map(|at| at.id).collect();
        let done = async {
            self.refresh(&mut tx, rev).await?;
            self.catch_up(&mut tx, &seqs).await?;
            let (plan, evaluated) = self.evaluate(&mut tx, &touched).await?;
            let took_us = i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX);
            tx.ticked(&touched, plan.now).await?;
            tx.ran(&LastRun { at: plan.now, took_us, evaluated, node: self.parts.node.clone() }).await?;
            self.commit(tx, &plan).await?;
            Ok::<_, Error>(plan)
        };
        match done.await {
            Ok(plan) => self.announce(&plan),
            Err(wrong) => {
                self.forget(&touched);
                tracing::warn!(error = %wrong, "a scheduled evaluation was not stored; it is tried again");
            }
        }
    }

    /// Takes up the policies if their revision has moved, without an evaluation.
    pub(super) async fn look(&mut self) {
        let looked = async {
            // Nothing is due since the beginning of time: only the revision is asked for.
            let never = Timestamp::from_micros(i64::MIN);
            let (mut tx, _, rev) = self.parts.store.begin_due(never).await?;
            self.refresh(&mut tx, rev).await
        };
        if let Err(wrong) = looked.await {
            tracing::warn!(error = %wrong, "the policies could not be read");
        }
    }

    /// What is to be recorded, and how many evaluations there were.
    async fn evaluate(&mut self, tx: &mut Writing, touched: &[u16]) -> Result<(Plan, i64), Error> {
        let now = self.now();
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let mut plan = Plan {
            batch: self.parts.clock.id(),
            now,
            policy_rev: policies.rev,
            ticked: touched.to_vec(),
            ..Plan::default()
        };
        let standing = self.standing(tx, touched).await?;
        let mut findings = Findings::default();
        for id in touched {
            self.partitions[usize::from(*id)].tick(&policies, (now, limits), &mut findings);
        }
        self.conclude(tx, (&standing, findings), &mut plan).await.map(|evaluated| (plan, evaluated))
    }

    /// Decides about what a tick found, and records it. Answers how many evaluations there were.
    pub(super) async fn conclude(
        &mut self,
        tx: &mut Writing,
        (standing, findings): (&[StandingRow], Findings),
        plan: &mut Plan,
    ) -> Result<i64, Error> {
        let (now, policies) = (plan.now, Arc::clone(&self.policies));
        let mut ledgers = self.ledgers(tx, &findings, now).await?;
        let judged = self.said(&findings, &[Truth::Met, Truth::Clear]);
        let heard = self.said(&findings, &[Truth::Met, Truth::Clear, Truth::Between]);
        let (over, unheard) = (self.over(standing, &heard), self.unheard(standing, &judged));
        for row in over.iter().chain(&unheard) {
            let pair = pair_of(row);
            if let std::collections::hash_map::Entry::Vacant(vacant) = ledgers.entry(pair) {
                let ledger = tx
                    .ledger(Entry { policy: row.policy_id, subject: row.subject(), since: now, ladder: true })
                    .await;
                let name = policies.by_id(row.policy_id).map(|of| of.policy.name.as_str());
                let what = || format!("policy {} on target {}", name.unwrap_or_default(), row.target);
                if let Some(ledger) = self.sees(what, ledger)? {
                    vacant.insert(ledger);
                }
            }
        }
        let clock = self.parts.clock.clone();
        let mut deciding = Deciding::new(plan, ledgers, self.parts.settings.max_attempts(), &clock);
        for finding in &findings.list {
            let compiled = policies.get(finding.policy);
            let target = finding.target.as_deref().unwrap_or(NO_TARGET);
            let partition = &mut self.partitions[usize::from(partition_of(target))];
            let (tags, kind, namespace) = partition.labels(finding.key);
            let tags: Arc<Tags> = Arc::clone(tags);
            let about = About { tags: &tags, kind, namespace };
            if deciding.finding(compiled, finding, about) == Came::Cleared {
                partition.set_standing(compiled.policy.id, (target, finding.simulated), false);
            }
        }
        for row in unheard {
            let pair = pair_of(row);
            deciding.give_up(&pair, (row.id, row.last_event_id), heard.contains(&pair));
        }
        for row in over {
            deciding.close(&pair_of(row), State::Expired, None);
            let home = usize::from(partition_of(&row.target));
            self.partitions[home].set_standing(row.policy_id, row.subject(), false);
        }
        self.tell(standing, plan);
        self.name_plugins(plan);
        tx.record(plan).await?;
        let evaluated = findings.evaluations();
        self.count(findings);
        Ok(evaluated)
    }

    /// The incidents that stand in those partitions; their engines are told, whoever opened them.
    pub(super) async fn standing(
        &mut self,
        tx: &mut Writing,
        touched: &[u16],
    ) -> Result<Vec<StandingRow>, Error> {
        let mut standing = tx.standing().await?;
        standing.retain(|row| touched.contains(&partition_of(&row.target)));
        for row in &standing {
            let home = usize::from(partition_of(&row.target));
            self.partitions[home].set_standing(row.policy_id, row.subject(), true);
        }
        Ok(standing)
    }

    /// Incidents that end without a sample: no data for an hour, or nobody left who could judge them.
    fn over<'a>(&self, standing: &'a [StandingRow], heard: &HashSet<Pair>) -> Vec<&'a StandingRow> {
        let cut = self.now().before(EXPIRY).micros();
        standing
            .iter()
            .filter(|row| {
                let gone = self.policies.by_id(row.policy_id).is_none();
                let silent = !heard.contains(&pair_of(row)) && row.last_violated_at < cut;
                gone || silent
            })
            .collect()
    }

    /// Of what the conditions say one of these.
    fn said(&self, findings: &Findings, truths: &[Truth]) -> HashSet<Pair> {
        let known = findings.list.iter().filter(|finding| truths.contains(&finding.truth));
        known.map(|finding| Pair::of(self.policies.get(finding.policy).policy.id, finding)).collect()
    }

    /// Open incidents whose last action has ended and settled so long ago that it should have been seen to be met or clear,
    /// and was neither since: whether it helped is a human's to find out.
    fn unheard<'a>(&self, standing: &'a [StandingRow], judged: &HashSet<Pair>) -> Vec<&'a StandingRow> {
        let now = self.now();
        let patience = |row: &StandingRow| {
            let step = usize::try_from(row.step).unwrap_or(0);
            let policy = &self.policies.by_id(row.policy_id)?.policy;
            Some(policy.rung(step)?.settle + self.parts.limits.lookback)
        };
        let over = |row: &&StandingRow| match (row.ended_at, patience(row)) {
            (Some(ended), Some(patience)) => {
                let met = Timestamp::from_micros(row.last_violated_at).after(self.parts.limits.lookback);
                Timestamp::from_micros(ended).after(patience).max(met) < now
            }
            _ => false,
        };
        standing.iter().filter(|row| !row.simulated && !judged.contains(&pair_of(row))).filter(over).collect()
    }

    /// Makes the actions that tell a human of incidents that were handed over, whoever did that.
    fn tell(&self, standing: &[StandingRow], plan: &mut Plan) {
        for row in standing.iter().filter(|row| row.untold && !row.simulated) {
            let Some(policy) = self.policies.by_id(row.policy_id).map(|compiled| &compiled.policy) else {
                continue;
            };
            let Some(step) = policy.notify() else { continue };
            let told = Told {
                incident: Which::Known(row.id),
                target: &row.target,
                event_id: row.last_event_id,
                why: format!("Incident {} on {} was handed over", row.id, row.target),
            };
            let (attempts, execution) = (self.parts.settings.max_attempts(), self.parts.clock.id());
            plan.actions.push(notice(policy, step, told, (attempts, execution)));
        }
    }

    /// After the commit: counts what was decided and tells the workers what is ready.
    pub(super) fn announce(&self, plan: &Plan) {
        let metrics = &self.parts.metrics;
        for opened in plan.opened.iter().filter(|opened| !opened.simulated) {
            metrics.detected(plan.now.since(opened.observed_at));
        }
        for change in &plan.changes {
            if let crate::store::IncidentChange::Closed { repaired_since: Some(since), .. } = change {
                metrics.repaired(plan.now.since(*since));
            }
            if let crate::store::IncidentChange::Decided { verdict, times, .. } = change {
                let (decision, reason) = match verdict {
                    Verdict::Act(_) => ("act", ""),
                    Verdict::Ask(_) => ("ask", ""),
                    Verdict::Suppress { reason, .. } => ("suppress", *reason),
                    Verdict::HandOver(reason) => ("hand_over", *reason),
                };
                for _ in 0..*times {
                    metrics.decision(decision, reason);
                }
            }
        }
        metrics.moved(plan.withdrawn.iter().map(Moved::words));
        let mut ready = Vec::new();
        for action in &plan.actions {
            metrics.action(&action.target, &action.kind, action.phase.wire().word());
            if !action.simulated && action.queued {
                metrics.queue_operation("enqueue");
            }
            let policy_name = action.policy.as_ref().map_or("", |policy| policy.1.as_str());
            tracing::info!(action_id = action.id, policy_name, target = %action.target, action = %action.kind,
                event_id = action.event_id, simulated = action.simulated, "Action created");
            if action.phase == crate::domain::Phase::Ready {
                ready.push((action.id, action.priority));
            }
        }
        self.parts.queue.announce(&ready);
    }
}

fn pair_of(row: &StandingRow) -> Pair {
    Pair { policy: row.policy_id, target: row.target.clone(), simulated: row.simulated }
}
