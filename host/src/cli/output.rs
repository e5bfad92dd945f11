//! The only place that prints: data to stdout, notes to stderr, colour where a person can see it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Writes data to stdout. A reader that has gone, as `head` does, is no error.
pub fn data(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes one line to stdout.
pub fn line(text: impl Display) {
    data(&format!("{text}\n"));
}

/// Writes one line to stderr.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes over the last line of a terminal on stderr.
pub fn over(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// Colours, or none of them.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For stdout: `NO_COLOR` and `TERM=dumb` switch colour off, `CLICOLOR_FORCE` on, otherwise a terminal has it.
    #[must_use]
    pub fn stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let off = set("NO_COLOR") || (dumb && !set("CLICOLOR_FORCE"));
        Self(!off && (set("CLICOLOR_FORCE") || io::stdout().is_terminal()))
    }

    /// No colour, for tests and files.
    #[must_use]
    pub const fn none() -> Self {
        Self(false)
    }

    /// What went well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is broken.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What matters.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What does not.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
