//! `vigil demo`: a small service is broken and healed before the reader's eyes.

use clap::Args;

use super::Error;

/// How the demo runs.
#[derive(Args, Debug)]
pub struct Options {
    /// Break and heal once, then end; exit 0 if it was healed
    #[arg(long)]
    pub once: bool,
}

/// Runs it.
pub fn run(_options: &Options) -> Result<(), Error> {
    Err(Error::Failed("no demo yet".into()))
}

/// Runs the service that gets broken.
pub fn service() -> Result<(), Error> {
    Err(Error::Failed("no demo yet".into()))
}
