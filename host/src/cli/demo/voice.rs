//! How the demo speaks: one short line per thing that happens, with the time since the start.

use std::path::Path;
use std::time::Instant;

use crate::cli::output::{self, Paint};

/// Speaks to stdout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub paint: Paint,
    begun: Instant,
}

impl Voice {
    pub(super) fn new() -> Self {
        Self { paint: Paint::stdout(), begun: Instant::now() }
    }

    /// `12.3 s  label      text`.
    pub(super) fn say(&self, label: &str, text: &str) {
        let time = format!("{:5.1} s", self.begun.elapsed().as_secs_f64());
        output::line(format_args!(
            "{}  {} {text}",
            self.paint.dim(&time),
            self.paint.bold(&format!("{label:<9}"))
        ));
    }

    /// The same in red.
    pub(super) fn alarm(&self, label: &str, text: &str) {
        self.say(label, &self.paint.bad(text));
    }

    /// The same in green.
    pub(super) fn relief(&self, label: &str, text: &str) {
        self.say(label, &self.paint.good(text));
    }

    /// A line of its own, without a time.
    #[expect(clippy::unused_self, reason = "all that is said is said by the voice")]
    pub(super) fn plain(&self, text: &str) {
        output::line(text);
    }
}

/// The end of a log, to be shown with a failure.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(10)..];
    if last.is_empty() {
        "The server wrote no log.".into()
    } else {
        format!("The server's log ends:\n{}", last.join("\n"))
    }
}
