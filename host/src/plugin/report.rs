//! How an attempt ended, as it is told.

use super::state::Record;
use super::types::{Ended, Failure, Report};

/// A failure after a refused call says what was refused. Whoever left an approved plan has failed, whatever the plugin says.
pub(super) fn denied(result: Ended, record: &Record) -> Ended {
    if let Some(call) = &record.diverged
        && result != Ended::Fenced
    {
        return Ended::Denied(format!("plan_diverged: {call} is not in the approved plan"));
    }
    let refused = &record.refused;
    let Some(first) = refused.first() else { return result };
    let then = match &result {
        Ended::Permanent(f) | Ended::Retryable(f, _) => f.message.clone(),
        Ended::Trap(text) => text.clone(),
        Ended::Invalid(problems) => {
            problems.first().map_or_else(String::new, |p| format!("{} {}", p.pointer, p.message))
        }
        Ended::Ok(_)
        | Ended::Cancelled(_)
        | Ended::Deadline
        | Ended::Memory(_)
        | Ended::Limit(_)
        | Ended::Denied(_)
        | Ended::Fenced
        | Ended::Host(_) => return result,
    };
    let more = if refused.len() > 1 { format!(" (and {} more)", refused.len() - 1) } else { String::new() };
    Ended::Denied(format!("the host refused {first}{more}; the plugin then failed: {then}"))
}

/// An ended attempt in words, for where there is no place for more.
pub(super) fn words(ended: &Ended) -> String {
    match ended {
        Ended::Ok(outcome) => outcome.summary.clone(),
        Ended::Invalid(problems) => format!("{} parameters are invalid", problems.len()),
        Ended::Permanent(f) | Ended::Retryable(f, _) | Ended::Cancelled(f) => f.message.clone(),
        Ended::Trap(text) => format!("it trapped: {text}"),
        Ended::Deadline => "it took too long".to_owned(),
        Ended::Memory(text) | Ended::Limit(text) | Ended::Denied(text) | Ended::Host(text) => text.clone(),
        Ended::Fenced => "the worker's lease lapsed".to_owned(),
    }
}

/// The failure of an attempt that was cancelled first.
pub(super) fn not_begun() -> Failure {
    Failure {
        code: "cancelled".to_owned(),
        message: "cancelled before it began".to_owned(),
        details: None,
        changes: Vec::new(),
        checkpoint: None,
    }
}

/// A report with what was recorded.
pub(super) fn with_record(report: Report, record: Record) -> Report {
    Report { logs: record.logs, logs_dropped: record.logs_dropped, calls: record.calls, ..report }
}
