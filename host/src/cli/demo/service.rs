//! The service that the demo breaks: it does next to nothing, until SIGUSR1 makes it spin for ever.

use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::{CHECKOUT, Tether};
use crate::cli::Error;

/// Runs until it is stopped.
pub(super) fn service() -> Result<(), Error> {
    tether();
    // What `ps` and `top` show.
    let _ = rustix::thread::set_name(CHECKOUT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut fault = signal(SignalKind::user_defined1())?;
        loop {
            tokio::select! {
                _ = fault.recv() => spin(),
                () = tokio::time::sleep(Duration::from_millis(50)) => { black_box((0..10_000_u64).sum::<u64>()); }
            }
        }
    })
}

/// The fault: an endless loop, on two processors where there are two, so that it shows on a busy machine as well.
fn spin() {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for _ in 0..processors.min(2) {
        std::thread::spawn(|| {
            let mut number = 0_u64;
            loop {
                number = black_box(number.wrapping_add(1));
            }
        });
    }
}

/// Becomes `vigil` with other arguments, tied to the parent's life.
pub fn tethered(options: &Tether) -> Result<(), Error> {
    tether();
    let error = Command::new(std::env::current_exe()?).args(&options.args).exec();
    Err(error.into())
}

/// Asks the kernel to kill this process when the demo dies, should it die without a chance to do so itself.
fn tether() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}
