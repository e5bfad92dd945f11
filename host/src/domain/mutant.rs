//! Faults that tests switch on to see whether they would notice: each takes one safety away. Outside of tests there is none.

/// Safeties that can be taken away.
#[cfg(test)]
pub(crate) const ALL: [Fault; 25] = [
    Fault::Paused,
    Fault::Silenced,
    Fault::Busy,
    Fault::Settle,
    Fault::HandedOver,
    Fault::Cooldown,
    Fault::Stale,
    Fault::Budget,
    Fault::GlobalBudget,
    Fault::BlastRadius,
    Fault::MassFailure,
    Fault::Between,
    Fault::Keep,
    Fault::Domain,
    Fault::Opposite,
    Fault::Duel,
    Fault::Flapping,
    Fault::Awaiting,
    Fault::Refused,
    Fault::Asks,
    Fault::Ramp,
    Fault::Group,
    Fault::Useful,
    Fault::PluginBudget,
    Fault::NoDataClears,
];

/// Those of approvals, which have a model of their own.
#[cfg(test)]
pub(crate) const APPROVALS: [Fault; 7] = [
    Fault::ApprovalHash,
    Fault::ApprovalPlan,
    Fault::ApprovalVotes,
    Fault::ApprovalExpiry,
    Fault::ApprovalPeople,
    Fault::ApprovalAuthor,
    Fault::ApprovalState,
];

/// Those of what is stored, which have a model of their own.
#[cfg(test)]
pub(crate) const STORED: [Fault; 12] = [
    Fault::Unreadable,
    Fault::Leave,
    Fault::Fence,
    Fault::Recheck,
    Fault::ClaimPaused,
    Fault::Again,
    Fault::Reserve,
    Fault::Refunded,
    Fault::Unaudited,
    Fault::Committed,
    Fault::Lapsed,
    Fault::RetryBudget,
];

/// Those of plan mode, which is tried with real sandboxes.
#[cfg(test)]
pub(crate) const PLANS: [Fault; 3] = [Fault::PlanPasses, Fault::PlanReads, Fault::PlanEffect];

/// One safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The pause is not asked about.
    Paused,
    /// No silence is asked about.
    Silenced,
    /// An action that runs does not stand in the way of the next.
    Busy,
    /// What is observed before an action has settled counts.
    Settle,
    /// A human has it, and automation goes on.
    HandedOver,
    /// There is no cooldown.
    Cooldown,
    /// Old events start actions.
    Stale,
    /// A policy's window has no end.
    Budget,
    /// Nor has the one that all share.
    GlobalBudget,
    /// The whole fleet may be touched.
    BlastRadius,
    /// A fleet that looks dead is believed.
    MassFailure,
    /// Every violation asks for an approval anew.
    Awaiting,
    /// A no is forgotten at once.
    Refused,
    /// A policy that has to ask acts.
    Asks,
    /// A yes to another plan counts.
    ApprovalHash,
    /// What runs is not compared with what was approved.
    ApprovalPlan,
    /// Those who said yes to what the plan was before are counted.
    ApprovalVotes,
    /// A yes that comes too late counts.
    ApprovalExpiry,
    /// One person counts as often as they say yes.
    ApprovalPeople,
    /// The author may approve.
    ApprovalAuthor,
    /// What nobody has approved runs.
    ApprovalState,
    /// What is not met any more is over, though it is not clear.
    Between,
    /// A moment of being clear is enough.
    Keep,
    /// The parts of a fleet are one.
    Domain,
    /// What was just done may be undone.
    Opposite,
    /// Who was in a duel goes on.
    Duel,
    /// What opens again and again is acted on again and again.
    Flapping,
    /// A policy goes at full pace at once.
    Ramp,
    /// All targets of a group are worked on at once.
    Group,
    /// What never helps is done again and again.
    Useful,
    /// A plugin's window has no end.
    PluginBudget,
    /// Retries have no end.
    RetryBudget,
    /// What can't be read is taken for empty.
    Unreadable,
    /// Whoever leaves a slot empties it, whether it was theirs or not.
    Leave,
    /// A result counts whoever brings it.
    Fence,
    /// What led to an action is not asked about again when its turn comes.
    Recheck,
    /// What waits when people stop everything is started all the same.
    ClaimPaused,
    /// What may not be repeated is, if nobody saw its end.
    Again,
    /// Nothing is reserved.
    Reserve,
    /// What is refused is reserved for all the same.
    Refunded,
    /// An attempt begins that nobody wrote down.
    Unaudited,
    /// An event is acknowledged and not stored.
    Committed,
    /// A call leaves whose lease has lapsed.
    Lapsed,
    /// An empty pattern is everything.
    EmptyPattern,
    /// So is a silence without a matcher.
    EmptyMatchers,
    /// What no rule allows is let out.
    Granted,
    /// Answers are not searched for secrets.
    Redacted,
    /// Without data `for` begins anew.
    NoDataResets,
    /// Without data it begins.
    NoDataIsMet,
    /// Without data an incident is over.
    NoDataClears,
    /// In plan mode calls leave that change something.
    PlanPasses,
    /// In plan mode nothing is read.
    PlanReads,
    /// Plan mode goes by the method and not by what the rule says.
    PlanEffect,
    /// An approved action may change something else than what was planned.
    PlanDiverges,
}

#[cfg(test)]
thread_local! {
    /// The fault of this thread's tests.
    pub(crate) static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether that safety is in place.
#[inline]
pub(crate) fn holds(fault: Fault) -> bool {
    #[cfg(test)]
    return PLANTED.get() != Some(fault);
    #[cfg(not(test))]
    {
        let _ = fault;
        true
    }
}
