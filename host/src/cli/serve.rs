//! `vigil serve`: the whole system in one process.

use super::Error;
use crate::config::Config;

/// Serves until it is told to stop.
pub fn run(config: &Config) -> Result<(), Error> {
    Err(Error::Failed(format!("nothing to serve on {} yet", config.server.listen)))
}
