//! `vigil demo`: a small service is broken and healed before the reader's eyes.
//!
//! Everything is real: a service of its own ([`mod@service`]), a supervisor in supervisord's language ([`supervisor`]), a
//! `vigil serve` with a policy, and the CPU readings of the service from `/proc`. What happens is read from the
//! server's API and told line by line ([`story`], [`watch`], [`why`]).

mod client;
mod process;
mod service;
mod stage;
mod story;
mod supervisor;
mod voice;
mod watch;
mod why;
mod xmlrpc;

use std::ffi::{CStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

pub use service::tethered;

use super::Error;

/// The service's name: of the process, the target and the supervised program.
const CHECKOUT: &CStr = c"checkout";
const TARGET: &str = "checkout";

/// How the demo runs.
#[derive(Args, Debug)]
pub struct Options {
    /// Break and heal once, then end; exit 0 if it was healed
    #[arg(long)]
    pub once: bool,
    /// Keep the server's data and log when the demo ends
    #[arg(long)]
    pub keep: bool,
}

/// What the hidden service does.
#[derive(Args, Debug)]
pub struct ServiceOptions {
    /// Supervise the service on this unix socket instead of being it
    #[arg(long, value_name = "SOCKET")]
    pub supervise: Option<PathBuf>,
}

/// Arguments of a `vigil` that dies with its parent.
#[derive(Args, Debug)]
pub struct Tether {
    /// The arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Runs the demo to its end, or until Ctrl-C, and leaves nothing running.
pub fn run(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (mut stage, calls) = stage::Stage::new(options.keep)?;
        let story = story::Story::new(calls);
        let supervisor = stage.supervisor.clone();
        let socket = stage.socket();
        let result = tokio::select! {
            result = story::tell(&mut stage, story, options.once) => result,
            result = supervisor.serve(&socket) => result.map_err(Error::from),
            result = interrupted() => result.and(if options.once { Err(Error::Interrupted) } else { Ok(()) }),
        };
        stage.strike(result.is_err() && !matches!(result, Err(Error::Interrupted))).await;
        result
    });
    // A thread may still wait for a line of stdin, for ever.
    runtime.shutdown_timeout(Duration::ZERO);
    result
}

/// Runs the service that gets broken, or its supervisor.
pub fn service(options: &ServiceOptions) -> Result<(), Error> {
    let Some(socket) = &options.supervise else { return service::service() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let supervisor = stage::supervisor()?;
        supervisor.process().start()?;
        tokio::select! {
            result = supervisor.clone().serve(socket) => result.map_err(Error::from),
            result = interrupted() => result,
        }
    })
}

/// Ends when somebody wants us to: Ctrl-C or SIGTERM.
async fn interrupted() -> Result<(), Error> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = int.recv() => Ok(()),
        _ = term.recv() => Ok(()),
    }
}
