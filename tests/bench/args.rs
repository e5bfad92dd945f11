//! The command line.

use std::time::Duration;

/// What to measure, and how long.
#[derive(Debug, Default)]
pub(crate) struct Args {
    /// Brief, and without verdicts.
    pub(crate) quick: bool,
    /// Only this row.
    pub(crate) only: Option<u8>,
}

/// What this process is to be.
#[derive(Debug)]
pub(crate) enum Mode {
    /// The benchmark.
    Measure(Args),
    /// The echo server on that port, a child of the benchmark.
    Echo(u16),
    /// Started as a test: nothing to do.
    Nothing,
}

impl Args {
    /// The full time, or a small part of it.
    pub(crate) fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 12 } else { full }
    }

    /// The full number, or a small part of it.
    pub(crate) fn count(&self, full: usize) -> usize {
        if self.quick { (full / 8).max(1) } else { full }
    }

    /// Whether a row is asked for.
    pub(crate) fn wants(&self, row: u8) -> bool {
        self.only.is_none_or(|only| only == row)
    }
}

/// Reads the command line; cargo adds `--bench` where this is a benchmark.
pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Mode, String> {
    let (mut args, mut bench) = (Args::default(), false);
    while let Some(word) = words.next() {
        let mut number = |what: &str| {
            let text = words.next().unwrap_or_default();
            text.parse::<u16>().map_err(|_| format!("{what} takes a number, not {text:?}"))
        };
        match word.as_str() {
            "--bench" => bench = true,
            "--quick" => args.quick = true,
            "--only" => args.only = Some(u8::try_from(number("--only")?).map_err(|e| e.to_string())?),
            "--echo" => return Ok(Mode::Echo(number("--echo")?)),
            other => return Err(format!("unknown argument {other:?}; known are --quick and --only ROW")),
        }
    }
    Ok(if bench { Mode::Measure(args) } else { Mode::Nothing })
}
