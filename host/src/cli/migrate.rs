//! `vigil migrate`: the database in this version's form.

use super::{Error, output};
use crate::app;
use crate::clock::Clock;
use crate::config::Config;

/// Migrates and ends.
pub fn run(config: &Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Error::Failed(format!("no threads can be started: {why}")))?;
    std::fs::create_dir_all(&config.server.data_dir)
        .map_err(|why| Error::Failed(format!("the data directory can't be made: {why}")))?;
    let done = runtime.block_on(async {
        let (store, installation) = app::migrated(config, &Clock::System).await?;
        let statements = store.check().await?;
        store.close().await;
        Ok::<_, app::Error>((store.kind(), installation, statements))
    });
    let (kind, installation, statements) = done.map_err(|wrong| Error::Failed(wrong.to_string()))?;
    output::line(format!(
        "The {kind} database is in this version's form (installation {installation}, {statements} statements checked)."
    ));
    Ok(())
}
