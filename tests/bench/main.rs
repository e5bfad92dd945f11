//! The benchmark suite: one command, one table of ratios.
//!
//! ```text
//! cargo bench -p vigil --bench ratios                    # everything, some minutes
//! cargo bench -p vigil --bench ratios -- --only 4        # one row
//! cargo bench -p vigil --bench ratios -- --quick         # everything, briefly, without verdicts
//! ```
//!
//! Absolute figures say more about the machine than about the program, so every row is a **ratio of two things
//! measured in this run**, taking turns where both take time. Work is measured as CPU time per item wherever it can
//! be, since wall time moves with the machine's other tenants; what can only be wall time (latency, start) stands
//! beside the disk's own `fdatasync` of the same minutes. Servers are children and measured from outside
//! (`/proc/<pid>`); the load is made by this process. Nothing but 127.0.0.1 is called.
//!
//! The exit code is 0 when a goal is missed and 1 when a row could not be measured: this is a benchmark, not a test.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod args;
mod child;
mod disk;
mod guest;
mod load;
mod policies;
mod rows;
mod stats;
mod table;
mod target;

use std::process::ExitCode;

use args::Mode;

// As in the server, so that the echo and the parser it is compared with allocate alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every step answers. Errors are for people: they say why a row could not be measured.
pub(crate) type Res<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match args::read(std::env::args().skip(1)) {
        Ok(Mode::Measure(args)) => rows::run(&args),
        Ok(Mode::Echo(port)) => match child::echo(port) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Mode::Nothing) => {
            println!("Benchmarks run under `cargo bench`.");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("{wrong}");
            ExitCode::from(2)
        }
    }
}
