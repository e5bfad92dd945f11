//! `vigil migrate`: the database in this version's form.

use super::Error;
use crate::config::Config;

/// Migrates and ends.
pub fn run(config: &Config) -> Result<(), Error> {
    Err(Error::Failed(format!("nothing to migrate in {:?} yet", config.database.place)))
}
