//! `vigil serve`: the whole system in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::app::{self, App, SetLevel};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

/// Serves until it is told to stop.
pub fn run(config: &Config) -> Result<(), Error> {
    let clock = Clock::System;
    let telemetry = telemetry::start(config.log, &config.run.about.service, clock.clone());
    let set_level: SetLevel = Arc::new(move |level| telemetry.set_level(level));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| Error::Failed(format!("no threads can be started: {why}")))?;
    let done = runtime.block_on(serve(config.clone(), clock, set_level));
    // What is still blocked in a file or a name lookup is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn serve(config: Config, clock: Clock, set_level: SetLevel) -> Result<(), Error> {
    let address = config.server.listen;
    let listener = TcpListener::bind(address).await.map_err(|why| {
        let why = why.to_string();
        failed(&app::Error::Listen { address: address.to_string(), why })
    })?;
    let address = listener.local_addr().map_or(address, |bound| bound);
    let data_dir = config.server.data_dir.clone();
    let app = App::new(config, clock, set_level).await.map_err(|wrong| failed(&wrong))?;
    tracing::info!(address = %address, data_dir = %data_dir.display(), version = env!("CARGO_PKG_VERSION"), "Serving");
    app.serve(listener, ended_by_signal()?).await.map_err(|wrong| failed(&wrong))
}

fn failed(wrong: &app::Error) -> Error {
    Error::Failed(wrong.to_string())
}

/// Cancelled by the first SIGTERM or SIGINT; the second ends the process at once.
fn ended_by_signal() -> Result<CancellationToken, Error> {
    let wrong = |why: std::io::Error| Error::Failed(format!("signals can't be watched: {why}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
    let token = CancellationToken::new();
    let ended = token.clone();
    let watch = async move {
        for round in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if round == 0 {
                ended.cancel();
            } else {
                std::process::exit(1);
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it must outlive the App to hear the second signal")]
    tokio::spawn(watch);
    Ok(token)
}
